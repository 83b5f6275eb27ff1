"""Which triples are tried, and that both parts of a patch give the tree that git names."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import codeflow
from codeflow.errors import UsageError
from codeflow.tasks.making.candidates import (
    RejectedError,
    files_of,
    hidden_tests,
    is_candidate,
    split,
)
from codeflow.tasks.making.held_back import HeldBack
from codeflow.tasks.store import tree_files
from codeflow.tasks.task import TASKS
from codeflow.tasks.trees import tree_of
from codeflow.triple import Triple
from gitdag import Repo
from made_task import made_task
from pages import strings
from small_history import ROOT

STEPS: list[tuple[dict[str, str | None], bool]] = [
    ({"a.py": "x = 1\n"}, False),
    ({"tests/test_a.py": "import a\n"}, False),
    ({"a.py": "x = 2\n", "tests/test_a.py": "import a  # 2\n"}, True),
    ({"a.py": "x = 3\n", "tests/data.json": "{}\n"}, False),
    ({"a.py": "x = 4\n", "tests/test_a.py": None, "tests/test_b.py": "import a  # 4\n"}, True),
    ({"README.md": "# a\n", "tests/test_b.py": "import a  # 5\n"}, False),
    ({"a.py": None, "b.py": "x = 6\ny = 7\n", "b_test.py": "import b\n"}, True),
    (
        {
            "b.py": "diff --git a/x b/x\n-- a/tests\n+++ b/tests/test_b.py\n",
            "tests/test_b.py": "diff --git a/b.py b/b.py\n",
        },
        True,
    ),
]


@pytest.fixture(scope="module")
def triples(tmp_path_factory: pytest.TempPathFactory) -> list[Triple]:
    folder = tmp_path_factory.mktemp("candidates")
    repo = Repo.create(folder / "r.git")
    repo.commit({"LICENSE": "x\n"})
    for number, (files, _) in enumerate(STEPS):
        repo.commit(files, message=f"step {number}")
    for number in range(20):
        repo.commit({"notes.md": f"{number}\n"}, message=f"note {number}")
    codeflow.mine([repo.path], folder / "d", kinds=["commit"], window="0:1", until="mine")
    found = {t.messages[0][0].strip(): t for t in codeflow.open(folder / "d")}
    return [found[f"step {number}"] for number in range(len(STEPS))]


def test_candidates_change_a_test_file_and_source(triples: list[Triple]) -> None:
    assert [is_candidate(t) for t in triples] == [wanted for _, wanted in STEPS]
    assert hidden_tests(triples[4]) == ("tests/test_b.py",)


def test_both_parts_give_the_tree(triples: list[Triple]) -> None:
    for triple in (t for t in triples if is_candidate(t)):
        dataset = triple.old_repo._reader
        old = tree_files(dataset, triple.repo, triple.old_tree)  # type: ignore[arg-type]
        assert tree_of(old) == triple.old_tree
        parts = split(triple, old)
        assert tree_of(parts.new) == triple.new_tree
        changed = {f.path for f in triple.files if f.file_kind == "test"}
        assert all(parts.before.get(path) == parts.new.get(path) for path in changed)
        kept = set(old) - {p for f in triple.files for p in (f.old_path, f.new_path)}
        assert all(parts.before[path] == old[path] for path in kept)
        source = {f.new_path for f in triple.files if f.file_kind != "test"} - {None}
        assert all(parts.before.get(p) == old.get(p) for p in source if p is not None)


def test_a_patch_that_does_not_fit_is_rejected(triples: list[Triple]) -> None:
    triple = triples[2]
    dataset = triple.old_repo._reader
    old = tree_files(dataset, triple.repo, triple.old_tree)  # type: ignore[arg-type]
    with pytest.raises(RejectedError, match="wrong-tree"):
        split(triple, {**old, "a.py": ("100644", b"y\n")})
    with pytest.raises(RejectedError, match="wrong-tree"):
        split(triple, {**old, "more": ("100644", b"y\n")})


def test_files_of_a_side(triples: list[Triple]) -> None:
    snapshot = triples[2].new_repo
    blobs = {entry.id: snapshot[path] for path, entry in snapshot.entries()}
    assert files_of(snapshot, blobs) == {p: (snapshot.mode(p), snapshot[p]) for p in snapshot}


def test_the_page_of_tasks_names_every_reason_to_reject() -> None:
    raised = {"benchmark"}
    for path in (ROOT / "codeflow" / "tasks" / "making").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RejectedError":
                raised |= set(strings(node.args[0]))
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    [table] = re.findall(r"\n\| rejected \| why \|\n(.*?)\n\n", page, flags=re.S)
    listed = {name for line in table.splitlines() for name in re.findall("`(.+?)`", line[:60])}
    assert listed - {"detail"} == raised


def test_the_page_of_tasks_names_every_column() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    [table] = re.findall(r"\n\| column \| meaning \|\n(.*?)\n\n", page, flags=re.S)
    cells = [line.split("|")[1] for line in table.splitlines()[1:]]
    assert [name for cell in cells for name in re.findall("`(.+?)`", cell)] != []
    assert {name for cell in cells for name in re.findall("`(.+?)`", cell)} == set(TASKS.names)


def test_a_benchmark_is_known_by_commit_and_by_change(tmp_path: Path) -> None:
    task = made_task()
    path = tmp_path / "b.jsonl"
    rows = [{"base_commit": "9" * 40, "instance_id": "x", "patch": task.patch}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    held_back = HeldBack.read([str(path)])
    assert held_back.gives_away(task) == "x"
    assert HeldBack.read([]).gives_away(task) is None
    path.write_text("{}\n")
    with pytest.raises(UsageError, match=r"b\.jsonl:1: no instance"):
        HeldBack.read([str(path)])
