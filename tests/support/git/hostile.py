"""Broken and hostile repositories: `HOSTILE` maps a name to a builder that makes one on disk.

    case = HOSTILE["fifo-head"](tmp_path)  # `case.line` goes into a list of repositories,
    case.expect                            # what a run may do with it: {"special-file"}

Most have 30 ordinary commits on `src/app.py` with the mischief in the middle of the window, so that
they can be mined apart from it. Builders write below the folder they are given and nowhere else.
"""

from __future__ import annotations

import os
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gitdag import EPOCH, Content, Entry, Gitlink, Path_, Repo, Symlink, git
from packwriter import DeltaEntry, write_pack

COMMITS: Final = 30
MIDDLE: Final = 15  # index of the commit that carries the mischief
MINED: Final = frozenset({"mined"})
DAMAGED: Final = frozenset({"missing-object", "damaged-object", "damaged"})


@dataclass(frozen=True)
class HostileCase:
    """A repository and what must come of it.

    Attributes:
        line: what to write in the list.
        expect: `mined` (triples are published and nothing of it fails), or rules of which one must
            stand in the ledger for it, or both where either is right. Whatever is published in
            spite of damage must still be exact.
        left_out: paths that exist in Git and must not be in any published snapshot.
        canaries: a folder that must stay empty: a file in it names the setting that was executed.
    """

    line: str
    expect: frozenset[str] = MINED
    left_out: frozenset[bytes] = frozenset()
    canaries: Path | None = None


Builder = Callable[[Path], HostileCase]
HOSTILE: dict[str, Builder] = {}


def _case(name: str) -> Callable[[Builder], Builder]:
    def register(builder: Builder) -> Builder:
        HOSTILE[name] = lambda folder: builder(folder / name)
        return builder

    return register


def history(
    path: Path,
    mischief: Mapping[Path_, Content | None] | None = None,
    *,
    bare: bool = True,
    **commit: Any,
) -> tuple[Repo, list[str]]:
    """30 commits on src/app.py and lib/util.py; the middle one has `mischief` and `commit`.

    Folders of different names give different roots, so that none is another's fork.
    """
    repo, ids = Repo.create(path, bare), []
    for n in range(COMMITS):
        lines = "".join(f"value_{k} = {k * (n + 1)}\n" for k in range(n, n + 20))
        changes: dict[Path_, Content | None] = {"src/app.py": f"# version {n}\n{lines}"}
        if n % 3 == 0:
            changes["lib/util.py"] = f"def util():\n    return {n}\n"
        if n == MIDDLE:
            changes |= mischief or {}
        extra = commit if n == MIDDLE else {}
        message = f"Change {n}" if n else f"Start {path.name}"  # no two share a root
        ids.append(repo.commit(changes, **{"message": message, **extra}))
    return repo, ids


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

    _case(name)(build)


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


@_case("big-blob")
def _big_blob(path: Path) -> HostileCase:
    history(path, {"big.txt": b"0123456789abcdef" * 64 * 1600 * 64})  # 100 MiB of text
    return HostileCase(str(path), MINED, frozenset({b"big.txt"}))


@_case("many-files")
def _many_files(path: Path) -> HostileCase:
    """One commit adds 20,000 files: more than a triple may have, while the others are fine."""
    history(path, {f"gen/{n % 100:02}/f{n}.py": f"x = {n % 50}\n" for n in range(20_000)})
    return HostileCase(str(path))


@_case("case-renames")
def _case_renames(path: Path) -> HostileCase:
    repo, _ = history(path, {"Readme.py": "one\ntwo\nthree\n"})
    repo.commit({"Readme.py": None, "README.py": "one\ntwo\nthree\n"})
    repo.commit({"readme.py": "other\n"})
    return HostileCase(str(path))


@_case("file-and-folder")
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

    _case(name)(build)


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


@_case("octopus")
def _octopus(path: Path) -> HostileCase:
    repo, ids = history(path)
    arms = [repo.commit({f"arm{n}.py": "x\n"}, parents=[ids[-1]]) for n in range(8)]
    merged: dict[Path_, Content | None] = {f"arm{n}.py": "x\n" for n in range(8)}
    repo.commit(merged, parents=[ids[-1], *arms], message="Merge eight branches")
    return HostileCase(str(path))


@_case("duplicate-parents")
def _duplicate_parents(path: Path) -> HostileCase:
    repo, ids = history(path)
    repo.commit({"d.py": "x\n"}, parents=[ids[-1], ids[-1], ids[-2], ids[-2]])
    return HostileCase(str(path))


@_case("empty-commits")
def _empty_commits(path: Path) -> HostileCase:
    repo, _ = history(path)
    for n in range(20):
        repo.commit({} if n % 2 else {"src/app.py": f"x = {n}\n"}, message="maybe nothing")
    return HostileCase(str(path))


@_case("several-roots")
def _several_roots(path: Path) -> HostileCase:
    repo, ids = history(path)
    other = repo.commit({"other.py": "x\n"}, parents=[])
    repo.commit({"other.py": "x\n"}, parents=[ids[-1], other], message="Merge unrelated")
    return HostileCase(str(path))


@_case("clock-skew")
def _clock_skew(path: Path) -> HostileCase:
    repo = Repo.create(path)
    for n in range(COMMITS):
        repo.commit({"a.py": f"x = {n}\n"}, when=0 if n % 7 == 0 else EPOCH - n * 86_400)
    return HostileCase(str(path))


@_case("replace-cycle")
def _replace_cycle(path: Path) -> HostileCase:
    repo, ids = history(path)
    repo.ref(f"refs/replace/{ids[MIDDLE]}", ids[MIDDLE + 1])
    repo.ref(f"refs/replace/{ids[MIDDLE + 1]}", ids[MIDDLE])
    return HostileCase(str(path))


@_case("grafts")
def _grafts(path: Path) -> HostileCase:
    """The graft cuts the history to its last ten commits; the real history has all thirty."""
    repo, ids = history(path)
    _write(repo.git_dir / "info/grafts", f"{ids[-10]}\n{ids[3]} {ids[20]}\n")
    return HostileCase(str(path))


# -- missing and damaged objects


def _damage(name: str, spec: str, harm: Callable[[Repo, Path], None]) -> None:
    """Registers a history in which the object `spec` of the middle commit is harmed."""

    def build(path: Path) -> HostileCase:
        repo, ids = history(path)
        oid = repo.git("rev-parse", ids[MIDDLE] + spec).decode().strip()
        harm(repo, repo.loose_path(oid))
        return HostileCase(str(path), DAMAGED)

    _case(name)(build)


def _flip(path: Path, offset: int) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x41
    path.write_bytes(data)


def _loose(header: bytes, body: bytes) -> Callable[[Repo, Path], None]:
    return lambda _, path: (path.write_bytes(zlib.compress(header + b"\0" + body)), None)[1]


_damage("missing-blob", ":src/app.py", lambda _, path: path.unlink())
_damage("missing-tree", ":src", lambda _, path: path.unlink())
_damage("missing-commit", "", lambda _, path: path.unlink())
_damage("corrupt-blob", ":src/app.py", lambda _, path: _flip(path, path.stat().st_size // 2))
_damage("corrupt-tree", ":src", lambda _, path: _flip(path, path.stat().st_size // 2))
_damage("truncated-blob", ":src/app.py", lambda _, path: os.truncate(path, 20))
_damage("empty-object-file", ":src/app.py", lambda _, path: os.truncate(path, 0))
_damage("forged-blob", ":src/app.py", _loose(b"blob 12", b"evil = True\n"))
_damage("forged-tree", ":src", _loose(b"tree 0", b""))
_damage("lying-size", ":src/app.py", _loose(b"blob 1000000000000", b"small\n"))
_damage("inflating-blob", ":src/app.py", _loose(b"blob 6", b"\0" * (64 << 20)))
_damage("wrong-kind", ":src/app.py", _loose(b"commit 3", b"abc"))


@_case("corrupt-pack")
def _corrupt_pack(path: Path) -> HostileCase:
    """A byte flipped inside a packed blob that other versions may be deltas of."""
    repo, ids = history(path)
    blob = repo.git("rev-parse", f"{ids[MIDDLE]}:src/app.py")
    repo.pack()
    [index] = repo.git_dir.glob("objects/pack/*.idx")
    for line in repo.git("verify-pack", "-v", str(index)).splitlines():
        if line.startswith(blob.strip()):
            size, offset = (int(x) for x in line.split()[3:5])
            _flip(index.with_suffix(".pack"), offset + size - 6)
    return HostileCase(str(path), DAMAGED)


def _pack_harmed(name: str, pattern: str, harm: Callable[[Path], object]) -> None:
    """Registers a packed history one file of whose pack is harmed."""

    def build(path: Path) -> HostileCase:
        repo, _ = history(path)
        repo.pack()
        [file] = repo.git_dir.glob(f"objects/pack/*.{pattern}")
        file.chmod(0o644)
        harm(file)
        return HostileCase(str(path), DAMAGED)

    _case(name)(build)


_pack_harmed("truncated-pack", "pack", lambda p: os.truncate(p, p.stat().st_size // 2))
_pack_harmed("truncated-index", "idx", lambda p: os.truncate(p, p.stat().st_size // 2))
_pack_harmed("empty-pack", "pack", lambda p: os.truncate(p, 0))
_pack_harmed("empty-index", "idx", lambda p: os.truncate(p, 0))
_pack_harmed("garbage-pack", "pack", lambda p: p.write_bytes(b"\xff" * p.stat().st_size))
_pack_harmed("garbage-index", "idx", lambda p: p.write_bytes(b"\xff" * p.stat().st_size))
_pack_harmed("pack-without-index", "idx", lambda p: p.unlink())
_pack_harmed("index-without-pack", "pack", lambda p: p.unlink())


def _endless_deltas(name: str, bases: Callable[[bytes, bytes], list[DeltaEntry]]) -> None:
    """Registers a history whose middle blob is a delta that leads back to itself."""

    def build(path: Path) -> HostileCase:
        repo, ids = history(path)
        blob = repo.git("rev-parse", f"{ids[MIDDLE]}:src/app.py").decode().strip()
        repo.loose_path(blob).unlink()
        write_pack(repo.git_dir / "objects/pack", bases(bytes.fromhex(blob), b"\xbb" * 20))
        return HostileCase(str(path), frozenset({"damaged"}))

    _case(name)(build)


_endless_deltas("delta-of-itself", lambda a, b: [DeltaEntry(a, base=a)])
_endless_deltas("delta-circle", lambda a, b: [DeltaEntry(a, base=b), DeltaEntry(b, base=a)])
_endless_deltas("delta-circle-by-offset", lambda a, b: [DeltaEntry(b, base=a), DeltaEntry(a)])


# -- what would be executed


_HOOKS: Final = ("post-checkout", "pre-commit", "reference-transaction", "post-index-change")
_PROGRAMS: Final = (
    "core.fsmonitor",
    "core.sshCommand",
    "core.gitProxy",
    "core.editor",
    "core.pager",
    "core.askPass",
    "core.alternateRefsCommand",
    "gpg.program",
    "gpg.ssh.program",
    "diff.external",
    "diff.evil.textconv",
    "diff.evil.command",
    "filter.evil.clean",
    "filter.evil.smudge",
    "filter.evil.process",
    "merge.evil.driver",
    "credential.helper",
    "uploadpack.packObjectsHook",
    "remote.origin.uploadpack",
    "alias.log",
    "alias.rev-parse",
    "alias.fetch",
    "alias.cat-file",
    "alias.for-each-ref",
)


@_case("executable-config")
def _executable_config(path: Path) -> HostileCase:
    """Everything in a repository that makes plain git run a program: each leaves a canary."""
    canaries = path.parent / f"{path.name}-canaries"
    canaries.mkdir(parents=True)
    repo, _ = history(
        path,
        {".gitattributes": "* filter=evil diff=evil merge=evil\n"},
        bare=False,
        extra_headers=b"gpgsig -----BEGIN PGP SIGNATURE-----\n bogus\n",
    )

    def bait(name: str) -> str:
        script = path.parent / f"{path.name}-bait" / name
        _write(script, f"#!/bin/sh\ntouch '{canaries}/{name}'\ncat\n")
        script.chmod(0o755)
        return str(script)

    settings = {key: bait(key) for key in _PROGRAMS} | {
        "log.showSignature": "true",
        "remote.origin.url": f"ext::{bait('remote.origin.url')}",
        "protocol.ext.allow": "always",
        "core.hooksPath": str(repo.git_dir / "hooks"),
        "include.path": str(path.parent / f"{path.name}-bait" / "included"),
        "includeIf.gitdir:/.path": str(path.parent / f"{path.name}-bait" / "included-if"),
        "diff.noprefix": "true",
        "core.worktree": "/",
    }
    for include in ("included", "included-if"):
        _write(
            path.parent / f"{path.name}-bait" / include,
            f"[core]\n\tfsmonitor = {bait(f'{include}-monitor')}\n"
            f'[alias]\n\tlog = "!{bait(f"{include}-alias")}"\n',
        )
    for name in _HOOKS:
        hook = repo.git_dir / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        shutil.copy(bait(f"hook-{name}"), hook)
    for key, value in settings.items():
        if key.startswith("alias."):
            value = f"!{value}"
        git("config", "--file", repo.git_dir / "config", key, value)
    return HostileCase(str(path), MINED, canaries=canaries)


@_case("exponential-attributes")
def _exponential_attributes(path: Path) -> HostileCase:
    repo, _ = history(path, {"a" * 60 + "/" + "a" * 200: "x\n"})
    _write(repo.git_dir / "info/attributes", ("*a" * 40 + "b text\n") * 50)
    return HostileCase(str(path))


# -- special files: whoever opens them waits for ever


def _special(name: str, file: str) -> None:
    def build(path: Path) -> HostileCase:
        repo, ids = history(path)
        blob = repo.git("rev-parse", f"{ids[MIDDLE]}:src/app.py").decode().strip()
        target = repo.loose_path(blob) if file == "object" else repo.git_dir / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.mkfifo(target)
        return HostileCase(str(path), frozenset({"special-file"}))

    _case(name)(build)


_special("fifo-head", "HEAD")
_special("fifo-object", "object")
_special("fifo-packed-refs", "packed-refs")
_special("fifo-branch", "refs/heads/main")
_special("fifo-config", "config")
_special("fifo-alternates", "objects/info/alternates")
_special("fifo-pack-index", "objects/pack/pack-x.idx")


@_case("fifo-attributes")
def _fifo_attributes(path: Path) -> HostileCase:
    """Files that no reader of objects and refs needs to open."""
    repo, _ = history(path)
    for name in ("info/attributes", "info/grafts", "info/exclude", "index", "description"):
        (repo.git_dir / name).parent.mkdir(exist_ok=True)
        os.mkfifo(repo.git_dir / name)
    return HostileCase(str(path))


@_case("endless-packed-refs")
def _endless_packed_refs(path: Path) -> HostileCase:
    repo, _ = history(path)
    (repo.git_dir / "packed-refs").symlink_to("/dev/zero")
    return HostileCase(str(path), frozenset({"special-file"}))


@_case("refs-lead-outside")
def _refs_lead_outside(path: Path) -> HostileCase:
    repo, _ = history(path)
    (repo.git_dir / "refs/heads/root").symlink_to("/")
    return HostileCase(str(path), frozenset({"special-file"}))


# -- repositories that are not whole, not there, or not what they seem


def _refused(name: str, rule: str, build: Callable[[Path], str | None]) -> None:
    def case(path: Path) -> HostileCase:
        return HostileCase(build(path) or str(path), frozenset({rule}))

    _case(name)(case)


def _source_url(path: Path) -> str:
    repo, _ = history(path.parent / f"{path.name}-source")
    repo.git("config", "uploadpack.allowFilter", "true")
    return f"file://{repo.path}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _shallow(path: Path) -> None:
    git("clone", "--quiet", "--bare", "--depth=5", _source_url(path), path)


def _blobless(path: Path) -> None:
    git("clone", "--quiet", "--bare", "--filter=blob:none", _source_url(path), path)


def _sha256(path: Path) -> None:
    git("init", "--quiet", "--object-format=sha256", path)
    git("commit", "--quiet", "--allow-empty", "-m", "x", cwd=path)


def _empty(path: Path) -> None:
    Repo.create(path)


def _unborn(path: Path) -> None:
    history(path)[0].head("gone")


def _no_repository(path: Path) -> None:
    _write(path / "notes.txt", "nothing here\n")


def _fifo_for_git_dir(path: Path) -> None:
    path.mkdir(parents=True)
    os.mkfifo(path / ".git")


def _git_dir_loop(path: Path) -> None:
    path.mkdir(parents=True)
    (path / ".git").symlink_to(".git")


def _a_file(path: Path) -> None:
    _write(path, "# not a repository\n")


def _missing_ref(path: Path) -> str:
    history(path)
    return f"{path}@no/such-ref"


def _tag_of_a_blob(path: Path) -> str:
    repo, _ = history(path)
    repo.tag("blob", repo.blob("x"), "a blob", kind="blob")
    return f"{path}@blob"


def _head_without_commit(path: Path) -> None:
    repo, ids = history(path)
    repo.loose_path(ids[-1]).unlink()


def _broken_config(path: Path) -> None:
    _write(history(path)[0].git_dir / "config", "[core\nbare = = \n")


def _broken_head(path: Path) -> None:
    _write(history(path)[0].git_dir / "HEAD", "\0\0garbage")


def _lost_alternate(path: Path) -> None:
    """A shared clone whose original is gone, objects and all."""
    other, _ = history(path.parent / f"{path.name}-other")
    git("clone", "--quiet", "--bare", "--shared", str(other.path), path)
    shutil.rmtree(other.path)


def _future_format(path: Path) -> None:
    history(path)[0].git("config", "core.repositoryformatversion", "99")


def _unknown_extension(path: Path) -> None:
    repo, _ = history(path)
    repo.git("config", "extensions.fromTheFuture", "true")
    repo.git("config", "core.repositoryformatversion", "1")


def _alternates_fifo(path: Path) -> None:
    other = Repo.create(path.parent / f"{path.name}-other")
    os.mkfifo(other.git_dir / "objects/pack/pack-x.pack")
    alternates = history(path)[0].git_dir / "objects/info/alternates"
    _write(alternates, f"{other.git_dir}/objects\n")


_refused("shallow", "shallow", _shallow)
_refused("blobless", "partial", _blobless)
_refused("sha256", "sha256", _sha256)
_refused("empty", "empty", _empty)
_refused("unborn-head", "unborn-head", _unborn)
_refused("missing", "missing", lambda path: None)
_refused("no-repository", "not-a-repository", _no_repository)
_refused("fifo-dot-git", "special-file", _fifo_for_git_dir)
_refused("dot-git-loop", "unreadable", _git_dir_loop)
_refused("plain-file", "not-a-repository", _a_file)
_refused("missing-ref", "missing-ref", _missing_ref)
_refused("tag-of-a-blob", "not-a-commit", _tag_of_a_blob)
_refused("head-without-commit", "damaged", _head_without_commit)
_refused("broken-config", "damaged", _broken_config)
_refused("broken-head", "damaged", _broken_head)
_refused("lost-alternate", "missing-alternate", _lost_alternate)
_refused("future-format", "unsupported-format", _future_format)
_refused("unknown-extension", "unsupported-format", _unknown_extension)
_refused("alternate-with-fifo", "special-file", _alternates_fifo)
_refused("forbidden-url", "forbidden-url", lambda path: "ext::sh -c 'touch /nonexistent/x'")


# -- unusual and entirely right


@_case("alternates-cycle")
def _alternates_cycle(path: Path) -> HostileCase:
    """Two repositories that borrow from each other, and the objects lie in the other one."""
    other, _ = history(path.parent / f"{path.name}-other")
    repo = Repo.create(path)
    for a, b in ((repo, other), (other, repo)):
        _write(a.git_dir / "objects/info/alternates", f"{b.git_dir}/objects\n")
    repo.branch("main", str(other.tip))
    return HostileCase(str(path))


@_case("alternate-gone")
def _alternate_gone(path: Path) -> HostileCase:
    """An alternate that is there, under a quoted name, after one that is not: git only warns."""
    other, _ = history(path.parent / f'{path.name}-"other"')
    repo = Repo.create(path)
    quoted = str(other.git_dir / "objects").replace('"', '\\"')
    _write(repo.git_dir / "objects/info/alternates", f'# two\n/no/such/objects\n"{quoted}"\n')
    repo.branch("main", str(other.tip))
    return HostileCase(str(path))


@_case("ignored-extension")
def _ignored_extension(path: Path) -> HostileCase:
    """At version 0 git passes over extensions that it does not know."""
    history(path)[0].git("config", "extensions.fromTheFuture", "true")
    return HostileCase(str(path))


@_case("commit-without-author")
def _commit_without_author(path: Path) -> HostileCase:
    repo, ids = history(path)
    tree = repo.tree(repo.snapshots[ids[-1]] | {b"new.py": ("100644", repo.blob("x = 1\n"))})
    bare = repo.write("commit", f"tree {tree}\nparent {ids[-1]}\n\nnobody wrote this".encode())
    repo.snapshots[bare] = repo.snapshots[ids[-1]]
    repo.commit({"after.py": "y = 2\n"}, parents=[bare])
    return HostileCase(str(path))


@_case("other-owner")
def _other_owner(path: Path) -> HostileCase:
    """Belongs to somebody else, when the tests may do that (as root); git alone would refuse."""
    history(path, bare=False)
    if os.geteuid() == 0:
        for folder, _, files in os.walk(path):
            for name in [folder, *(os.path.join(folder, f) for f in files)]:
                os.chown(name, 65534, 65534)
    return HostileCase(str(path))


@_case("detached-head")
def _detached_head(path: Path) -> HostileCase:
    repo, ids = history(path)
    repo.head(ids[-2])
    return HostileCase(str(path))


@_case("linked-worktree")
def _linked_worktree(path: Path) -> HostileCase:
    repo, _ = history(path.parent / f"{path.name}-main")
    repo.git("worktree", "add", "--quiet", "-b", "side", str(path))
    return HostileCase(str(path))


if __name__ == "__main__":  # python tests/support/git/hostile.py FOLDER: to look at them by hand
    for case_name, make in HOSTILE.items():
        print(f"{case_name}: {make(Path(sys.argv[1]))}")
