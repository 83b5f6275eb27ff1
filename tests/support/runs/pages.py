"""The pages of the documentation, and how tests compare them with the code."""

from __future__ import annotations

import ast
import dataclasses
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from codeflow.contracts import Profile
from codeflow_filters.registry import FILTERS
from codeflow_miners import MINERS
from small_history import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
DATASET = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")
CURATION = (ROOT / "docs" / "curation.md").read_text(encoding="utf-8")
INTERNALS = (ROOT / "docs" / "internals.md").read_text(encoding="utf-8")
NOTES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = [*NOTES, *sorted((ROOT / "docs").glob("*.md"))]
OURS = {name: made for name, made in FILTERS.items() if not isinstance(made, Profile)}
RULE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The cells of all tables below a heading, up to the next one of any level above it."""
    level = heading.partition(" ")[0]
    _, _, below = text.partition(f"\n{heading}\n")
    assert below, f"no heading {heading!r}"
    below = re.split(rf"^#{{1,{len(level)}}} ", below, flags=re.M)[0]
    lines = [line for line in below.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def strings(node: ast.AST | None) -> Iterator[str]:
    """The names that an expression may give as a rule: a constant, or either branch of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from strings(node.body)
        yield from strings(node.orelse)


def profiles_of(name: str) -> str:
    found = [p for p in ("default", "strict") if name in FILTERS[p].filters]  # type: ignore[union-attr]
    return ", ".join(found)


def keys(config: object, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from keys(value, f"{prefix}.{field.name}")
        elif field.name == "miners":
            for kind, factory in MINERS.items():
                if kind == "commit":  # has none that mean anything
                    continue
                for parameter in dataclasses.fields(factory):  # type: ignore[arg-type]
                    yield f"{prefix}.miners.{kind}.{parameter.name}", parameter.default
        else:
            yield f"{prefix}.{field.name}", value


def documented(rows: list[list[str]]) -> dict[str, Any]:
    """Keys and their defaults, the first two cells of rows, as TOML values."""
    return {
        row[0].strip("`"): tomllib.loads(f"x = {row[1].strip('`')}")["x"]
        for row in rows
        if "." in row[0]
    }


def plain_values(pairs: Any) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}


def parameters(prefix: str) -> Iterator[tuple[str, Any]]:
    """Every parameter of a built-in filter with its default."""
    for name, factory in OURS.items():
        for field in dataclasses.fields(factory):  # type: ignore[arg-type]
            yield f"{prefix}{name}.{field.name}", field.default
