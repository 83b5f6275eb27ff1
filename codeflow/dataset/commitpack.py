"""Triples in the columns of CommitPackFT, for what was written to read that dataset.

A row there is a commit that changes one file, as texts before and after and a message. So:

- triples of several commits (`several-commits`) or files (`several-files`) are left out, and so is
  what the columns cannot say: a deleted file (`deleted`: it would read as an emptied one), a
  symlink (`symlink`), a change of the mode alone (`mode-only`), a commit without a message
  (`no-message`);
- an added file has the same name on both sides, and nothing in `old_contents`;
- `subject` is git's, the first paragraph on one line; `message` is the cleaned one of the triple
  (without trailers and addresses) and ends with a line end, as theirs do;
- `lang` is Linguist's name, or `unknown`; `license` is the SPDX id in lower case, or null;
- `repos` is `owner/name` for GitHub, and for other places the triple's `repo`.

Contents lie by repository and path, triples by id. So triples are sorted by repository first
(`OrderedTriples`: one more copy of `triples` beside the output while it lasts), then contents are
streamed in stored order and a row is written when its second side comes by: a row group of blobs
is decoded once for 65,536 rows of a repository. What is held is the side whose other one is still
to come, mostly the version of the same file beside it.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from codeflow.dataset import reader as datasets
from codeflow.dataset.order import OrderedTriples
from codeflow.dataset.reader import Dataset
from codeflow.errors import UsageError
from codeflow.execution.failures import disk_error
from codeflow.records import SYMLINK_MODE, FileChange
from codeflow.storage import files
from codeflow.triple import Triple

COMMITPACK = pa.schema(
    [
        pa.field("commit", pa.string(), nullable=False),
        pa.field("old_file", pa.string(), nullable=False),
        pa.field("new_file", pa.string(), nullable=False),
        pa.field("old_contents", pa.string(), nullable=False),
        pa.field("new_contents", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("license", pa.string()),
        pa.field("repos", pa.string(), nullable=False),
    ]
)
_TRIPLES_AT_ONCE = 1 << 16
_ROWS_PER_GROUP = 1024
_CHARS_PER_GROUP = 32 << 20

Row = dict[str, str | None]


class Exported(NamedTuple):
    """What was written, and triples that were not, by reason."""

    rows: int
    left_out: dict[str, int]


def export_commitpack(dataset_dir: Path | str, to: Path, split: str = "train") -> Exported:
    """Writes the single-file commits of a split as CommitPackFT has them.

    Args:
        to: a new file; `.jsonl` or `.parquet` says which of the two it will be.

    Raises:
        UsageError: another ending, a file that is there, or a split without triples.
        DataError: no dataset, a damaged one, or no room to write.
    """
    writers = {".jsonl": _jsonl, ".parquet": _parquet}
    if to.suffix not in writers:
        raise UsageError(f"{to}: give a name that ends with {' or '.join(writers)}")
    if to.exists():
        raise UsageError(f"{to}: is there already; give a new name, or remove it")
    dataset = datasets.open(dataset_dir)
    if not dataset.triple_shards[split].groups:
        raise UsageError(f"{dataset_dir}: no {split} triples to export")
    counts: Counter[str] = Counter()
    rows = 0
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(files.TEMPORARY, f".{to.name}.", to.parent) as work,
            writers[to.suffix](to) as write,
        ):
            ordered = OrderedTriples(dataset, 0, Path(work)).triples(split)
            for row in _rows(dataset, ordered, counts):
                write(row)
                rows += 1
    except OSError as error:
        raise disk_error(OSError(error.errno, error.strerror), to) from None
    return Exported(rows, dict(counts))


def why_not(triple: Triple) -> str | None:
    """Why a triple is no row of CommitPackFT; None when it is one."""
    if len(triple.commits) != 1:
        return "several-commits"
    if len(triple.files) != 1:
        return "several-files"
    [file] = triple.files
    if file.new_blob is None:
        return "deleted"
    if SYMLINK_MODE in (file.old_mode, file.new_mode):
        return "symlink"
    if (file.old_blob, file.old_path) == (file.new_blob, file.new_path):
        return "mode-only"
    return None if _message(triple) else "no-message"


def _rows(dataset: Dataset, triples: Iterable[Triple], counts: Counter[str]) -> Iterator[Row]:
    """The rows of triples that come repository by repository; the others are counted."""
    for repo, own in groupby(triples, lambda triple: triple.repo):
        chosen = _chosen(own, counts)
        while some := list(islice(chosen, _TRIPLES_AT_ONCE)):
            yield from _filled(dataset, repo, some)


class _Chosen(NamedTuple):
    """A row whose contents are still empty, and where those are."""

    row: Row
    file: FileChange

    @property
    def blobs(self) -> set[str]:
        return {id for id in (self.file.old_blob, self.file.new_blob) if id is not None}


def _chosen(triples: Iterable[Triple], counts: Counter[str]) -> Iterator[_Chosen]:
    for triple in triples:
        reason = why_not(triple)
        if reason is None:
            yield _Chosen(_without_contents(triple), triple.files[0])
        else:
            counts[reason] += 1


def _without_contents(triple: Triple) -> Row:
    [file] = triple.files
    message = _message(triple)
    return {
        "commit": triple.new_commit,
        "old_file": file.old_path if file.old_path is not None else file.new_path,
        "new_file": file.new_path,
        "old_contents": "",
        "new_contents": "",
        "subject": " ".join(message.partition("\n\n")[0].split("\n")),
        "message": f"{message}\n",
        "lang": file.language or "unknown",
        "license": None if triple.license is None else triple.license.lower(),
        "repos": triple.repo.removeprefix("github.com/"),
    }


def _message(triple: Triple) -> str:
    """The commit's own message, without the subjects that a merge brings in."""
    [messages] = triple.messages
    return messages[0].strip() if messages else ""


def _filled(dataset: Dataset, repo: str, some: Iterable[_Chosen]) -> Iterator[Row]:
    """Rows of one repository with their contents, in the order in which those are stored."""
    waiting: defaultdict[str, list[_Chosen]] = defaultdict(list)
    for chosen in some:
        for id in chosen.blobs:
            waiting[id].append(chosen)
    uses = {id: len(rows) for id, rows in waiting.items()}
    held: dict[str, str] = {}
    for id, content in dataset.blobs(repo, list(waiting)):
        held[id] = content.decode()
        for chosen in waiting.pop(id):
            if not chosen.blobs <= held.keys():
                continue
            old, new = chosen.file.old_blob, chosen.file.new_blob
            yield {
                **chosen.row,
                "old_contents": "" if old is None else held[old],
                "new_contents": "" if new is None else held[new],
            }
            for used in chosen.blobs:
                uses[used] -= 1
                if not uses[used]:
                    del held[used]


@contextmanager
def _jsonl(path: Path) -> Iterator[Callable[[Row], None]]:
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield lambda row: print(json.dumps(row, ensure_ascii=False), file=file)


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[Row], None]]:
    held: list[Row] = []
    chars = 0
    with files.parquet(path, COMMITPACK) as writer:

        def write(row: Row) -> None:
            nonlocal chars
            held.append(row)
            chars += len(row["old_contents"] or "") + len(row["new_contents"] or "")
            if len(held) == _ROWS_PER_GROUP or chars > _CHARS_PER_GROUP:
                flush()

        def flush() -> None:
            nonlocal chars
            writer.write(pa.Table.from_pylist(held, COMMITPACK))
            held.clear()
            chars = 0

        yield write
        if held:
            flush()
