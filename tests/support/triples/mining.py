"""Runs the miner's own steps on two trees in this process, and real git on what they give."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

import gitdag
from codeflow_miners.changes.renames import pair_renames
from codeflow_miners.changes.treediff import TreeDiffer
from codeflow_miners.contents.languages import Languages
from codeflow_miners.contents.unit import Contents, DescribedFile, FileDescriber
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.rows import RowBuffer
from codeflow_miners.tables import LEFT_OUT
from tiny_dataset import Git


class MemorySink:
    """A sink that keeps its tables: intermediate and kept ones by name."""

    def __init__(self) -> None:
        self.tables: dict[str, pa.Table] = {}

    @contextmanager
    def table(self, name: str, schema: pa.Schema) -> Iterator[_Writer]:
        writer = _Writer()
        yield writer
        tables = [b if isinstance(b, pa.Table) else pa.table(b) for b in writer.batches]
        self.tables[name] = pa.concat_tables(tables) if tables else schema.empty_table()

    mined = table


class _Writer:
    def __init__(self) -> None:
        self.batches: list[pa.Table | pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        self.batches.append(batch)


def described(
    repo: gitdag.Repo, old_tree: str, new_tree: str, candidates: int = 100
) -> list[DescribedFile]:
    """The files of the change between two trees, as a commit triple would hold them."""
    reader = ObjectReader(repo.git_dir)
    changes = TreeDiffer(reader).changes(bytes.fromhex(old_tree), bytes.fromhex(new_tree))
    contents = Contents(reader, 1 << 20, set(), None, RowBuffer(_Writer(), LEFT_OUT))
    describe = FileDescriber(contents, Languages("C"))
    files: list[DescribedFile] = []
    for row in pair_renames(changes, candidates, reader.blob, reader.blob_size):
        old, new = contents.side(row.old_path, row.old), contents.side(row.new_path, row.new)
        files += describe.files(row, old, new)
    return sorted(files, key=lambda file: file.row.new_path or file.row.old_path or b"")


def patch_of(files: Sequence[DescribedFile]) -> bytes:
    """The patch of a triple with these files."""
    return b"".join(file.patch for file in files)


class Applied:
    """What `git apply --cached` made of a patch: the new tree (None: refused), and what it said."""

    def __init__(self, tree: str | None, said: str) -> None:
        self.tree = tree
        self.said = said


def git_apply(repo: gitdag.Repo, old_tree: str, patch: bytes) -> Applied:
    """Applies a patch to an index that holds exactly `old_tree`."""
    index = repo.git_dir / "applying"
    index.unlink(missing_ok=True)
    run_in(repo, index, "read-tree", old_tree)
    if not patch:  # git refuses an empty patch
        return Applied(run_in(repo, index, "write-tree").stdout.decode().strip(), "")
    done = run_in(
        repo, index, "apply", "--cached", "--verbose", "--whitespace=nowarn", input=patch, check=0
    )
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        return Applied(None, said)
    return Applied(run_in(repo, index, "write-tree").stdout.decode().strip(), said)


def staged(repo: gitdag.Repo, files: Mapping[Any, tuple[str, bytes]]) -> str:
    """The tree that git makes of files (mode, content by path) that are staged one by one."""
    entries = [(mode, repo.blob(content), path) for path, (mode, content) in files.items()]
    return Git(repo.git_dir).stage(entries)


def run_in(
    repo: gitdag.Repo, index: Path, *args: str, input: bytes = b"", check: bool | int = True
) -> subprocess.CompletedProcess[bytes]:
    """Git with an index of its own."""
    env = {**gitdag.ENV, "GIT_INDEX_FILE": os.fspath(index)}
    command = ["git", f"--git-dir={repo.git_dir}", *args]
    return subprocess.run(command, input=input, env=env, capture_output=True, check=bool(check))
