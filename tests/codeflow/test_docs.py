"""The documentation says what the code does: commands, options, columns, rules, keys, snippets."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from codeflow import cli, records
from codeflow.config import MineConfig
from codeflow_miners import MINERS
from small_history import ROOT, environment, small_history

README = (ROOT / "README.md").read_text(encoding="utf-8")
DATASET = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")
SOURCES = sorted([*(ROOT / "codeflow").rglob("*.py"), *(ROOT / "miners").rglob("*.py")])


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The cells of all tables below a heading, up to the next one of any level above it."""
    level = heading.partition(" ")[0]
    _, _, below = text.partition(f"\n{heading}\n")
    assert below, f"no heading {heading!r}"
    below = re.split(rf"^#{{1,{len(level)}}} ", below, flags=re.M)[0]
    lines = [line for line in below.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def commands() -> dict[str, argparse.ArgumentParser]:
    [action] = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(action.choices)


def test_readme_names_every_command_and_option() -> None:
    assert commands().keys() >= {"mine", "inspect", "checkout", "verify"}
    for name, parser in commands().items():
        assert f"`codeflow {name} " in README, name
        for action in parser._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):
                    assert re.search(rf"{option}(?![\w-])", README), (name, option)


def test_readme_names_no_option_that_is_not_there() -> None:
    known = {o for p in commands().values() for a in p._actions for o in a.option_strings}
    for option, *_ in table_rows(README, "## Commands"):
        if option.startswith("`--"):
            assert option.strip("`").split()[0] in known, option


def test_defaults_in_readme_are_those_of_the_code() -> None:
    config = MineConfig()
    cells = {
        row[0].strip("`").split()[0]: row[1].strip("`")
        for row in table_rows(README, "## Commands")
        if len(row) == 3
    }
    assert cells["--kinds"] == ",".join(config.kinds)
    assert cells["--window"] == f"{config.window.start:g}:{config.window.stop:g}"
    assert cells["--window-by"] == config.window.by


def test_readme_names_every_kind() -> None:
    assert {row[0].strip("`") for row in table_rows(README, "## Kinds of triples")} == set(MINERS)


def test_readme_states_every_exit_status() -> None:
    from codeflow import errors

    for name, status in vars(errors).items():
        if name.startswith("EXIT_"):
            assert f"\n| {status} | " in README, name


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_snippet_of_readme_runs(tmp_path: Path) -> None:
    [snippet] = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    small_history(tmp_path / "my-project")
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path / "here",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "data" / "manifest.json").exists()


def plain(kind: pa.DataType) -> str:
    """A type as the page writes it."""
    if pa.types.is_list(kind):
        return f"list<{plain(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{plain(kind.key_type)}, {plain(kind.item_type)}>"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def described(fields: Any) -> list[list[str]]:
    return [[f"`{f.name}`", f"`{plain(f.type)}`", "yes" if f.nullable else "no"] for f in fields]


@pytest.mark.parametrize(
    ("heading", "fields"),
    [
        ("## triples", [*records.TRIPLES, *records.FILE_CHANGE]),
        ("## blobs", [*records.BLOBS]),
        ("## trees", [*records.TREES, *records.TREE_ENTRY]),
        ("## ledger", [*records.LEDGER]),
    ],
)
def test_every_column_is_described_with_its_type(heading: str, fields: list[pa.Field]) -> None:
    rows = table_rows(DATASET, heading)[: len(fields)]
    assert [row[:3] for row in rows] == described(fields)
    assert all(row[3] for row in rows)


RULE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
FAILING = {"RepositoryError", "LimitExceededError", "GitFailedError", "Failure"}


def strings(node: ast.AST | None) -> Iterator[str]:
    """The names that an expression may give as a rule: a constant, or either branch of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from strings(node.body)
        yield from strings(node.orelse)


def rules_of(tree: ast.AST) -> Iterator[str]:
    """Every rule that a module can write into the ledger."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id in FAILING:
                yield from strings(node.args[0])
            elif node.func.id == "LedgerRow" and len(node.args) > 1:
                yield from strings(node.args[1])
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bare = [t.value if isinstance(t, ast.Subscript) else t for t in targets]
            names = {t.id for t in bare if isinstance(t, ast.Name)}
            if names & {"verdict", "dropped"} and isinstance(node.value, ast.Tuple):
                yield from strings(node.value.elts[0])
            elif "rule" in names:
                yield from strings(node.value)
            elif "LEFT_OUT_REASONS" in names and isinstance(node.value, ast.Dict):
                for key in node.value.keys:
                    yield from strings(key)


def test_the_reading_of_rules_sees_every_way_to_write_one() -> None:
    program = """
raise RepositoryError("a-1", "x")
raise LimitExceededError("b", f"{x}")
rows.append(LedgerRow("stage", "c", "x", repo))
rule = "d" if x else "e"
dropped[key] = ("f", reason, None)
verdict = ("g", "x", None)
LEFT_OUT_REASONS: Mapping[str, str] = {"h": "x"}
other = "z"
"""
    assert set(rules_of(ast.parse(program))) == {"a-1", *"bcdefgh"}


def test_every_ledger_rule_is_listed_and_no_other() -> None:
    written = {rule for path in SOURCES for rule in rules_of(ast.parse(path.read_bytes()))}
    assert all(RULE.fullmatch(rule) for rule in written), written
    text = DATASET.partition("\n## ledger\n")[2].partition("\n## ")[0]
    _, repositories, rest = re.split(r"^\| (?:stage \| )?rule .*\n", text, flags=re.M)
    listed = set(re.findall(r"^\| `(.+?)` \| ", repositories, flags=re.M))
    listed |= set(re.findall(r"^\| [^|]+ \| `(.+?)` \| ", rest, flags=re.M))
    assert listed == written


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


def test_every_key_is_documented_with_its_default() -> None:
    rows = table_rows(DATASET, "## Configuration")
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert all(row[2] for row in rows)
    values = {name: tomllib.loads(f"x = {value}")["x"] for name, value in documented.items()}
    expected = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in keys(MineConfig(), "mine")
    }
    assert values == expected


def test_the_example_of_a_configuration_is_read(tmp_path: Path) -> None:
    from codeflow.settings import read_settings

    [example] = re.findall(r"```toml\n(.*?)```", DATASET, flags=re.S)
    path = tmp_path / "codeflow.toml"
    path.write_text(example)
    config = read_settings(path).mine
    assert (config.kinds, config.window.start, config.limits.min_commits) == (("span",), 0.2, 100)
    assert config.miners["span"]["max_commits"] == 16


def test_pages_name_only_modules_that_are_there() -> None:
    text = (ROOT / "docs" / "internals.md").read_text(encoding="utf-8")
    there = {path.name for path in SOURCES}
    named = set(re.findall(r"\b([a-z_]+\.py)\b", text))
    assert len(named) > 30
    assert named <= there


def test_internals_name_every_module_of_the_package() -> None:
    text = (ROOT / "docs" / "internals.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "codeflow").glob("*.py")):
        if not path.name.startswith("_"):
            assert path.name in text, path.name


def test_examples_are_where_the_pages_say() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make test" in (ROOT / ".ci" / "run").read_text()
