"""`verify` finds every kind of damage that is done to steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from codeflow import records
from codeflow.dataset import reader as reading
from codeflow.dataset.verify import verify
from codeflow.errors import DataError
from codeflow.storage import manifest
from tiny_dataset import SNAPSHOTS, Git, build, history, write_dataset
from tiny_steps import Tables, tables_of


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    git = Git(folder / "one.git")
    return build(folder / "data", {"one": (git, history(git, SNAPSHOTS))})


def both(*changes: Callable[[Tables], None]) -> Callable[[Tables], None]:
    def damage(tables: Tables) -> None:
        for change in changes:
            change(tables)

    return damage


def a_step(change: Callable[[dict[str, Any]], Any], own: bool = False) -> Callable[[Tables], None]:
    """Damage to a middle step of a span, which has a patch of its own or a reference."""

    def damage(tables: Tables) -> None:
        steps = (step for step in tables["steps"] if step["index"] == 1)
        change(next(step for step in steps if (step["patch"] is not None) is own))

    return damage


def with_own_patches(tables: Tables) -> None:
    """The steps as they are where no triple of kind commit was kept."""
    patches = {row["id"]: row["patch"] for row in tables["train"] + tables["validation"]}
    for step in tables["steps"]:
        step["patch"], step["same_as"] = patches[step["same_as"]], None


def damaged_patch(step: dict[str, Any]) -> None:
    step["patch"] = step["patch"].replace(" @@\n", " @@\n+!\n", 1)


def no_change(step: dict[str, Any]) -> None:
    step.update(patch="", same_as=None, files=[])


def patch_of_another(tables: Tables) -> None:
    tables["steps"][1]["same_as"] = tables["steps"][0]["same_as"]


def all_by_a_bot(tables: Tables) -> None:
    for step in tables["steps"]:
        step["author_kind"] = "bot"


def stray_step(tables: Tables) -> None:
    commit = next(row for row in tables["train"] if row["kind"] == "commit")
    tables["steps"].append({**tables["steps"][0], "triple": commit["id"]})


def short_of_the_end(tables: Tables) -> None:
    """The last step of a span changes nothing; its tree is that of the step before."""
    last = next(k for k, step in enumerate(tables["steps"]) if step["index"] == 2)
    tables["steps"][last]["tree"] = tables["steps"][last - 1]["tree"]
    no_change(tables["steps"][last])


@pytest.mark.parametrize(
    ("message", "damage"),
    [
        ("3 commits, 2 steps", lambda tables: tables["steps"].pop()),
        ("3 commits, 0 steps", lambda tables: tables["steps"].clear()),
        ("step 1 is not the next one", lambda tables: tables["steps"].pop(0)),
        ("steps of train are not sorted", lambda t: t["steps"].append(dict(t["steps"][0]))),
        ("no triple of several commits", stray_step),
        ("has a patch and a reference, or neither", a_step(lambda s: s.update(patch="x"))),
        (
            "has a patch and a reference, or neither",
            a_step(lambda s: s.update(same_as=None)),
        ),
        ("its patch should be that of", patch_of_another),
        ("which is missing", a_step(lambda s: s.update(same_as="0" * 32))),
        ("its commit is not that of", a_step(lambda s: s.update(commit="0" * 40))),
        ("its message is not that of", a_step(lambda s: s.update(message="!"))),
        ("its message is not that of", a_step(lambda s: s.update(subjects=["!"]))),
        ("step 1: is of", a_step(lambda s: s.update(repo="elsewhere"))),
        ("author_kind is human, its steps are by a bot", all_by_a_bot),
        ("step 1: files: no row for", a_step(lambda s: s.update(files=[]))),
        ("step 1: the patch gives tree", a_step(no_change)),
        ("step 1: patch", both(with_own_patches, a_step(damaged_patch, own=True))),
        ("the tree of the last step", short_of_the_end),
        ("referred to, but missing", a_step(lambda s: s.update(tree="1" * 40))),
    ],
)
def test_damage_behind_right_checksums_is_found(
    good: Path, tmp_path: Path, message: str, damage: Callable[[Tables], None]
) -> None:
    tables = tables_of(good)
    damage(tables)
    told = verify(write_dataset(tmp_path / "data", tables, {}))
    assert any(message in str(problem) for problem in told.problems), told.problems


def test_steps_may_have_patches_of_their_own(good: Path, tmp_path: Path) -> None:
    tables = tables_of(good)
    with_own_patches(tables)
    path = write_dataset(tmp_path / "data", tables, {})
    assert verify(path).problems == []
    a, b = (reading.open(folder) for folder in (good, path))
    spans = [triple.id for triple in a.triples(kind="span")]
    assert spans
    for id in spans:
        assert [step.patch for step in a[id].steps] == [step.patch for step in b[id].steps]


def test_a_dataset_of_before_there_were_steps(good: Path, tmp_path: Path) -> None:
    tables = tables_of(good)
    tables["steps"].clear()
    older = pa.schema([field for field in records.TRIPLES if field.name != "assisted"])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records, "TRIPLES", older)
        path = write_dataset(tmp_path / "data", tables, {})
    values = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(manifest.seal({**values, "schema_version": 2}))
    assert verify(path).problems == []
    dataset = reading.open(path)
    span = next(dataset.triples(kind="span"))
    assert span.new_repo.keys()
    assert span.assisted is False
    [named] = [t for t in dataset.triples(columns=["id", "assisted"]) if t.id == span.id]
    assert named.assisted is False
    with pytest.raises(DataError, match="3 commits, and the dataset 0 steps of it; mine again"):
        _ = span.steps
    commit = next(dataset.triples(kind="commit"))
    assert [step.patch for step in commit.steps] == [commit.patch]
