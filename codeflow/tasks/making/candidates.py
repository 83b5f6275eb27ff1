"""Which triples can become tasks: they change tests and source, in a language with a runner; and
their patch, split by path into what a solver has to write and the tests that stay hidden.

Both parts, applied by our own apply, give the very tree of the change. That is proven here, before
anything is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from codeflow.errors import DataError
from codeflow.git.apply import File, changed_files
from codeflow.git.patch import parse_patch
from codeflow.records import FileChange
from codeflow.tasks.trees import edited, tree_of
from codeflow.triple import Snapshot, Triple

_TEST_FILE: Final = re.compile(r"(^|/)(test[^/]*|[^/]*_tests?)\.py$")
_SECTION: Final = re.compile(rb"^diff --git ", re.M)

COLUMNS: Final = ("id", "repo", "kind", "files", "split")


class RejectedError(Exception):
    """A candidate that does not become a task; `rule` is a short stable name, the ledger's."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule, self.detail = rule, detail


def is_candidate(triple: Triple, test_file: re.Pattern[str] = _TEST_FILE) -> bool:
    """Whether it changes a test file that can be run, and source."""
    tests = [f for f in triple.files if f.file_kind == "test"]
    source = any(f.file_kind == "source" and not f.generated for f in triple.files)
    return source and any(f.new_path and test_file.search(f.new_path) for f in tests)


def hidden_tests(triple: Triple, test_file: re.Pattern[str] = _TEST_FILE) -> tuple[str, ...]:
    """The test files of the new side that the change touches."""
    paths = (f.new_path for f in triple.files if f.file_kind == "test" and f.status != "D")
    return tuple(sorted(p for p in paths if p is not None and test_file.search(p)))


@dataclass(frozen=True)
class Split:
    """A triple with its patch in two."""

    patch: str
    test_patch: str
    old: Mapping[str, File]
    new: Mapping[str, File]
    before: Mapping[str, File]
    """The old side with the new tests."""


def split(triple: Triple, old: Mapping[str, File]) -> Split:
    """Splits the patch, and proves that both parts give the new tree.

    Raises:
        RejectedError: a file moves between source and tests, or the parts do not fit.
    """
    tests = {path for f in triple.files if f.file_kind == "test" for path in _paths(f)}
    others = {path for f in triple.files if f.file_kind != "test" for path in _paths(f)}
    if both := sorted(tests & others):
        raise RejectedError("moves-into-tests", both[0])
    whole = triple.patch.encode()
    starts = [match.start() for match in _SECTION.finditer(whole)]
    sides: dict[bool, list[bytes]] = {False: [], True: []}
    for start, stop in zip(starts, [*starts[1:], len(whole)], strict=True):
        section = whole[start:stop]
        [part] = parse_patch(section)
        sides[part.path in tests].append(section)
    source, hidden = b"".join(sides[False]), b"".join(sides[True])
    try:
        before = edited(old, changed_files(parse_patch(hidden), old))
        new = edited(before, changed_files(parse_patch(source), before))
        if tree_of(new) != triple.new_tree:
            raise RejectedError("wrong-tree", "the parts of the patch do not give the new tree")
    except DataError as error:
        raise RejectedError("wrong-tree", str(error)) from None
    return Split(source.decode(), hidden.decode(), old, new, before)


def files_of(snapshot: Snapshot, blobs: Mapping[str, bytes]) -> dict[str, File]:
    """All files of a side, from contents by id."""
    return {path: (entry.mode, blobs[entry.id]) for path, entry in snapshot.entries()}


def _paths(change: FileChange) -> set[str]:
    return {path for path in (change.old_path, change.new_path) if path is not None}
