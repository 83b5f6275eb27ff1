"""Git histories for tests, written in a line or two, as strange as the test needs them.

Objects are hashed and written here as loose files: no process per object (500 commits take a
fraction of a second), and nothing refuses a tree with `..` in it or a mode of 100664. Only
`git init` and the refs go through git, in an environment without any user's configuration.

    repo = Repo.create(tmp_path / "r")
    first = repo.commit({"a.py": "x = 1\\n", "run": Exec("#!/bin/sh\\n"), "l": Symlink("a.py")})
    second = repo.commit({"a.py": None, "b.py": "x = 1\\n"}, message="rename")
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

EPOCH = 1_112_875_200  # 2005-04-07 12:00 UTC
STEP_S = 3600  # between two commits, unless the test says when
ZERO = "0" * 40

ENV = {
    **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "init.defaultBranch",
    "GIT_CONFIG_VALUE_1": "main",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada Example",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": f"{EPOCH} +0000",
    "GIT_COMMITTER_NAME": "Ada Example",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": f"{EPOCH} +0000",
    "LC_ALL": "C",
}


def git(*args: str | Path, cwd: Path | None = None, input: bytes | None = None) -> bytes:
    """Runs the real git, away from any user's configuration, and returns what it prints."""
    done = subprocess.run(
        ["git", *map(str, args)], cwd=cwd, input=input, env=ENV, capture_output=True
    )
    if done.returncode:
        raise AssertionError(f"git {args}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Entry(NamedTuple):
    """A tree entry of any mode (octal, as Git writes it); `oid` wins over `content`."""

    mode: str
    content: bytes = b""
    oid: str | None = None


def Exec(content: str | bytes) -> Entry:  # noqa: N802 - reads as a kind of file
    return Entry("100755", _bytes(content))


def Symlink(target: str | bytes) -> Entry:  # noqa: N802
    return Entry("120000", _bytes(target))


def Gitlink(commit: str) -> Entry:  # noqa: N802
    return Entry("160000", oid=commit)


Content = str | bytes | Entry
Path_ = str | bytes
Changes = Mapping[Any, Content | None]  # paths as str or bytes, which a mapping could not mix
Flat = dict[bytes, tuple[str, str]]  # path -> (mode, id), a whole snapshot


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def object_id(kind: str, data: bytes) -> str:
    """The id Git gives an object: SHA-1 of `kind size NUL data`."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


@dataclass
class Repo:
    """A repository under construction; `path` is what a user would name, `git_dir` its inside."""

    path: Path
    git_dir: Path
    tip: str | None = None  # where the next commit goes by default
    clock_s: int = EPOCH
    snapshots: dict[str, Flat] = field(
        default_factory=dict, repr=False
    )  # of every commit made here
    written: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def create(cls, path: Path, bare: bool = True) -> Repo:
        """An empty repository whose HEAD names the unborn branch `main`."""
        git("init", "--quiet", "--template=", *(["--bare"] if bare else []), path)
        return cls(path, path if bare else path / ".git")

    def git(self, *args: str, input: bytes | None = None) -> bytes:
        return git(f"--git-dir={self.git_dir}", *args, input=input)

    # -- objects

    def loose_path(self, object_id: str) -> Path:
        return self.git_dir / "objects" / object_id[:2] / object_id[2:]

    def write(self, kind: str, data: bytes, name: str | None = None) -> str:
        """Writes any object, valid or not; `name` forges the id it is stored under."""
        oid = name or object_id(kind, data)
        if oid not in self.written:
            path = self.loose_path(oid)
            path.parent.mkdir(exist_ok=True)
            raw = b"%s %d\0" % (kind.encode(), len(data)) + data
            path.unlink(missing_ok=True)
            path.write_bytes(zlib.compress(raw, 1))
            self.written.add(oid)
        return oid

    def blob(self, content: str | bytes) -> str:
        return self.write("blob", _bytes(content))

    def raw_tree(self, entries: Iterable[tuple[str, Path_, str]]) -> str:
        """A tree of exactly these (mode, name, id) entries, in this order, whatever they are."""
        return self.write(
            "tree",
            b"".join(
                b"%s %s\0" % (m.encode(), _bytes(n)) + bytes.fromhex(i) for m, n, i in entries
            ),
        )

    def tree(self, flat: Mapping[bytes, tuple[str, str]]) -> str:
        """The tree of a snapshot, in Git's order, with as many subtrees as the paths have."""
        here: list[tuple[str, bytes, str]] = []
        below: dict[bytes, Flat] = {}
        for path, (mode, oid) in flat.items():
            head, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(head, {})[rest] = (mode, oid)
            else:
                here.append((mode, path, oid))
        here += [("40000", name, self.tree(sub)) for name, sub in below.items()]
        here.sort(key=lambda entry: entry[1] + b"/" * (entry[0] == "40000"))
        return self.raw_tree(here)

    def commit(
        self,
        changes: Changes | None = None,
        *,
        parents: Sequence[str] | None = None,
        message: str | bytes = "change",
        when: int | None = None,
        author: str | bytes = "Ada Example <ada@example.org>",
        encoding: str | None = None,
        zone: str = "+0000",
        snapshot: bool = False,
        tree: str | None = None,
        branch: str | None = "main",
        extra_headers: bytes = b"",
    ) -> str:
        """Writes a commit and moves `branch` to it (None: moves nothing).

        Args:
            changes: path to content, over the first parent's snapshot; None deletes a file or a
                whole folder. A path may be bytes and hold anything but NUL.
            parents: commit ids; the tip by default, an empty list for a new root.
            when: commit time in epoch seconds; an hour after the last commit by default.
            snapshot: `changes` is the whole tree, not a change.
            tree: id of a tree written before, instead of any of that.
        """
        if parents is None:
            parents = [self.tip] if self.tip else []
        flat: Flat = {} if snapshot or not parents else dict(self.snapshots.get(parents[0], {}))
        for path, content in (changes or {}).items():
            self._change(flat, _bytes(path), content)
        self.clock_s = self.clock_s + STEP_S if when is None else when
        stamp = b"%s %d %s" % (_bytes(author), self.clock_s, zone.encode())
        lines = [b"tree " + (tree or self.tree(flat)).encode()]
        lines += [b"parent " + p.encode() for p in parents]
        lines += [b"author " + stamp, b"committer " + stamp]
        lines += [b"encoding " + encoding.encode()] if encoding else []
        raw = b"\n".join(lines) + b"\n" + extra_headers + b"\n"
        text = message.encode(encoding or "utf-8") if isinstance(message, str) else message
        oid = self.write("commit", raw + text)
        self.snapshots[oid] = flat
        if branch is not None:
            self.branch(branch, oid)
            self.tip = oid
        return oid

    def _change(self, flat: Flat, path: bytes, content: Content | None) -> None:
        if content is None:
            for gone in [p for p in flat if p == path or p.startswith(path + b"/")]:
                del flat[gone]
        elif isinstance(content, Entry):
            flat[path] = (content.mode, content.oid or self.blob(content.content))
        else:
            flat[path] = ("100644", self.blob(content))

    def build_graph(
        self,
        graph: Sequence[Sequence[int]],
        files: Mapping[int, Changes] | None = None,
    ) -> dict[int, str]:
        """Commits by number, as `[[1], [2, 1], [3, 1, 2]]`: each list is a commit and its parents.

        A commit without `files` adds the file `f<number>`. `main` ends at the last commit.
        """
        ids: dict[int, str] = {}
        for number, *parents in graph:
            changes = (files or {}).get(number, {f"f{number}": f"{number}\n"})
            ids[number] = self.commit(
                changes, parents=[ids[p] for p in parents], message=f"commit {number}"
            )
        return ids

    # -- refs

    def ref(self, name: str, value: str) -> None:
        """Points a full ref name at an id, as a loose file (no check that the id exists)."""
        path = self.git_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")

    def branch(self, name: str, commit: str) -> None:
        self.ref(f"refs/heads/{name}", commit)

    def tag(self, name: str, target: str, message: str | None = None, kind: str = "commit") -> str:
        """A tag of any object; annotated when there is a message. Returns what the ref holds."""
        if message is not None:
            text = f"object {target}\ntype {kind}\ntag {name}\n"
            text += f"tagger Ada Example <ada@example.org> {self.clock_s} +0000\n\n{message}"
            target = self.write("tag", text.encode())
        self.ref(f"refs/tags/{name}", target)
        return target

    def head(self, to: str) -> None:
        """Sets HEAD to a branch name, or detaches it at a commit id."""
        detached = len(to) == 40 and set(to) <= set("0123456789abcdef")
        (self.git_dir / "HEAD").write_text(f"{to}\n" if detached else f"ref: refs/heads/{to}\n")

    def pack(self) -> None:
        """Moves everything reachable into one pack, refs into packed-refs."""
        self.git("repack", "-adq")
        self.git("pack-refs", "--all")
        self.written.clear()

    # -- answers of the real git, to compare with

    def rev_list(self, *args: str) -> list[str]:
        return self.git("rev-list", *(args or ("HEAD",))).decode().split()

    def ls_tree(self, commit: str) -> Flat:
        """All files of a commit as git lists them: path to (mode, id)."""
        flat: Flat = {}
        for line in self.git("ls-tree", "-r", "-z", commit).split(b"\0")[:-1]:
            meta, _, path = line.partition(b"\t")
            mode, _, oid = meta.decode().split()
            flat[path] = (mode, oid)
        return flat
