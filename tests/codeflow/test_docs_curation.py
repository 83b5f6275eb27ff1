"""docs/curation.md says what the code does: filters, parameters, reasons, profiles, dedup."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeflow.pipeline.settings import Settings, read_settings
from codeflow_filters.dedup.curve import detection
from codeflow_filters.registry import FILTERS
from pages import (
    CURATION,
    OURS,
    RULE,
    documented,
    keys,
    parameters,
    plain_values,
    profiles_of,
    strings,
    table_rows,
)


def test_every_parameter_of_a_filter_is_documented_with_its_default() -> None:
    rows = table_rows(CURATION, "## Built-in filters")
    [allowed] = [row for row in rows if row[0] == "`license.allow`"]
    assert allowed[1] == "a list"  # too long for a table; the example of a configuration has it
    allowed[1] = f"`{list(OURS['license'].allow)}`"  # type: ignore[attr-defined]
    assert documented(rows) == plain_values(parameters(""))
    assert all(all(row[2:]) for row in rows if "." in row[0])


def reasons_of(tree: ast.AST) -> Iterator[str]:
    """Every reason that a module of a filter can drop for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id in ("drop", "GoldMatch"):
                yield from strings(node.args[0])
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            if ast.unparse(node.returns) == "str | None":
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Return):
                        yield from strings(inner.value)
        elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
            yield from strings(node.value.elts[0])
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "reason":
            yield from strings(node.value)


def test_the_reading_of_reasons_sees_every_way_to_give_one() -> None:
    program = """
def call(triple): return drop("a", "x") if triple else drop("b" if triple else "c")
def judge(x) -> str | None: return "d" if x else None
def other(x) -> str: return "z"
def noise(): yield ("e" if x else "f"), 1
reason = "g"
found = GoldMatch("h", i)
detail = "z"
"""
    assert set(reasons_of(ast.parse(program))) == set("abcdefgh")


def code_of(factory: Any) -> Iterator[ast.AST]:
    """A filter's class, where its module has several; its module; or the package of its own."""
    path = Path(inspect.getfile(factory))
    shared = [f for f in OURS.values() if Path(inspect.getfile(f)) == path]
    others = {Path(inspect.getfile(f)) for f in OURS.values()}
    paths = {path} | (set(path.parent.glob("*.py")) - others if path.stem == "filter" else set())
    for tree in (ast.parse(one.read_bytes()) for one in sorted(paths)):
        for node in tree.body if len(shared) > 1 else [tree]:
            if not (isinstance(node, ast.ClassDef) and node.name != factory.__name__):
                yield node


def test_every_filter_is_documented_with_its_cost_profiles_and_reasons() -> None:
    rows = {
        row[0].strip("`"): row[1:] for row in table_rows(CURATION, "## Built-in filters") if row[4:]
    }
    assert rows.keys() == OURS.keys()
    for name, (cost, profiles, reasons, source) in rows.items():
        factory: Any = OURS[name]
        given = {reason for node in code_of(factory) for reason in reasons_of(node)}
        assert (cost, profiles) == (factory.cost, profiles_of(name)), name
        named = set(re.findall(r"`(.+?)`", reasons))
        assert named == set(filter(RULE.fullmatch, given)), name
        lines = getattr(factory, "reasons", {})
        assert set(lines) == (named if len(named) > 1 else set()), name
        assert len(set(lines.values())) == len(lines), name
        assert source


def test_profiles_are_documented_with_what_they_set() -> None:
    rows = table_rows(CURATION, "## Profiles")
    found = {
        (row[0].strip("`"), row[1].strip("`")): tomllib.loads(
            "\n".join(re.findall(r"`([^`]+)`", row[2]))
        )
        for row in rows
    }
    assert found == {
        (profile, name): values
        for profile in ("default", "strict")
        for name, values in FILTERS[profile].filters.items()  # type: ignore[union-attr]
        if values
    }


def test_keys_of_dedup_are_documented_with_their_defaults() -> None:
    rows = table_rows(CURATION, "## Deduplication")
    assert documented(rows) == plain_values(keys(Settings().dedup, "dedup"))


def test_the_detection_curve_is_that_of_the_defaults() -> None:
    config = Settings().dedup
    [similarities] = re.findall(r"^\| similarity \|(.+)\|$", CURATION, flags=re.M)
    [found] = re.findall(r"^\| found \|(.+)\|$", CURATION, flags=re.M)
    assert found.count("%") == 5
    for similarity, share in zip(similarities.split("|"), found.split("|"), strict=True):
        expected = detection(float(similarity), config.bands, config.rows)
        assert float(share.rstrip(" %")) == pytest.approx(100 * expected, abs=0.051)
    assert f"MinHash of {config.permutations} permutations" in " ".join(CURATION.split())


def test_settings_that_curation_shows_are_read(tmp_path: Path) -> None:
    for example in re.findall(r"```toml\n(.*?)```", CURATION, flags=re.S):
        path = tmp_path / "codeflow.toml"
        path.write_text(example)
        assert read_settings(path).filter.filters[0] == "default"
