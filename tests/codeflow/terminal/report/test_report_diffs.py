"""A patch read for people says what the patch says: nothing lost, nothing misread."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

import gitdag
from codeflow.git.patch import parse_patch
from codeflow.terminal.report.diffs import Line, read_diff
from codeflow.text.escape import visible

WHOLE = 10**9

# lines that look like parts of a patch when a sign is put before them
LINES = ("-- a/x", "++ b/x", "@ -1 +1 @@", "", " ", "\t", "diff --git a/x b/x", "a b c", "a b d")
TEXTS = st.lists(st.sampled_from(LINES), max_size=12).map("\n".join)
ALIKE = st.lists(st.sampled_from(LINES[:3]), max_size=8).map("\n".join)  # hunks of many runs


def text_of(line: Line) -> str:
    return "".join(segment.text for segment in line.segments)


@settings(max_examples=25, deadline=None)
@example([("a\nb\nc\n", "x\nb\n")])  # the last line of the hunk is a removed one
@given(st.lists(st.tuples(TEXTS, TEXTS) | st.tuples(ALIKE, ALIKE), min_size=1, max_size=2))
def test_lines_are_those_that_the_strict_parser_reads(pairs: list[tuple[str, str]]) -> None:
    patch = git_diff(
        {f"f{n}": old for n, (old, _) in enumerate(pairs)},
        {f"f{n}": new for n, (_, new) in enumerate(pairs)},
    )
    lines = read_diff(patch.decode(), WHOLE)
    sides: dict[str, list[str]] = {"old": [], "new": []}
    numbers: dict[str, list[int]] = {"old": [], "new": []}
    for line in lines:
        if line.old is not None:
            sides["old"].append(text_of(line))
            numbers["old"].append(line.old)
        if line.new is not None:
            sides["new"].append(text_of(line))
            numbers["new"].append(line.new)
    expected: dict[str, list[str]] = {"old": [], "new": []}
    counted: dict[str, list[int]] = {"old": [], "new": []}
    for file in parse_patch(patch):
        for hunk in file.hunks:
            for side, text, skip, n in (
                ("old", hunk.old_text, hunk.old_skip, hunk.old_lines),
                ("new", hunk.new_text, hunk.new_skip, hunk.new_lines),
            ):
                if n:
                    expected[side] += text.decode().removesuffix("\n").split("\n")
                    counted[side] += range(skip + 1, skip + n + 1)
    assert sides == expected
    assert numbers == counted
    assert [text_of(line) for line in lines if line.kind == "file"] == [
        file.path for file in parse_patch(patch)
    ]


def git_diff(old: dict[str, str], new: dict[str, str]) -> bytes:
    """What git says of two snapshots."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        repo = gitdag.Repo.create(Path(folder) / "r.git")
        first = repo.commit(dict(old))
        second = repo.commit(dict(new), snapshot=True)
        return repo.git("diff", "--no-renames", "--full-index", first, second)


PATCH = """\
diff --git a/a.py b/a.py
index 111..222 100644
--- a/a.py
+++ b/a.py
@@ -1,3 +1,3 @@ def f():
 keep
-total = first + second
+total = first - second
 end
"""


def test_words_that_changed_are_marked() -> None:
    old, new = (next(x for x in read_diff(PATCH, WHOLE) if x.kind == k) for k in ("del", "add"))
    assert [p.text for p in old.segments if p.changed] == ["+"]
    assert [p.text for p in new.segments if p.changed] == ["-"]
    assert text_of(new) == "total = first - second"


def test_a_cut_says_how_many_lines_are_left() -> None:
    assert [line.kind for line in read_diff(PATCH, 3)] == ["file", "hunk", "keep", "cut"]
    assert text_of(read_diff(PATCH, 3)[-1]) == "3 more lines"
    assert text_of(read_diff(PATCH, 5)[-1]) == "1 more line"
    assert read_diff(PATCH, 6)[-1].kind == "keep"


def test_what_is_hostile_in_a_line_becomes_visible() -> None:
    patch = PATCH.replace("keep", "a\u202eb\x1b[1m\x00").replace("end", "x" * 5000)
    shown = [text_of(line) for line in read_diff(patch, WHOLE)]
    assert "a\\u202eb\\x1b[1m\\x00" in shown
    assert all(line == visible(line) for line in shown)
    assert max(map(len, shown)) < 300
    assert shown[-1].endswith("… 4,760 more characters")


def test_addresses_are_replaced() -> None:
    patch = PATCH.replace("keep", "to ada@analytical.org from 8.8.8.8")
    patch = patch.replace("total = first", "ada@analytical.org")  # the sign is no part of it
    shown = [text_of(line) for line in read_diff(patch, WHOLE)]
    assert "to user@example.com from 192.0.2.1" in shown
    assert {"user@example.com + second", "user@example.com - second"} < set(shown)


def test_renames_modes_and_missing_newlines_are_told() -> None:
    patch = (
        "diff --git a/old name b/new name\nold mode 100644\nnew mode 100755\n"
        "similarity index 90%\nrename from old name\nrename to new name\n"
        "--- a/old name\n+++ b/new name\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+y\n"
    )
    kinds = [(line.kind, text_of(line)) for line in read_diff(patch, WHOLE)]
    assert kinds[0] == ("file", "a/old name b/new name")
    assert ("meta", "rename to new name") in kinds
    assert ("meta", "No newline at end of file") in kinds
    assert [text for kind, text in kinds if kind in ("add", "del")] == ["x", "y"]
