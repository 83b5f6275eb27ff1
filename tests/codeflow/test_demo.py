"""The demo's own steps; the commands that it runs are tested where they are made."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("pypi_simple")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import demo
    import wheel_history

    release = wheel_history.Release("1.0", "a.whl", "0", 0)
    history = tmp_path / "demo" / "cache" / "tqdm.git"
    history.mkdir(parents=True)
    monkeypatch.setattr(wheel_history, "build", lambda *_: (history, [release]))
    return demo


def write_triples(root: Path, rows: Sequence[tuple[str, str, int, int]]) -> None:
    """Two shards of (id, kind, commits, lines) rows, as far as the demo reads them."""
    folder = root / "demo" / "data" / "triples"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        part = [
            {"id": i, "kind": k, "commits": ["c"] * n, "additions": x - 1, "deletions": 1}
            for i, k, n, x in rows[number::2]
        ]
        if part:
            pq.write_table(pa.Table.from_pylist(part), folder / f"train-0000{number}.parquet")


def test_the_triple_shown_is_a_span_of_several_commits_and_about_a_screen(
    demo: Any, tmp_path: Path
) -> None:
    rows = [
        ("commit-right", "commit", 1, 40),
        ("span-huge", "span", 5, 4_000),
        ("span-single", "span", 1, 40),
        ("span-tiny", "span", 2, 2),
        ("span-right", "span", 3, 55),
    ]
    write_triples(tmp_path, rows)
    shown, count = demo.choose(tmp_path / "demo" / "data" / "triples")
    assert (shown.id, shown.steps, shown.lines, count) == ("span-right", 3, 55, 5)
    write_triples(tmp_path, [("commit-right", "commit", 1, 40), ("span-single", "span", 1, 90)])
    assert demo.choose(tmp_path / "demo" / "data" / "triples")[0].id == "span-single"
    assert demo.choose(tmp_path / "nowhere") == (None, 0)


@pytest.mark.parametrize("clone", [True, False])
def test_the_steps_are_run_in_order_on_what_is_there(
    demo: Any, tmp_path: Path, clone: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if clone:
        (tmp_path / ".git").mkdir()
    commands: list[list[str]] = []

    def run(arguments: Sequence[str]) -> int:
        commands.append(list(arguments))
        if arguments[0] == "mine":
            write_triples(tmp_path, [("f" * 32, "span", 3, 30), ("0" * 32, "commit", 1, 9)])
        return 1 if arguments[0] == "mine" and clone else 0

    assert demo.main(tmp_path, run) == 0
    assert [command[0] for command in commands] == ["mine", "inspect", "inspect", "verify"]
    assert commands[2][-1] == "f" * 32
    listed = (tmp_path / "demo" / "list.txt").read_text().splitlines()
    paths = [line.partition("#")[0].strip() for line in listed]
    found = [(tmp_path / "demo" / path).resolve() for path in paths if path]
    assert found == [tmp_path / "demo/cache/tqdm.git", *([tmp_path] * clone)]
    out = capsys.readouterr().out
    assert f"checkout demo/data {'f' * 32} --side old" in out
    assert "2 exact triples" in out


def test_a_step_that_fails_ends_the_demo_with_its_status(demo: Any, tmp_path: Path) -> None:
    write_triples(tmp_path, [("f" * 32, "span", 3, 30)])
    for failing in ("mine", "inspect", "verify"):
        assert demo.main(tmp_path, lambda a, failing=failing: 130 * (a[0] == failing)) == 130


def test_without_a_network_the_demo_says_so_and_runs_nothing(
    demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wheel_history

    def unreachable(*_: Any) -> None:
        raise wheel_history.HistoryError("the package index cannot be reached")

    monkeypatch.setattr(wheel_history, "build", unreachable)

    def run(arguments: Sequence[str]) -> int:
        raise AssertionError(f"ran {arguments}")

    assert demo.main(tmp_path, run) == 1
    assert capsys.readouterr().err == "demo: the package index cannot be reached\n"


def test_the_list_of_examples_names_public_repositories_and_a_ref() -> None:
    text = (EXAMPLES / "repos.txt").read_text()
    entries = [line.partition(" #")[0].strip() for line in text.splitlines()]
    entries = [entry for entry in entries if entry and not entry.startswith("#")]
    assert len(entries) >= 6
    assert all(re.fullmatch(r"https://[\w.]+/[\w.-]+/[\w.-]+(@[\w.-]+)?", e) for e in entries)
    (ref,) = [entry.partition("@")[2] for entry in entries if "@" in entry]
    subprocess.run(["git", "check-ref-format", f"refs/tags/{ref}"], check=True)
