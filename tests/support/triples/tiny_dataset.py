"""A dataset folder made from a real repository in the plainest possible way.

The reference the readers are tested against: every tree and patch in it comes from git itself,
through one command at a time, and none of codeflow's mining takes part. Slow, and meant to be.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import tiny_steps
from codeflow import records
from codeflow.storage import layout, manifest

Files = Mapping[str, tuple[str, bytes]]
"""A snapshot: (mode, content) by path."""

PROJECTION = "text-1:1048576"
SNAPSHOTS: list[Files] = [
    {
        "README.md": ("100644", b"# one\n"),
        "src/app.py": ("100644", b"a = 1\n" * 20),
        "src-old": ("100644", b"sorts between src and src/\n"),
        "link": ("120000", b"src/app.py"),
        "empty": ("100644", b""),
    },
    {
        "README.md": ("100644", b"# one\r\ntwo"),
        "src/app.py": ("100755", b"a = 1\n" * 20),
        "src-old": ("100644", b"sorts between src and src/\n"),
        "link": ("100644", b"src/app.py"),
        "empty": ("100644", b""),
    },
    {
        "README.md": ("100644", b"# one\r\ntwo"),
        'src/t\t"é.py': ("100755", b"a = 1\n" * 20 + b"b = 2\n"),
        "src-old/x": ("100644", b"sorts between src and src/\n"),
    },
    {"README.md": ("100644", b"# one\r\ntwo\n"), "src-old/x": ("100644", b"x\n")},
    {"README.md": ("100644", b"# two\n"), "src": ("100644", b"x\n")},
]
"""A short history with every status: mode, type, rename, symlink, odd names, file to folder."""
_CLEAN = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "LC_ALL": "C",
}


@dataclass
class Git:
    """A bare scratch repository, optionally on top of the objects of another one."""

    folder: Path
    source: Path | None = None
    _blobs: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.folder / "HEAD").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["git", "init", "-q", "--bare", str(self.folder)],
                check=True,
                env={**os.environ, **_CLEAN},
            )

    def run(self, *arguments: str, stdin: bytes = b"", index: str = "index", **env: str) -> bytes:
        """Standard output of a git command; CalledProcessError if it fails."""
        return self.try_run(*arguments, stdin=stdin, index=index, check=True, **env).stdout

    def try_run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        index: str = "index",
        check: bool = False,
        **env: str,
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            **_CLEAN,
            "GIT_DIR": str(self.folder),
            "GIT_INDEX_FILE": str(self.folder / index),
            **env,
        }
        if self.source is not None:
            environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(self.source / "objects")
        return subprocess.run(
            ["git", *arguments], input=stdin, capture_output=True, check=check, env=environment
        )

    def blob(self, content: bytes) -> str:
        """Writes a blob; its id."""
        if content not in self._blobs:
            command = ("hash-object", "-w", "--no-filters", "--stdin")
            self._blobs[content] = self.run(*command, stdin=content).decode().strip()
        return self._blobs[content]

    def tree(self, files: Files) -> str:
        """Stages exactly these files in an empty index; the id of the tree."""
        entries = [(mode, self.blob(content), path) for path, (mode, content) in files.items()]
        return self.stage(entries)

    def stage(self, entries: Iterable[tuple[str, str, str | bytes]]) -> str:
        """Stages (mode, blob id, path) in an empty index; the id of the tree."""
        (self.folder / "staging").unlink(missing_ok=True)
        lines = [
            b"%s %s\t%s\0" % (mode.encode(), blob.encode(), os.fsencode(path))
            for mode, blob, path in entries
        ]
        self.run("update-index", "-z", "--index-info", stdin=b"".join(lines), index="staging")
        staged = self.run("ls-files", "-z", index="staging").count(b"\0")
        assert staged == len(lines), "git's index refused a path"
        return self.run("write-tree", index="staging").decode().strip()

    def files(self, tree: str) -> dict[str, tuple[str, bytes]]:
        """All files below a tree, in git's order."""
        return {
            path: (mode, self.run("cat-file", "blob", blob))
            for path, (mode, blob) in self.listing(tree).items()
        }

    def listing(self, tree: str) -> dict[str, tuple[str, str]]:
        """(mode, blob id) by path of all files below a tree, in git's order."""
        listed = {}
        for row in self.run("ls-tree", "-r", "-z", tree).split(b"\0")[:-1]:
            head, path = row.split(b"\t", 1)
            mode, kind, blob = head.decode().split(" ")
            if kind == "blob":
                listed[path.decode("utf-8", "surrogateescape")] = (mode, blob)
        return listed

    def commit(self, tree: str, *parents: str, message: str = "change", at: int = 0) -> str:
        """Writes a commit; its id."""
        options = [option for parent in parents for option in ("-p", parent)]
        date = f"{1_500_000_000 + at} +0000"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        output = self.run("commit-tree", tree, *options, stdin=message.encode(), **dates)
        return output.decode().strip()

    def patch(self, old: str, new: str, *options: str) -> bytes:
        """Git's own patch between two trees."""
        return self.run("diff-tree", "-r", "-p", "--full-index", "-M", *options, old, new)


def history(git: Git, snapshots: Sequence[Files]) -> list[str]:
    """One commit after the other with these files; their ids, oldest first."""
    commits: list[str] = []
    for number, files in enumerate(snapshots):
        message = f"Make change {number}\n\nAs the test asks."
        parents = commits[-1:]
        commits.append(git.commit(git.tree(files), *parents, message=message, at=60 * number))
    return commits


def project(git: Git, commit: str, max_file_bytes: int = 1 << 20) -> str:
    """The tree of a commit's regular text files and symlinks, staged by git."""
    kept = []
    for path, (mode, blob) in git.listing(commit).items():
        content = git.run("cat-file", "blob", blob)
        try:
            content.decode()
            path.encode()
        except UnicodeError:
            continue
        if b"\0" in content or len(content) > max_file_bytes:
            continue
        canonical = mode if mode == "120000" else "100755" if int(mode, 8) & 0o100 else "100644"
        kept.append((canonical, blob, path))
    return git.stage(kept)


def file_changes(git: Git, old: str, new: str) -> list[dict[str, Any]]:
    """The `files` column of a triple, as `git diff-tree` sees it."""
    changes: list[dict[str, Any]] = []
    raw = git.run("diff-tree", "-r", "-z", "-M", "--raw", old, new).split(b"\0")[:-1]
    while raw:
        old_mode, new_mode, old_blob, new_blob, status = raw.pop(0).decode()[1:].split(" ")
        old_path = raw.pop(0).decode()
        new_path = raw.pop(0).decode() if status[0] == "R" else old_path
        changes.append(
            {
                "status": status[0],
                "old_path": None if status == "A" else old_path,
                "new_path": None if status == "D" else new_path,
                "old_mode": None if status == "A" else old_mode,
                "new_mode": None if status == "D" else new_mode,
                "old_blob": None if status == "A" else old_blob,
                "new_blob": None if status == "D" else new_blob,
                "language": "Python" if new_path.endswith(".py") else None,
                "generated": False,
                "vendored": False,
                "file_kind": "source",
            }
        )
    # one part of the patch for each change, two for a change of type
    parts = (b"\n" + git.patch(old, new)).split(b"\ndiff --git ")[1:]
    for change in changes:
        mine = [parts.pop(0) for _ in range(2 if change["status"] == "T" else 1)]
        lines = [line for part in mine for line in _hunk_lines(part)]
        change["additions"] = sum(line.startswith(b"+") for line in lines)
        change["deletions"] = sum(line.startswith(b"-") for line in lines)
    assert not parts
    return changes


def _hunk_lines(part: bytes) -> list[bytes]:
    _, separator, hunks = part.partition(b"\n@@ ")
    return (b"@@ " + hunks).split(b"\n") if separator else []


def triple_row(git: Git, repo: str, chain: Sequence[str], old: int, new: int) -> dict[str, Any]:
    """The row of the change from `chain[old]` to `chain[new]`."""
    kind = "commit" if new == old + 1 else "span"
    old_tree, new_tree = project(git, chain[old]), project(git, chain[new])
    files = file_changes(git, old_tree, new_tree)
    dates = [
        datetime.fromtimestamp(int(git.run("show", "-s", "--format=%ct", chain[k])), UTC)
        for k in (old, new)
    ]
    authored, parents, address = (
        git.run("show", "-s", f"--format={form}", chain[new]).decode().strip()
        for form in ("%at", "%P", "%ae")
    )
    messages = [
        [git.run("show", "-s", "--format=%B", commit).decode(errors="replace").strip()]
        for commit in chain[old + 1 : new + 1]
    ]
    return {
        "id": records.triple_id(repo, chain[old], chain[new], kind, PROJECTION),
        "repo": repo,
        "repo_url": repo,
        "kind": kind,
        "old_commit": chain[old],
        "new_commit": chain[new],
        "commits": list(chain[old + 1 : new + 1]),
        "messages": messages,
        "old_tree": old_tree,
        "new_tree": new_tree,
        "patch": git.patch(old_tree, new_tree).decode(),
        "files": files,
        "language": "Python",
        "additions": sum(change["additions"] for change in files),
        "deletions": sum(change["deletions"] for change in files),
        "position": old / max(1, len(chain) - 1),
        "window_by": "commits",
        "old_committed_at": dates[0],
        "committed_at": dates[1],
        "authored_at": datetime.fromtimestamp(int(authored), UTC),
        "author_kind": "human",
        "assisted": False,
        "author_id": f"{len(address):016x}",
        "is_merge": " " in parents,
        "license": "MIT",
        "license_source": "text:LICENSE",
        "scores": [{"key": "size", "value": 0.5}],
        "cluster": None,
        "weight": 1.0,
    }


def contents(
    git: Git,
    repo: str,
    rows: Iterable[Mapping[str, Any]],
    steps: Iterable[Mapping[str, Any]] = (),
) -> tuple[list[Any], list[Any]]:
    """The rows of `blobs` and of `trees` that these triples and steps reach."""
    blobs: dict[str, dict[str, Any]] = {}
    trees: dict[str, dict[str, Any]] = {}
    waiting = [row[side] for row in rows for side in ("old_tree", "new_tree")]
    waiting += [step["tree"] for step in steps]
    while waiting:
        tree = waiting.pop()
        if tree in trees:
            continue
        entries = []
        for line in git.run("ls-tree", "-z", tree).split(b"\0")[:-1]:
            head, name = line.split(b"\t", 1)
            mode, kind, id_ = head.decode().split(" ")
            entries.append({"mode": mode.lstrip("0"), "name": name.decode(), "id": id_})
            if kind == "tree":
                waiting.append(id_)
            elif id_ not in blobs:
                text = git.run("cat-file", "blob", id_)
                row = {"repo": repo, "id": id_, "size_bytes": len(text), "content": text.decode()}
                blobs[id_] = row
        trees[tree] = {"repo": repo, "id": tree, "entries": entries}
    return list(blobs.values()), list(trees.values())


def write_dataset(
    folder: Path,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    heads: Mapping[str, str],
    *,
    triple_shards: int = 2,
    row_group: int = 4,
) -> Path:
    """Writes rows of `train`, `validation`, `steps`, `blobs` and `trees` as a dataset folder."""
    listed = []

    def write(name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows), schema), path, row_group_size=row_group)
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        listed.append({"path": name, "rows": len(rows), "bytes": len(data), "sha256": digest})

    for split in ("train", "validation"):
        rows = sorted(tables.get(split, ()), key=lambda row: str(row["id"]))
        shards = min(triple_shards, len(rows))
        for shard in range(shards):
            part = rows[len(rows) * shard // shards : len(rows) * (shard + 1) // shards]
            name = f"triples/{split}-{shard:05d}-of-{shards:05d}.parquet"
            write(name, part, records.TRIPLES)
        own = {row["id"] for row in rows}
        steps = [step for step in tables.get("steps", ()) if step["triple"] in own]
        if steps:
            steps.sort(key=lambda step: (step["triple"], step["index"]))
            write(f"steps/{split}-00000-of-00001.parquet", steps, records.STEPS)
    write("blobs/00000-of-00001.parquet", tables["blobs"], records.BLOBS)
    write("trees/00000-of-00001.parquet", tables["trees"], records.TREES)
    values = {
        "schema_version": records.SCHEMA_VERSION,
        "created_by": "tiny_dataset",
        "config": {},
        "config_hash": "",
        "projection": PROJECTION,
        "deterministic": True,
        "repositories": [{"repo": repo, "head": head} for repo, head in sorted(heads.items())],
        "files": listed,
    }
    (folder / layout.MANIFEST).write_bytes(manifest.seal(json.loads(json.dumps(values))))
    return folder


def build(
    folder: Path,
    repos: Mapping[str, tuple[Git, Sequence[str]]],
    *,
    spans: Sequence[int] = (1, 3),
    **options: int,
) -> Path:
    """A dataset of every pair of commits at these distances; every fifth triple is validation.

    Args:
        repos: by name, a repository and its first-parent chain, oldest first.
    """
    names = ("train", "validation", "steps", "blobs", "trees")
    tables: dict[str, list[Any]] = {name: [] for name in names}
    for repo, (git, chain) in sorted(repos.items()):
        rows = [
            triple_row(git, repo, chain, old, old + span)
            for span in spans
            for old in range(len(chain) - span)
            if project(git, chain[old]) != project(git, chain[old + span])
        ]
        for number, row in enumerate(rows):
            tables["validation" if number % 5 == 4 else "train"].append(row)
        steps = [step for row in rows for step in tiny_steps.step_rows(git, row)]
        blobs, trees = contents(git, repo, rows, steps)
        tables["steps"] += tiny_steps.once(rows, steps)
        tables["blobs"] += blobs
        tables["trees"] += trees
    return write_dataset(folder, tables, {r: c[-1] for r, (_, c) in repos.items()}, **options)
