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
from codeflow.curation.dedup import decide as dedup_decide
from codeflow.curation.mix import stage as mix
from codeflow.curation.split import stage as split
from codeflow.pipeline.plan import UNTIL, UNTIL_BY_DEFAULT
from codeflow.pipeline.settings import Settings, read_settings
from codeflow_miners import MINERS
from pages import (
    COMMANDS,
    CURATION,
    DATASET,
    INTERNALS,
    OURS,
    PAGES,
    README,
    RULE,
    documented,
    keys,
    parameters,
    plain_values,
    profiles_of,
    strings,
    table_rows,
)
from small_history import ROOT, environment, small_history

EXAMPLE = ROOT / "examples" / "codeflow.toml"
SOURCES = sorted([*(ROOT / "codeflow").rglob("*.py"), *(ROOT / "miners").rglob("*.py")])


def commands() -> dict[str, argparse.ArgumentParser]:
    return dict(subcommands("", cli._parser()))


def subcommands(
    prefix: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """`mine`, or `quality train`: what does something by itself."""
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for name, inner in (pair for action in found for pair in action.choices.items()):
        deeper = list(subcommands(f"{prefix}{name} ", inner))
        yield from deeper or [(f"{prefix}{name}", inner)]


def test_the_page_of_commands_names_every_command_and_option() -> None:
    assert commands().keys() >= {"mine", "inspect", "checkout", "verify"}
    for name, parser in commands().items():
        assert re.search(rf"`codeflow {name}[ `]", COMMANDS), name
        for action in parser._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):
                    assert re.search(rf"{option}(?![\w-])", COMMANDS), (name, option)


def test_the_page_of_commands_names_no_option_that_is_not_there() -> None:
    known = {o for p in commands().values() for a in p._actions for o in a.option_strings}
    rows = table_rows(COMMANDS, "## Options of `codeflow mine`")
    assert rows
    for option, *_ in rows:
        if option.startswith("`--"):
            assert option.strip("`").split()[0] in known, option


def test_defaults_on_the_page_of_commands_are_those_of_the_code() -> None:
    config = MineConfig()
    cells = {
        row[0].strip("`").split()[0]: row[1].strip("`")
        for row in table_rows(COMMANDS, "## Options of `codeflow mine`")
        if len(row) == 3
    }
    assert cells["--kinds"] == ",".join(config.kinds)
    assert cells["--window"] == f"{config.window.start:g}:{config.window.stop:g}"
    assert cells["--window-by"] == config.window.by
    assert cells["--filter"] == " ".join(Settings().filter.filters)
    assert cells["--split-by"] == Settings().split.by
    assert float(cells["--validation"]) == Settings().split.validation
    assert cells["--until"] == UNTIL_BY_DEFAULT


def test_the_page_of_commands_names_every_stage_to_end_with() -> None:
    rows = table_rows(COMMANDS, "## Options of `codeflow mine`")
    [row] = [r for r in rows if r[0].startswith("`--until")]
    assert set(re.findall(r"`([a-z]+)`", row[2])) == set(UNTIL)


def test_the_page_of_commands_names_every_filter_with_its_profiles() -> None:
    rows = table_rows(COMMANDS, "## Filters")
    assert {row[0].strip("`"): row[1] for row in rows} == {name: profiles_of(name) for name in OURS}
    assert all(row[2] for row in rows)


def test_the_page_of_commands_names_every_kind() -> None:
    assert {row[0].strip("`") for row in table_rows(COMMANDS, "## Kinds of triples")} == set(MINERS)


def test_the_page_of_commands_states_every_exit_status() -> None:
    from codeflow import errors

    for name, status in vars(errors).items():
        if name.startswith("EXIT_"):
            assert f"\n| {status} | " in COMMANDS, name


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_snippet_of_readme_runs(tmp_path: Path) -> None:
    [snippet] = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    small_history(tmp_path / "my-project")
    (tmp_path / "here").mkdir()
    script = tmp_path / "snippet.py"  # the source of a filter is read
    script.write_text(snippet)
    done = subprocess.run(
        [sys.executable, str(script)],
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
        ("## decisions", [*records.DECISIONS]),
        ("## contained", [*records.CONTAINED]),
    ],
)
def test_every_column_is_described_with_its_type(heading: str, fields: list[pa.Field]) -> None:
    rows = table_rows(DATASET, heading)[: len(fields)]
    assert [row[:3] for row in rows] == described(fields)
    assert all(row[3] for row in rows)


FAILING = {"RepositoryError", "LimitExceededError", "GitFailedError", "Failure"}


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
            elif names & {"LEFT_OUT_REASONS", "NO_BRANCH"} and isinstance(node.value, ast.Dict):
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
NO_BRANCH = {"i": "x"}
other = "z"
"""
    assert set(rules_of(ast.parse(program))) == {"a-1", *"bcdefghi"}


def test_every_ledger_rule_is_listed_and_no_other() -> None:
    written = {rule for path in SOURCES for rule in rules_of(ast.parse(path.read_bytes()))}
    assert all(RULE.fullmatch(rule) for rule in written), written
    text = DATASET.partition("\n## ledger\n")[2].partition("\n## ")[0]
    _, repositories, rest, decided = re.split(r"^\| (?:stage \| )?rule .*\n", text, flags=re.M)
    listed = set(re.findall(r"^\| `(.+?)` \| ", repositories, flags=re.M))
    listed |= set(re.findall(r"^\| [^|]+ \| `(.+?)` \| ", rest, flags=re.M))
    assert listed == written
    found = set(re.findall(r"^\| `(\w+)` \| `(.+?)` \| ", decided, flags=re.M))
    assert found == {
        ("filter", "FILTER/REASON"),
        ("filter", "FILTER/error"),
        *(("dedup", rule) for rule in dedup_decide._REASONS),
        ("mix", mix.OVER_SHARE),
        *(("split", rule) for rule in split._REASONS),
    }


def test_every_key_is_documented_with_its_default() -> None:
    rows = table_rows(DATASET, "## Configuration")
    assert all(row[2] for row in rows)
    settings = Settings()
    assert documented(rows) == plain_values(
        [*keys(settings.mine, "mine"), *keys(settings.tokens, "tokens")]
    )


def flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a TOML document, dotted; tables of names to values are values."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_the_example_of_all_tables_has_every_key_with_its_default() -> None:
    expected = {
        name: value
        for table in dataclasses.fields(Settings)
        for name, value in keys(getattr(Settings(), table.name), table.name)
        if name != "filter.rules"
    }
    expected |= dict(parameters("filter.rules."))
    written = dict(flat(tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))))
    assert written == plain_values(expected.items())


def test_the_example_of_all_tables_is_read_and_means_the_defaults() -> None:
    from codeflow.plugins.entry_points import load_filters, load_miners

    read, default = read_settings(EXAMPLE), Settings()
    for name in ("dedup", "mix", "split", "tokens"):
        assert getattr(read, name) == getattr(default, name), name
    kinds = default.mine.kinds
    assert load_miners(kinds, read.mine.miners) == load_miners(kinds, {})
    made = load_filters(read.filter.filters, read.filter.rules)
    assert made == load_filters(default.filter.filters, {})
    ready = [name for name in OURS if name != "quality"]  # which has no model to begin with
    assert load_filters(ready, read.filter.rules) == load_filters(ready, {})


def test_snippets_of_the_pages_are_python() -> None:
    for page in (DATASET, CURATION):
        snippets = re.findall(r"```python\n(.*?)```", page, flags=re.S)
        assert snippets
        for snippet in snippets:
            compile(snippet, "page", "exec")


def test_every_command_that_a_page_shows_exists() -> None:
    for text in (page.read_text(encoding="utf-8") for page in PAGES):
        blocks = "".join(re.findall(r"^```(?:console)?\n(.*?)^```", text, flags=re.M | re.S))
        shown = re.findall(r"^(?:\$ )?codeflow ([a-z][a-z-]*)(.*)$", blocks, flags=re.M)
        shown += re.findall(r"`codeflow ([a-z][a-z-]*)([^`]*)`", text)
        for first, rest in shown:
            second = f"{first} {(rest.split() or [''])[0]}"
            name = second if second in commands() else first
            assert name in commands(), name
            known = {o for action in commands()[name]._actions for o in action.option_strings}
            assert set(re.findall(r"(?<![\w-])--[a-z-]+", rest)) <= known, (name, rest)


def test_the_example_of_a_configuration_is_read(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", DATASET, flags=re.S)
    path = tmp_path / "codeflow.toml"
    path.write_text(example)
    config = read_settings(path).mine
    assert (config.kinds, config.window.start, config.limits.min_commits) == (("span",), 0.2, 100)
    assert config.miners["span"]["max_commits"] == 16


def test_pages_name_only_modules_that_are_there() -> None:
    folders = [ROOT / name for name in ("filters", "tests")]
    there = {path.name for path in (*SOURCES, *(p for f in folders for p in f.rglob("*.py")))}
    named = set(re.findall(r"\b([a-z_]+\.py)\b", INTERNALS))
    assert len(named) > 30
    assert named <= there
    for folder in re.findall(r"`((?:codeflow|miners|filters)[a-z_/]*/)`", INTERNALS):
        assert (ROOT / folder).is_dir(), folder


def test_internals_name_every_room() -> None:
    for path in sorted((ROOT / "codeflow").iterdir()):
        if path.suffix == ".py" and not path.name.startswith("_"):
            assert f"`{path.name}`" in INTERNALS, path
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"`{path.name}/`" in INTERNALS, path


def test_the_picture_names_files_that_are_there() -> None:
    picture = INTERNALS[INTERNALS.index("```") : INTERNALS.index("## Rooms")]
    there = {path.name for path in ROOT.rglob("*.py")}
    named = set(re.findall(r"\b\w+\.py\b", picture))
    assert named <= there, named - there
    assert len(named) > 20


def test_examples_are_where_the_pages_say() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make test" in (ROOT / ".ci" / "run").read_text()
