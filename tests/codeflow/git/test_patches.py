"""Patches against real git: what git writes we apply, what we accept git applies alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from codeflow.errors import DataError
from codeflow.git.apply import apply_patch, changed_files
from codeflow.git.objects import TreeEntry, blob_id, edited_tree_id, tree_id, tree_order
from codeflow.git.patch import parse_patch
from codeflow.text.quoting import quote_path, unquote_path
from tiny_dataset import Git

Files = dict[str, tuple[str, bytes]]
SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NAMES = st.one_of(
    st.sampled_from(["a", "b", "A", "a b", "é", 'q"', "t\tb", "n\nl", "b\\s", "-", "a.c", "a0"]),
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5
    ),
).filter(lambda name: name not in (".", "..") and not re.search(r"(?i)git", name))
LINES = st.sampled_from(
    [b"", b"x", b"y", b"x\r", b"\r", b"a\x0cb", b"\xc3\xa9", b"-- a", b"++ b", b"@@ -1 +1 @@", b" "]
)
CONTENTS = st.one_of(
    st.builds(
        lambda lines, end: b"\n".join(lines) + end,
        st.lists(LINES, max_size=30),
        st.sampled_from([b"", b"\n"]),
    ),
    st.just(b""),
)
FILES = st.tuples(
    st.sampled_from(["100644", "100755", "120000"]), CONTENTS.filter(lambda c: c != b"")
)
REGULAR = st.tuples(st.sampled_from(["100644", "100755"]), CONTENTS)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def without_clashes(files: Files) -> Files:
    """Drops every path that needs a directory where a shorter path has a file."""
    return {
        path: file
        for path, file in files.items()
        if not any(path.startswith(other + "/") for other in files)
    }


@st.composite
def two_trees(draw: st.DrawFn) -> tuple[Files, Files]:
    """A small tree and what some edits make of it: often alike, so that renames are found."""
    old = without_clashes(draw(st.dictionaries(PATHS, REGULAR | FILES, max_size=6)))
    new = dict(old)
    for path in list(old):
        action = draw(st.sampled_from(["keep", "keep", "drop", "move", "mode", "edit", "replace"]))
        mode, content = old[path]
        if action in ("drop", "move"):
            del new[path]
        if action == "move":
            new[draw(PATHS)] = (mode, content + draw(st.sampled_from([b"", b"z\n"])))
        if action == "mode":
            new[path] = (draw(st.sampled_from(["100644", "100755"])), content)
        if action == "edit":
            lines = content.split(b"\n")
            place = draw(st.integers(0, len(lines)))
            new[path] = (
                mode,
                b"\n".join([*lines[:place], draw(LINES), *lines[place + 1 :]]) or b"e",
            )
        if action == "replace":
            new[path] = draw(REGULAR | FILES)
    new.update(draw(st.dictionaries(PATHS, REGULAR | FILES, max_size=2)))
    return old, without_clashes(new)


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("git"))


def git_apply(git: Git, old_tree: str, patch: bytes) -> str | None:
    """The tree `git apply --cached` makes, None if it refuses."""
    (git.folder / "applying").unlink(missing_ok=True)
    git.run("read-tree", old_tree, index="applying")
    done = git.try_run("apply", "--cached", "--whitespace=nowarn", stdin=patch, index="applying")
    if done.returncode:
        return None
    return git.run("write-tree", index="applying").decode().strip()


@SLOW
@given(two_trees(), st.sampled_from([0, 1, 3, 8]))
def test_applies_what_git_writes(git: Git, trees: tuple[Files, Files], context: int) -> None:
    old, new = trees
    patch = git.patch(git.tree(old), git.tree(new), f"-U{context}")
    if context == 0 and any(
        not hunk.ends_in_context for p in parse_patch(patch) for hunk in p.hunks
    ):
        return  # git itself refuses these without --unidiff-zero
    assert apply_patch(patch, old) == new


@SLOW
@given(two_trees())
def test_tree_ids_are_gits(git: Git, trees: tuple[Files, Files]) -> None:
    old, new = trees
    old_tree, new_tree = git.tree(old), git.tree(new)
    edits = changed_files(parse_patch(git.patch(old_tree, new_tree)), old)

    def load(tree: str) -> list[TreeEntry]:
        entries = []
        for row in git.run("ls-tree", "-z", tree).split(b"\0")[:-1]:
            head, name = row.split(b"\t", 1)
            mode, _, id_ = head.decode().split(" ")
            entries.append(TreeEntry(mode.lstrip("0"), name.decode(), id_))
        assert tree_id(entries) == tree
        assert sorted(entries, key=tree_order) == entries
        return entries

    ids = {path: None if f is None else (f[0], blob_id(f[1])) for path, f in edits.items()}
    assert edited_tree_id(old_tree, ids, load) == new_tree


@SLOW
@given(two_trees(), st.data())
def test_accepts_nothing_git_would_apply_otherwise(
    git: Git, trees: tuple[Files, Files], data: st.DataObject
) -> None:
    """Whatever a mutation does: ours refuses it, or git makes the same tree of it."""
    old, new = trees
    old_tree = git.tree(old)
    patch = git.patch(old_tree, git.tree(new))
    assume(patch)
    lines = patch.split(b"\n")
    place = data.draw(st.integers(0, len(lines) - 2))
    mutation = data.draw(st.sampled_from(["drop", "double", "byte", "swap", "number"]))
    if mutation == "drop":
        del lines[place]
    elif mutation == "double":
        lines.insert(place, lines[place])
    elif mutation == "byte":
        at = data.draw(st.integers(0, len(lines[place])))
        lines[place] = lines[place][:at] + b"q" + lines[place][at + 1 :]
    elif mutation == "swap":
        lines[place], lines[place - 1] = lines[place - 1], lines[place]
    else:
        lines[place] = re.sub(
            rb"\d+", lambda m: b"%d" % (int(m.group()) + 1), lines[place], count=1
        )
    mutated = b"\n".join(lines)
    try:
        result = apply_patch(mutated, old)
    except DataError:
        return
    assert git_apply(git, old_tree, mutated) == git.tree(result)


OLD = b"".join(b"line %d\n" % n for n in range(30))
NEW = OLD.replace(b"line 15\n", b"fifteen\n")


@pytest.fixture(scope="module")
def plain(git: Git) -> bytes:
    return git.patch(git.tree({"f": ("100644", OLD)}), git.tree({"f": ("100644", NEW)}))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b" line 14\n", b" line 41\n", "f: hunk 1 does not match"),
        (b"@@ -13,7 +13,7 @@", b"@@ -14,7 +14,7 @@", "f: hunk 1 does not match"),
        (b"@@ -13,7 +13,7 @@", b"@@ -13,7 +14,7 @@", "f: hunk 1 gives a wrong line number"),
        (b"@@ -13,7 +13,7 @@", b"@@ -99,7 +99,7 @@", "f: hunk 1 starts behind the end"),
        (b"@@ -13,7 +13,7 @@", b"@@ -13,6 +13,7 @@", "hunk 1"),
        (b"+fifteen\n", b"+fifty\n", "f: after the patch: the content is blob"),
        (b"+fifteen\n", b"", "hunk 1"),
        (b"--- a/f\n", b"--- a/g\n", "names of the header"),
        (b"diff --git a/f b/f\n", b"diff --git a/g b/g\n", "names of the header"),
        (b" 100644\n", b" 100755\n", "f: the patch expects mode 100755"),
        (b" 100644\n", b" 100600\n", "mode '100600'"),
        (b"index ", b"index 0", "broken index line"),
        (b" line 16\n", b"\tline 16\n", "a line starts with"),
    ],
)
def test_refuses_and_says_where(plain: bytes, before: bytes, after: bytes, message: str) -> None:
    assert plain.count(before) == 1
    assert apply_patch(plain, {"f": ("100644", OLD)}) == {"f": ("100644", NEW)}
    with pytest.raises(DataError, match=re.escape(message)):
        apply_patch(plain.replace(before, after), {"f": ("100644", OLD)})


def test_refuses_another_old_side(plain: bytes) -> None:
    for old in ({}, {"f": ("100755", OLD)}, {"f": ("100644", OLD + b"more\n")}):
        with pytest.raises(DataError, match="f"):
            apply_patch(plain, old)


def ring(git: Git, moves: dict[str, str], old: Files) -> bytes:
    return b"".join(
        b"diff --git a/%b b/%b\nsimilarity index 100%%\nrename from %b\nrename to %b\n"
        % (a.encode(), b.encode(), a.encode(), b.encode())
        for a, b in moves.items()
    )


@pytest.mark.parametrize("moves", [{"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}])
def test_rings_of_renames(git: Git, moves: dict[str, str]) -> None:
    old = {name: ("100644", name.encode() * 3) for name in moves}
    patch = ring(git, moves, old)
    expected = {new: old[name] for name, new in moves.items()}
    assert apply_patch(patch, old) == expected
    assert git_apply(git, git.tree(old), patch) == git.tree(expected)


def test_two_files_cannot_meet_at_one_path(git: Git) -> None:
    old: Files = {name: ("100644", name.encode()) for name in ("a", "b")}
    with pytest.raises(DataError, match="written twice"):
        apply_patch(ring(git, {"a": "c", "b": "c"}, old), old)
    with pytest.raises(DataError, match="there already"):
        apply_patch(ring(git, {"a": "b"}, old), old)
    with pytest.raises(DataError, match="a file stands at b"):
        apply_patch(ring(git, {"a": "b/c"}, old), old)


def test_refuses_what_is_not_in_the_format() -> None:
    for patch in (
        b"hello\n",
        b"diff --git a/f b/f\n",
        b"diff --git a/f b/f\ncopy from f\ncopy to g\n",
        b"diff --git a/f b/f\nindex 1234567..1234568 100644\nBinary files a/f and b/f differ\n",
        b"diff --git a/f b/f\nold mode 100644\nnew mode 160000\n",
        b"diff --git a/f b/f\nold mode 100644\nnew mode 100755",
    ):
        with pytest.raises(DataError):
            apply_patch(patch, {"f": ("100644", b"x")})


@settings(SLOW, max_examples=100)
@given(
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"_"))
)
def test_quotes_as_git_does(git: Git, name: bytes) -> None:
    tree = git.run("mktree", "-z", stdin=b"100644 blob %s\t%s\0" % (git.blob(b"").encode(), name))
    listed = git.run("ls-tree", "--name-only", tree.decode().strip())
    assert quote_path(name) == listed.removesuffix(b"\n")
    assert unquote_path(quote_path(name)) == name


@pytest.mark.parametrize("text", [b'"a', b'"\\', b'"\\q"', b'"\\777"', b'"a"b"', b'"\\9"'])
def test_refuses_broken_quotations(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"broken|unknown"):
        unquote_path(text)


def test_a_hunk_without_context_behind_it_has_to_end_the_file(git: Git) -> None:
    """Git takes such a hunk for the end of the file, and so refuses it in the middle."""
    old, new = git.tree({"f": ("100644", OLD)}), git.tree({"f": ("100644", NEW)})
    patch = git.patch(old, new, "-U0")
    assert git_apply(git, old, patch) is None
    with pytest.raises(DataError, match="f: hunk 1 has no context behind it"):
        apply_patch(patch, {"f": ("100644", OLD)})
    at_the_end = OLD.replace(b"line 29\n", b"the end")
    patch = git.patch(old, git.tree({"f": ("100644", at_the_end)}), "-U0")
    assert apply_patch(patch, {"f": ("100644", OLD)}) == {"f": ("100644", at_the_end)}
