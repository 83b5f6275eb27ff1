"""Pairs of small trees as strange as Git allows, for properties that must hold for any change.

Written for hypothesis: an old tree, and what a few edits make of it (moves, swaps, rings, copies,
changes of case, mode and type, files where folders were), so that a failure shrinks to one edit.
"""

from __future__ import annotations

from hypothesis import strategies as st

from gitdag import Entry, Repo

Files = dict[bytes, tuple[str, bytes]]
"""A snapshot: (mode, content) by path."""

NAMES = st.one_of(
    st.sampled_from(["a", "b", "c", "A", "B", "a b", "é", "É", 'q"', "t\tb", "n\nl", "b\\s", "-"]),
    st.sampled_from(
        ["a.c", "a0", "a-", " ", "a ", "\r", "日本", "x\x7fy", "\x01", "'", "%s", "b/"]
    ),
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=4
    ),
).map(lambda name: name.rstrip("/"))
PATHS = (
    st.lists(NAMES, min_size=1, max_size=3)
    .map(lambda names: "/".join(names).encode())
    .filter(lambda p: not {b".", b".."} & set(p.split(b"/")) and b"git" not in p.lower())
)
LINES = st.sampled_from(
    [
        b"",
        b"x",
        b"y",
        b"z",
        b"x\r",
        b"\r",
        b"a\rb",
        b"a\x0cb",
        b"\xc3\xa9",
        b"def f():",
        b"-- a",
        b"++ b",
        b"@@ -1 +1 @@",
        b" ",
        b"\\ No newline at end of file",
        b"\t",
        b"diff --git a/x b/x",
    ]
)
CONTENTS = st.one_of(
    st.just(b""),
    st.builds(
        lambda lines, end: b"\n".join(lines) + end,
        st.lists(LINES, max_size=25),
        st.sampled_from([b"", b"\n", b"\r\n"]),
    ),
)
REGULAR = st.tuples(st.sampled_from(["100644", "100644", "100755"]), CONTENTS)
SYMLINK = st.tuples(st.just("120000"), st.sampled_from([b"a", b"../b", b"/etc/x y", b"n\nl", b"x"]))
FILE = st.one_of(REGULAR, REGULAR, SYMLINK)
ACTIONS = ["drop", "move", "copy", "case", "mode", "edit", "edit", "type", "folder", "swap", "ring"]


@st.composite
def two_trees(draw: st.DrawFn, least: int = 0) -> tuple[Files, Files]:
    """An old and a new tree; `least` files at least in the old one (before clashes go)."""
    old = _without_clashes(draw(st.dictionaries(PATHS, FILE, min_size=least, max_size=6)))
    new = dict(old)
    for action in draw(st.lists(st.sampled_from(ACTIONS), max_size=4)):
        if new:
            _act(draw, action, new)
    new.update(draw(st.dictionaries(PATHS, FILE, max_size=2)))
    return old, _without_clashes(new)


def _act(draw: st.DrawFn, action: str, new: Files) -> None:
    path = draw(st.sampled_from(sorted(new)))
    mode, content = new[path]
    others = sorted(new)
    if action in ("swap", "ring"):
        ring = draw(st.permutations(others))[: 2 if action == "swap" else 4]
        values = [new[p] for p in ring]
        new.update(zip(ring, values[1:] + values[:1], strict=True))
    elif action == "drop":
        del new[path]
    elif action in ("move", "copy"):
        if action == "move":
            del new[path]
        extra = draw(st.sampled_from([b"", b"", b"more\n"])) if mode != "120000" else b""
        new[draw(PATHS)] = (mode, content + extra)
    elif action == "case":
        del new[path]
        new[path.swapcase() if path.isascii() else path + b"2"] = (mode, content)
    elif action == "mode" and mode != "120000":
        new[path] = ("100755" if mode == "100644" else "100644", content)
    elif action == "edit" and mode != "120000":
        lines = content.split(b"\n")
        place = draw(st.integers(0, len(lines)))
        gone = draw(st.integers(0, 2))
        new[path] = (mode, b"\n".join([*lines[:place], draw(LINES), *lines[place + gone :]]))
    elif action == "type":
        new[path] = ("100644", content) if mode == "120000" else ("120000", b"target")
    elif action == "folder":  # the file becomes a folder that holds it, or the other way round
        del new[path]
        if b"/" in path and draw(st.booleans()):
            new[path.rpartition(b"/")[0]] = (mode, content)
        else:
            new[path + b"/" + draw(NAMES).encode()] = (mode, content)


def _without_clashes(files: Files) -> Files:
    """Without the paths below a path that is a file, and what only Git's index would refuse."""
    kept: Files = {}
    for path in sorted(files):
        above = path.split(b"/")
        if any(b"/".join(above[:k]) in kept for k in range(1, len(above))):
            continue
        if not {b"", b".", b".."} & set(above) and b"git" not in path.lower():
            kept[path] = files[path]
    return kept


def commit_files(repo: Repo, files: Files) -> str:
    """Commits exactly these files on top of the tip; the id of the commit."""
    entries: dict[str | bytes, str | bytes | Entry | None] = {
        path: Entry(mode, content) for path, (mode, content) in files.items()
    }
    parents = [repo.tip] if repo.tip else []
    return repo.commit(entries, parents=parents, snapshot=True)


def tree_of(repo: Repo, commit: str) -> str:
    """The id of a commit's tree, asked of git."""
    return repo.git("rev-parse", f"{commit}^{{tree}}").decode().strip()
