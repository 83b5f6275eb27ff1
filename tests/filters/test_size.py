"""Each bound at, below and above its value."""

from __future__ import annotations

import pytest

from codeflow_filters.size import FileSize, Size
from triples import triple


def lines(n: int) -> str:
    return "".join(f"line {k}\n" for k in range(n))


def test_files_and_lines() -> None:
    files = {f"f{k}.py": ("", "x\n") for k in range(4)}
    assert Size(max_files=4)(triple(files)).kept
    assert Size(max_files=3)(triple(files)).reason == "too-many-files"
    many = {"a.py": ("", lines(50)), "b.py": (lines(50), "")}
    assert Size(max_lines=100)(triple(many)).kept
    assert Size(max_lines=99)(triple(many)).reason == "too-many-lines"


def test_several_commits_may_change_more_but_not_write_longer_patches() -> None:
    messages = ["Add one thing here", "Add another thing there"]
    many = {"a.py": ("", lines(100))}
    judge = Size(max_lines=50, several_factor=2.0)
    assert judge(triple(many, messages)).kept
    assert judge(triple(many)).reason == "too-many-lines"
    assert not Size(max_lines=50, several_factor=1.9)(triple(many, messages)).kept
    assert not Size(max_patch_bytes=500, several_factor=9.0)(triple(many, messages)).kept


def test_a_merge_of_several_commits_may_change_as_much_as_they_may() -> None:
    many = {"a.py": ("", lines(100))}
    judge = Size(max_lines=50, several_factor=2.0)
    of_two = ["Merge pull request #1 from topic", "Add dates", "Test dates"]
    assert judge(triple(many, [of_two])).kept
    assert judge(triple(many, [of_two[:2]])).reason == "too-many-lines", "it brings in one"
    assert judge(triple(many, [of_two[0]])).reason == "too-many-lines"


@pytest.mark.parametrize(
    "subject", ["Merge branch 'master' into topic", "Merge branch '4.0'", "Merge tag 'v1.2'"]
)
def test_a_merge_of_a_main_or_a_release_branch_is_one_change(subject: str) -> None:
    many = {"a.py": ("", lines(100))}
    message = [f"{subject}\n\nConflicts:\n\ta.py", "Add dates", "Test dates"]
    assert (
        Size(max_lines=50, several_factor=2.0)(triple(many, [message])).reason == "too-many-lines"
    )


def test_without_a_changed_line_there_is_nothing_to_learn() -> None:
    assert Size()(triple({"a.py": ("x\n", "x\n")})).reason == "no-lines"


def test_the_patch_is_measured_in_utf8() -> None:
    text = triple({"a.py": ("", "é" * 100 + "\n")})
    size = len(text.patch.encode())
    assert size == len(text.patch) + 100
    assert Size(max_patch_bytes=size)(text).kept
    assert Size(max_patch_bytes=size - 1)(text).reason == "patch-too-long"


@pytest.mark.parametrize(("letter", "per_letter"), [("x", 0.25), ("字", 1.0)])
def test_tokens_are_estimated(letter: str, per_letter: float) -> None:
    text = triple({"a.py": ("", letter * 4000 + "\n")})
    head = len(text.patch) - 4000
    tokens = head / 4 + 4000 * per_letter
    judge = Size(max_tokens=int(tokens) + 1, bytes_per_token=4.0)
    assert judge(text).kept
    fewer = Size(max_tokens=int(tokens) - 1, bytes_per_token=4.0)
    assert fewer(text).reason == "too-many-tokens"


@pytest.mark.parametrize("sides", [(lines(20), "x\n"), ("x\n", lines(20)), (None, lines(20))])
def test_both_sides_of_a_file_are_measured(sides: tuple[str | None, str | None]) -> None:
    text = triple({"a.py": sides})
    size = len(lines(20))
    assert FileSize(max_bytes=size, max_lines=20)(text).kept
    assert FileSize(max_bytes=size - 1)(text).reason == "file-too-large"
    assert FileSize(max_lines=19)(text).reason == "file-too-long"
