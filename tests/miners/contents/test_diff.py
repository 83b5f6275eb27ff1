"""Hunks against git: always applicable as they stand, and git's own wherever edits are plain."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.git.apply import apply_file
from codeflow.git.patch import parse_patch
from codeflow_miners.changes.renames import FileRow
from codeflow_miners.changes.treediff import Side
from codeflow_miners.contents import diff
from codeflow_miners.contents.diff import diff_lines, line_count
from codeflow_miners.contents.filepatch import file_patch
from edits import CONTENTS, commit_files, tree_of
from gitdag import Repo, object_id
from mining import git_apply

SLOW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WORDS = [
    "index",
    "size",
    "é_name",
    "buffer",
    "return",
    "self.value",
    "日本",
    "x",
    "0",
    "NULL",
    "+=",
]


def code(draw: random.Random, size_bytes: int) -> bytes:
    """Text that looks like source: definitions, bodies, blank lines, repeated blocks."""
    lines: list[str] = []
    total = 0
    block = ["    if (error)", "        return -1;", "    }", ""]
    while total < size_bytes:
        kind = draw.random()
        if kind < 0.08:
            new = ["", f"int fn_{draw.randrange(9999)}({', '.join(draw.choices(WORDS, k=9))})", "{"]
        elif kind < 0.2:
            new = block
        elif kind < 0.23:
            new = ["}", ""]
        elif kind < 0.25:
            new = ["def " + "é" * draw.randrange(30, 50) + "日本" * 20]
        elif kind < 0.255:
            new = ["data = " + "x" * draw.randrange(200, 9000)]
        else:
            new = ["    " + " ".join(draw.choices(WORDS, k=draw.randrange(1, 8)))]
        lines += new
        total += sum(len(line.encode()) + 1 for line in new)
    return "\n".join(lines).encode() + draw.choice([b"\n", b"\n", b"\n", b"", b"\r\n"])


def edited(draw: random.Random, text: bytes) -> bytes:
    """A realistic edit: mostly a few small places, sometimes a move, a rename, an indentation."""
    lines = text.split(b"\n")
    for _ in range(draw.choice([1, 1, 1, 2, 3, 8])):
        at = draw.randrange(len(lines))
        some = draw.choice([1, 1, 2, 5, 40])
        kind = draw.random()
        if kind < 0.3:
            lines[at:at] = [b"    added %d" % draw.randrange(99) for _ in range(some)]
        elif kind < 0.5:
            del lines[at : at + some]
        elif kind < 0.75:
            lines[at : at + some] = [b"    changed %d" % draw.randrange(99) for _ in range(some)]
        elif kind < 0.82:  # a block moves
            block = lines[at : at + 30]
            del lines[at : at + 30]
            to = draw.randrange(len(lines) + 1)
            lines[to:to] = block
        elif kind < 0.88:  # a block is repeated
            lines[at:at] = lines[at : at + 25]
        elif kind < 0.93:
            lines[at : at + 20] = [b"    " + line for line in lines[at : at + 20]]
        elif kind < 0.96:
            word = draw.choice(WORDS).encode()
            lines = [line.replace(word, b"renamed") for line in lines]
        else:  # the end loses or gets its newline
            lines = lines[:-1] if lines[-1] == b"" else [*lines, b""]
        lines = lines or [b""]
    return b"\n".join(lines)


def section(path: bytes, old: bytes, new: bytes) -> bytes:
    """The patch of a regular file whose content changes."""
    sides = [Side(b"100644", bytes.fromhex(object_id("blob", text))) for text in (old, new)]
    return file_patch(FileRow(path, sides[0], path, sides[1]), diff_lines(old, new))


def numstat(repo: Repo, old_tree: str, new_tree: str) -> dict[bytes, tuple[int, int]]:
    """Git's counts of added and deleted lines by path."""
    told = repo.git("diff-tree", "-r", "--numstat", "--text", "--no-renames", old_tree, new_tree)
    rows = [line.split(b"\t") for line in told.splitlines()]
    return {path: (int(added), int(deleted)) for added, deleted, path in rows}


def two_trees_of(repo: Repo, pairs: dict[bytes, tuple[bytes, bytes]]) -> tuple[str, str]:
    """Trees of all old and all new texts, by path."""
    old = tree_of(repo, commit_files(repo, {p: ("100644", a) for p, (a, _) in pairs.items()}))
    new = tree_of(repo, commit_files(repo, {p: ("100644", b) for p, (_, b) in pairs.items()}))
    return old, new


@pytest.mark.parametrize("seed", range(3))
def test_edits_of_large_texts_apply_where_they_stand(tmp_path: Path, seed: int) -> None:
    """Git takes every hunk without searching.

    Over 360 such edits the counts of lines were git's numstat in 97 of 100, and the whole text
    git's in 95. They may differ where blocks are repeated or moved, because what is shortest
    within each segment need not be within the file. Asserted is only what a broken cut would miss.
    """
    repo = Repo.create(tmp_path / "r.git")
    draw = random.Random(seed)
    pairs = {}
    for k in range(30):
        old = code(draw, draw.choice([3_000, 5_000, 20_000, 60_000, 200_000]))
        pairs[b"f%02d" % k] = (old, edited(draw, old))
    pairs = {path: (old, new) for path, (old, new) in pairs.items() if old != new}
    old_tree, new_tree = two_trees_of(repo, pairs)
    patch = b"".join(section(path, old, new) for path, (old, new) in pairs.items())
    applied = git_apply(repo, old_tree, patch)
    assert applied.tree == new_tree, applied.said
    assert "offset" not in applied.said
    for file in parse_patch(patch):
        old, new = pairs[file.path.encode()]
        assert apply_file(file, ("100644", old)) == ("100644", new)
    told = numstat(repo, old_tree, new_tree)
    ours = {path: diff_lines(old, new)[1:] for path, (old, new) in pairs.items()}
    assert sum(ours[path] == told[path] for path in pairs) > len(pairs) / 2


@pytest.mark.parametrize("seed", range(2))
def test_edits_far_apart_are_gits_own(tmp_path: Path, seed: int) -> None:
    """Distinct lines, edits hundreds of lines apart: byte for byte git's hunks and headers."""
    repo = Repo.create(tmp_path / "r.git")
    draw = random.Random(seed)
    pairs = {}
    for k in range(12):
        lines = code(draw, draw.choice([20_000, 80_000])).split(b"\n")
        old_lines = [b"%s /* %d */" % (line, n) if line else line for n, line in enumerate(lines)]
        new_lines = list(old_lines)
        for at in range(draw.randrange(20, 200), len(lines) - 3, draw.randrange(150, 400)):
            new_lines[at] = draw.choice(
                [b"changed", b"one\nmore", new_lines[at] + b"!", b"", b"int other(void)"]
            )
        pairs[b"f%02d" % k] = (b"\n".join(old_lines), b"\n".join(new_lines))
    old_tree, new_tree = two_trees_of(repo, pairs)
    told = hunks_by_git(repo, old_tree, new_tree)
    for path, (old, new) in pairs.items():
        assert whole_characters(diff_lines(old, new).body) == whole_characters(told[path])


def hunks_by_git(repo: Repo, old_tree: str, new_tree: str) -> dict[bytes, bytes]:
    """The text of git's hunks by path."""
    patch = repo.git("diff-tree", "-r", "-p", "--text", "--no-renames", old_tree, new_tree)
    found = {}
    for part in re.split(rb"^diff --git ", patch, flags=re.M)[1:]:
        found[part.split(b" ")[0][2:]] = part[part.index(b"\n@@ ") + 1 :]
    return found


def whole_characters(hunks: bytes) -> bytes:
    """Hunks with what is left of a character that a header cuts in two taken away."""
    return b"\n".join(
        line.decode(errors="ignore").encode() if line.startswith(b"@@ ") else line
        for line in hunks.split(b"\n")
    )


@pytest.mark.parametrize("seed", range(2))
def test_function_context_is_gits(tmp_path: Path, seed: int) -> None:
    """The headers of single edits anywhere in code, cut where git cuts, between characters."""
    repo = Repo.create(tmp_path / "r.git")
    draw = random.Random(seed)
    pairs = {}
    for k in range(40):
        old = code(draw, draw.choice([2_000, 12_000, 40_000]))
        lines = old.split(b"\n")
        at = draw.randrange(len(lines))
        lines[at] = b"    changed here only"
        pairs[b"f%02d" % k] = (old, b"\n".join(lines))
    old_tree, new_tree = two_trees_of(repo, pairs)
    told = hunks_by_git(repo, old_tree, new_tree)
    cut = 0
    for path, (old, new) in pairs.items():
        header = diff_lines(old, new).body.partition(b"\n")[0]
        by_git = told[path].partition(b"\n")[0]
        assert header.decode() == by_git.decode(errors="ignore")
        cut += not header.isascii() and len(header.partition(b"@@ ")[2].partition(b"@@ ")[2]) > 77
    assert cut, "no header of the sample is cut at or inside a character"


@pytest.fixture
def small_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments, probes and runs of a few bytes, so that small texts go through all of the code."""
    for name, value in {
        "_KEPT_BYTES": 2,
        "_KEPT_LINES": 4,
        "_BLOCK_BYTES": 4,
        "_NUMPY_BYTES": 8,
        "_WHOLE_BYTES": 0,
        "_PROBE_BYTES": 4,
        "_PROBE_STEPS": (1, 4, 16),
        "_PROBE_REACH": 64,
        "_RUN_BYTES": 8,
    }.items():
        monkeypatch.setattr(diff, name, value)


@st.composite
def similar_texts(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two texts of up to 120 short lines, the second an edit of the first."""
    lines = draw(st.lists(st.sampled_from([b"a", b"b", b"", b"f(", b"   c", b"\r"]), max_size=120))
    if draw(st.booleans()):  # distinct lines make runs that are found again
        lines = [b"%s%d" % (line, k) for k, line in enumerate(lines)]
    new = list(lines)
    for _ in range(draw(st.integers(1, 4))):
        at, gone = draw(st.integers(0, len(new))), draw(st.integers(0, 3))
        new[at : at + gone] = draw(st.lists(st.sampled_from([b"a", b"f(", b"new"]), max_size=3))
    ends = st.sampled_from([b"", b"\n"])
    return b"\n".join(lines) + draw(ends), b"\n".join(new) + draw(ends)


@pytest.mark.slow
@settings(SLOW, max_examples=400)
@given(similar_texts())
def test_every_cut_gives_a_correct_patch(small_cuts: None, texts: tuple[bytes, bytes]) -> None:
    old, new = texts
    check_applies(old, new)


@settings(SLOW, max_examples=200)
@given(CONTENTS, CONTENTS)
def test_any_two_texts(old: bytes, new: bytes) -> None:
    check_applies(old, new)


def check_applies(old: bytes, new: bytes) -> None:
    hunks = diff_lines(old, new)
    if old == new:
        assert hunks == (b"", 0, 0)
        return
    [file] = parse_patch(section(b"f", old, new))
    assert apply_file(file, ("100644", old)) == ("100644", new)
    assert (file.additions, file.deletions) == (hunks.additions, hunks.deletions)
    assert line_count(new) - line_count(old) == hunks.additions - hunks.deletions
    for hunk in file.hunks:  # context is full wherever the file goes on
        a, b = hunk.old_text.split(b"\n"), hunk.new_text.split(b"\n")
        if hunk.old_skip:
            assert a[:3] == b[:3]
        if hunk.old_skip + hunk.old_lines < line_count(old):
            assert a[-4:] == b[-4:]
    for before, after in zip(file.hunks, file.hunks[1:], strict=False):
        assert before.old_skip + before.old_lines <= after.old_skip


def test_a_cut_that_forgets_the_lines_above_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge of the tests above fails when headers are not shifted."""
    repo = Repo.create(tmp_path / "r.git")
    old = b"".join(b"%d some text to make it long enough\n" % k for k in range(2000))
    new = old.replace(b"\n1500 some", b"\n1500 any")
    old_tree, new_tree = two_trees_of(repo, {b"f": (old, new)})
    monkeypatch.setattr(diff, "_shift", lambda body, *_: body)
    applied = git_apply(repo, old_tree, section(b"f", old, new))
    assert applied.tree != new_tree or "offset" in applied.said
