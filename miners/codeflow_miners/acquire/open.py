"""The first two units of a repository: bring it here, and read its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeflow.config import MineConfig
from codeflow.contracts import Sink
from codeflow.errors import CodeflowError, RepositoryError
from codeflow.records import CONTAINED, table_of
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.partial import require_files
from codeflow_miners.acquire.preflight import GitDir, inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head, tags
from codeflow_miners.acquire.repositories import Source
from codeflow_miners.history.branches import Branch
from codeflow_miners.history.chain import read_chain
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.tables import BRANCHES, COMMITS


@dataclass(frozen=True)
class Opened:
    """What opening a repository gives: where it is, its pinned head, and its history in figures.

    Attributes:
        git_dir: the folder that holds `objects`.
        length: first-parent commits of the whole chain.
        last: the step past the last one that was read.
        roots: ids of the root commits.
        starts: how many steps the window has.
        branches: how many branches merges bring in.
        commits, contained, branch_table, beside: files of the history's tables.
    """

    git_dir: str
    head: str
    length: int
    last: int
    roots: Sequence[str]
    starts: int
    branches: int
    commits: str
    contained: str
    branch_table: str
    beside: str


@dataclass(frozen=True)
class AcquireArguments:
    """Attributes: `with_tags`: whether some miner may look at tags; `max_file_bytes`: files over
    this size are not needed."""

    source: Source
    cache: str
    with_tags: bool
    max_file_bytes: int


def acquire_source(arguments: AcquireArguments, sink: Sink) -> dict[str, Any]:
    """Clones or updates a source, checks it, and pins its head.

    Returns:
        `git_dir`: the folder that holds `objects`; `head`; `tags`.
    """
    source = arguments.source
    limit = arguments.max_file_bytes
    found: GitDir = inspect_git_dir(acquire(source, Path(arguments.cache), max_file_bytes=limit))
    require_files(found.absent_from, limit)
    return {
        "git_dir": str(found.objects.parent),
        "head": resolve_head(found, source.ref),
        "tags": tags(found) if arguments.with_tags else [],
    }


def find_again(source: Source, git_dir: str, head: str, cache: str) -> str:
    """The Git folder of a source that was acquired earlier; cloned anew where its clone is gone.

    Raises:
        CodeflowError: the clone is gone and does not come back now. Nothing is recorded of it, so
            that a later start can go on.
    """
    if source.is_path or (Path(git_dir) / "objects").is_dir():
        return git_dir
    try:
        found = inspect_git_dir(acquire(source, Path(cache), pinned=head))
    except RepositoryError as error:
        raise CodeflowError(
            f"{source.repo}: its clone is gone and does not come back ({error.reason}); "
            "run the same command again when it can"
        ) from None
    return str(found.objects.parent)


@dataclass(frozen=True)
class HistoryArguments:
    """Attributes: `acquired`: the value of the acquire unit; `lookahead` in commits;
    `branch_sizes`: the least and the most commits of a branch, None where none are wanted."""

    repo: str
    acquired: Mapping[str, Any]
    config: MineConfig
    lookahead: int
    branch_sizes: tuple[int, int] | None


def read_history(arguments: HistoryArguments, sink: Sink) -> dict[str, Any]:
    """Writes `commits`, `contained`, `branches` and `beside`. Returns the chain without them."""
    acquired = arguments.acquired
    reader = ObjectReader(Path(acquired["git_dir"]))
    chain = read_chain(
        reader,
        arguments.repo,
        bytes.fromhex(acquired["head"]),
        acquired["tags"],
        arguments.config,
        arguments.lookahead,
        arguments.branch_sizes,
    )
    if not chain.starts:
        window = arguments.config.window
        raise RepositoryError(
            "empty-window", f"no commit with a successor in {window.start:g}:{window.stop:g}"
        )
    with sink.table("commits", COMMITS) as writer:
        writer.write(table_of(chain.commits, COMMITS))
    with sink.table("contained", CONTAINED) as writer:
        writer.write(table_of(chain.contained, CONTAINED))
    with sink.table("branches", BRANCHES) as writer:
        writer.write(table_of(list(_branch_rows(chain.branches)), BRANCHES))
    with sink.table("beside", COMMITS) as writer:
        writer.write(table_of(chain.beside, COMMITS))
    return {
        "length": chain.length,
        "last": len(chain.commits) - 1,
        "roots": list(chain.roots),
        "starts": len(chain.starts),
        "branches": len(chain.branches),
    }


def _branch_rows(branches: Sequence[Branch]) -> Iterator[tuple[Any, ...]]:
    """Rows of BRANCHES."""
    first = 0
    for branch in branches:
        stop = first if branch.rule else first + len(branch.commits)
        ends = [branch.commits[k].hex() or None if branch.commits else None for k in (0, -1)]
        yield branch.merge, branch.base, first, stop, *ends, branch.rule, branch.detail
        first = stop
