"""Hostile repositories by their contents: paths, texts, trees no git would write, odd shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gitdag import EPOCH, Content, Entry, Gitlink, Path_, Repo, Symlink
from hostile_case import COMMITS, MIDDLE, MINED, Cases, HostileCase, history, write

CASES = Cases()


def _simple(
    name: str,
    mischief: Mapping[Path_, Content | None],
    expect: frozenset[str] = MINED,
    left_out: bool = False,
    **commit: Any,
) -> None:
    """Registers an ordinary history with some files (and commit fields) in its middle."""

    def build(path: Path) -> HostileCase:
        history(path, mischief, **commit)
        gone = {p if isinstance(p, bytes) else p.encode() for p in mischief} if left_out else ()
        return HostileCase(str(path), expect, frozenset(gone))

    CASES.case(name)(build)


# -- paths and contents
_simple("dotdot-path", {"../outside": "x\n", "a/../../b": "x\n"}, left_out=True)
_simple(
    "dot-git-paths",
    dict.fromkeys((".git/hooks/post-checkout", ".GIT/config", "git~1/config", "a/.git"), "x\n"),
    left_out=True,
)
_simple("slash-names", {"a//b": "x\n", "/etc/passwd": "x\n"}, frozenset({"damaged-object"}))
_simple("dot-names", {".": "x\n", "a/./b": "x\n"}, left_out=True)
_simple("gitmodules-symlink", {".gitmodules": Symlink("lib/util.py")}, left_out=True)
_simple(
    "symlinks-outside",
    {"up": Symlink("../../../etc/passwd"), "abs": Symlink("/etc"), "self": Symlink("self")},
)
_simple("non-utf8-names", {b"caf\xe9.py": "x\n", b"\xff\xfe/\x80": "y\n"}, left_out=True)
_simple("non-utf8-text", {"latin.txt": b"caf\xe9\n", "nul.bin": b"a\0b"}, left_out=True)
_simple("odd-names", {'a "b"\t\n\\c.py': "x\n", "-rf": "y\n", "é/ü.py": "z\n", "a b": "w\n"})
_simple("odd-modes", {"old.sh": Entry("100664", b"x\n"), "older.sh": Entry("100600", b"y\n")})
_simple("gitlinks", {"sub": Gitlink("1" * 40), ".gitmodules": "[submodule]\n"})
_simple("no-newline", {"end.py": "x = 1", "empty.py": "", "only.txt": "\n"})
_simple("crlf", {"dos.txt": "a\r\nb\r\n", "mac.txt": "a\rb\r", "mixed.txt": "a\r\nb\nc\r"})
_simple("huge-line", {"line.js": "var x=" + "1+" * 450_000 + "1;\n"})
_simple("deep-tree", {"d/" * 300 + "f.py": "x\n"})
_simple("signed", {}, extra_headers=b"gpgsig -----BEGIN PGP SIGNATURE-----\n bogus\n")
_simple("bogus-encoding", {}, extra_headers=b"encoding klingon-8\n", message=b"Gr\xfc\xdfe")
_simple(
    "non-utf8-message", {}, message=b"caf\xe9 \xff\xfe\n\nbody \x80", author=b"J\xfcrg <j@x.org>"
)
_simple("latin1-message", {}, encoding="ISO-8859-1", message="café")
_simple("empty-message", {}, message=b"")
_simple("absurd-date", {}, when=2**40)
_simple(
    "attributes",
    {
        ".gitattributes": "* text eol=crlf filter=evil diff=evil ident\n"
        "*.txt working-tree-encoding=UTF-16\n*.py export-subst -diff merge=evil\n",
        "id.py": "$Id$ $Format:%H$\n",
    },
)


@CASES.case("big-blob")
def _big_blob(path: Path) -> HostileCase:
    history(path, {"big.txt": b"0123456789abcdef" * 64 * 1600 * 64})  # 100 MiB of text
    return HostileCase(str(path), MINED, frozenset({b"big.txt"}))


@CASES.case("many-files")
def _many_files(path: Path) -> HostileCase:
    """One commit adds 20,000 files: more than a triple may have, while the others are fine."""
    history(path, {f"gen/{n % 100:02}/f{n}.py": f"x = {n % 50}\n" for n in range(20_000)})
    return HostileCase(str(path))


@CASES.case("case-renames")
def _case_renames(path: Path) -> HostileCase:
    repo, _ = history(path, {"Readme.py": "one\ntwo\nthree\n"})
    repo.commit({"Readme.py": None, "README.py": "one\ntwo\nthree\n"})
    repo.commit({"readme.py": "other\n"})
    return HostileCase(str(path))


@CASES.case("file-and-folder")
def _file_and_folder(path: Path) -> HostileCase:
    """A name that is a file and a folder by turns."""
    repo, _ = history(path)
    for n in range(COMMITS):
        if n // 3 % 2:
            repo.commit({"turns": None, "turns/inner.py": f"x = {n}\n"})
        else:
            repo.commit({"turns/inner.py": None, "turns": f"y = {n}\n"})
    return HostileCase(str(path))


def _raw_tree(
    name: str,
    entries: Callable[[Repo, str], list[tuple[str, Path_, str]]],
    expect: frozenset[str] = frozenset({"damaged-object"}),
) -> None:
    """Registers a history whose middle commit has a tree that no git would write."""

    def build(path: Path) -> HostileCase:
        repo, ids = history(path)
        blob = repo.blob("x = 1\n")
        bad = repo.commit(parents=[ids[MIDDLE]], tree=repo.raw_tree(entries(repo, blob)))
        for n in range(MIDDLE + 1, COMMITS):
            bad = repo.commit(parents=[bad], tree=_tree_of(repo, ids[n]))
        return HostileCase(str(path), expect)

    CASES.case(name)(build)


def _tree_of(repo: Repo, commit: str) -> str:
    return repo.tree(repo.snapshots[commit])


_raw_tree("duplicate-entries", lambda _, b: [("100644", "a.py", b), ("100644", "a.py", b)])
_raw_tree(
    "file-and-folder-at-once",
    lambda r, b: [("100644", "a", b), ("40000", "a", r.raw_tree([("100644", "x", b)]))],
)
_raw_tree("unsorted-tree", lambda _, b: [("100644", "b.py", b), ("100644", "a.py", b)], MINED)
_raw_tree("zero-padded-modes", lambda r, b: [
    ("0100644", "a.py", b), ("040000", "d", r.raw_tree([("00100755", "x.py", b)])),
    ("0120000", "l", r.blob("a.py")),
], MINED)  # fmt: skip
_raw_tree("modes-of-no-kind", lambda _, b: [("644", "bare.py", b), ("100644", "c.py", b)], MINED)
_raw_tree("slash-in-entry", lambda _, b: [("100644", "a/b.py", b)])
_raw_tree("empty-entry-name", lambda _, b: [("100644", "", b), ("100644", "c.py", b)])
_raw_tree("blob-as-folder", lambda _, b: [("40000", "folder", b)])
_raw_tree("folder-as-blob", lambda r, b: [("100644", "f.py", r.raw_tree([("100644", "x", b)]))])


# -- shapes of history


@CASES.case("octopus")
def _octopus(path: Path) -> HostileCase:
    repo, ids = history(path)
    arms = [repo.commit({f"arm{n}.py": "x\n"}, parents=[ids[-1]]) for n in range(8)]
    merged: dict[Path_, Content | None] = {f"arm{n}.py": "x\n" for n in range(8)}
    repo.commit(merged, parents=[ids[-1], *arms], message="Merge eight branches")
    return HostileCase(str(path))


@CASES.case("duplicate-parents")
def _duplicate_parents(path: Path) -> HostileCase:
    repo, ids = history(path)
    repo.commit({"d.py": "x\n"}, parents=[ids[-1], ids[-1], ids[-2], ids[-2]])
    return HostileCase(str(path))


@CASES.case("empty-commits")
def _empty_commits(path: Path) -> HostileCase:
    repo, _ = history(path)
    for n in range(20):
        repo.commit({} if n % 2 else {"src/app.py": f"x = {n}\n"}, message="maybe nothing")
    return HostileCase(str(path))


@CASES.case("several-roots")
def _several_roots(path: Path) -> HostileCase:
    repo, ids = history(path)
    other = repo.commit({"other.py": "x\n"}, parents=[])
    repo.commit({"other.py": "x\n"}, parents=[ids[-1], other], message="Merge unrelated")
    return HostileCase(str(path))


@CASES.case("clock-skew")
def _clock_skew(path: Path) -> HostileCase:
    repo = Repo.create(path)
    for n in range(COMMITS):
        repo.commit({"a.py": f"x = {n}\n"}, when=0 if n % 7 == 0 else EPOCH - n * 86_400)
    return HostileCase(str(path))


@CASES.case("replace-cycle")
def _replace_cycle(path: Path) -> HostileCase:
    repo, ids = history(path)
    repo.ref(f"refs/replace/{ids[MIDDLE]}", ids[MIDDLE + 1])
    repo.ref(f"refs/replace/{ids[MIDDLE + 1]}", ids[MIDDLE])
    return HostileCase(str(path))


@CASES.case("grafts")
def _grafts(path: Path) -> HostileCase:
    """The graft cuts the history to its last ten commits; the real history has all thirty."""
    repo, ids = history(path)
    write(repo.git_dir / "info/grafts", f"{ids[-10]}\n{ids[3]} {ids[20]}\n")
    return HostileCase(str(path))
