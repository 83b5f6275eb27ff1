"""Replaying one triple or step: its patch, on its old side, must give its new side and nothing
else.

The contents arrive from outside, one at a time and in any order, so that a whole batch of
them can share one pass over the stored blobs: `prepare` says which ones are needed, `feed`
takes them, `finish` says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from codeflow.errors import DataError
from codeflow.git.apply import apply_file, touched_paths
from codeflow.git.objects import Edit, blob_id, edited_tree_id
from codeflow.git.patch import FilePatch, parse_patch
from codeflow.records import FileChange, triple_id
from codeflow.triple import Step, Triple

_EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


_Side = tuple[str | None, str | None, str | None]  # path, mode, blob
_Part = tuple[str, _Side, _Side]  # status, old side, new side


class Replay:
    """The check of one triple or step. `file` is the shard of the triple, `where` its place in it;
    `faults` is what is wrong already."""

    def __init__(
        self, change: Triple | Step, file: str, where: str, faults: Iterable[str] = ()
    ) -> None:
        self.change = change
        self.file = file
        self.where = where
        self._faults = list(faults)
        self._old: dict[str, tuple[str, str]] = {}  # (mode, blob) by old path
        self._readers: dict[str, list[FilePatch]] = {}  # by the blob they read
        self._edits: dict[str, Edit] = {}

    def prepare(self) -> set[str]:
        """Checks what needs no content; the ids of the contents that are needed."""
        try:
            patches = parse_patch(self.change.patch.encode())
            self._plan(patches)
        except (DataError, KeyError) as error:
            self._faults.append(f"patch: {error}")
            self._readers = {}
        return {blob for blob in self._readers if blob != _EMPTY_BLOB}

    def feed(self, blob: str, content: bytes) -> None:
        """Applies the patches of the files that have this content on the old side."""
        for patch in self._readers.pop(blob, ()):
            assert patch.old_path is not None
            self._apply(patch, (self._old[patch.old_path][0], content))

    def finish(self) -> list[str]:
        """All that is wrong with it, once every content was fed."""
        self.feed(_EMPTY_BLOB, b"")
        for blob in self._readers:
            self._faults.append(f"blob {blob} of the old side is missing")
        if self._faults:
            return self._faults
        change = self.change
        try:
            result = edited_tree_id(change.old_tree, self._edits, change.old_repo.directory)
        except DataError as error:
            return [f"patch: {error}"]
        if result != change.new_tree:
            return [f"the patch gives tree {result}, new_tree is {change.new_tree}"]
        return []

    def _plan(self, patches: Sequence[FilePatch]) -> None:
        """Looks up the old side, compares the patch with `files`, and finds what to read."""
        old, new = self.change.old_repo, self.change.new_repo
        for patch in patches:
            if patch.old_path is not None:
                entry = old.entry(patch.old_path)
                self._old[patch.old_path] = (entry.mode, entry.id)
        touched = touched_paths(patches, lambda path: path in old)
        self._edits = dict.fromkeys(touched)
        parts = {self._part(patch): patch for patch in patches}
        _compare(self.change.files, parts, self._faults)
        for change in self.change.files:
            if change.new_path is not None:
                entry = new.entry(change.new_path)
                if (entry.mode, entry.id) != (change.new_mode, change.new_blob):
                    self._faults.append(f"files: {change.path!r} is not what new_tree holds")
        for patch in patches:
            if patch.old_path is None:
                self._apply(patch, None)
            elif patch.status == "R" and not patch.hunks and patch.new_blob is None:
                mode, blob = self._old[patch.old_path]
                assert patch.new_path is not None
                self._check_mode(patch, mode)
                self._edits[patch.new_path] = (patch.new_mode or mode, blob)
            else:
                self._readers.setdefault(self._old[patch.old_path][1], []).append(patch)

    def _part(self, patch: FilePatch) -> _Part:
        """What the patch, with the old tree, says of one file."""
        mode, blob = self._old[patch.old_path] if patch.old_path is not None else (None, None)
        new: _Side = (None, None, None)
        if patch.new_path is not None:
            new = (patch.new_path, patch.new_mode or mode, patch.new_blob or blob)
        return patch.status, (patch.old_path, mode, blob), new

    def _check_mode(self, patch: FilePatch, mode: str) -> None:
        if patch.old_mode is not None and patch.old_mode != mode:
            raise DataError(f"{patch.path}: the patch expects mode {patch.old_mode}, not {mode}")

    def _apply(self, patch: FilePatch, old: tuple[str, bytes] | None) -> None:
        try:
            new = apply_file(patch, old)
        except DataError as error:
            self._faults.append(f"patch: {error}")
            return
        if new is not None:
            assert patch.new_path is not None
            self._edits[patch.new_path] = (new[0], blob_id(new[1]))


def row_faults(triple: Triple, projection: str) -> Iterator[str]:
    """What contradicts itself in the columns of a triple."""
    expected = triple_id(triple.repo, triple.old_commit, triple.new_commit, triple.kind, projection)
    for wrong, fault in (
        (triple.id != expected, f"its id should be {expected}"),
        (
            not triple.commits or triple.commits[-1] != triple.new_commit,
            "the last of `commits` is not new_commit",
        ),
        (triple.old_commit in triple.commits, "`commits` holds old_commit"),
        (len(set(triple.commits)) < len(triple.commits), "`commits` repeats one"),
        (
            triple.kind == "commit" and len(triple.commits) != 1,
            f"is of kind commit, but has {len(triple.commits)} commits",
        ),
        (
            len(triple.messages) != len(triple.commits),
            f"{len(triple.commits)} commits, {len(triple.messages)} messages",
        ),
        (triple.old_tree == triple.new_tree, "both sides are the same"),
        (
            triple.additions != sum(f.additions for f in triple.files),
            "additions is not the sum over `files`",
        ),
        (
            triple.deletions != sum(f.deletions for f in triple.files),
            "deletions is not the sum over `files`",
        ),
    ):
        if wrong:
            yield fault


def _stated(change: FileChange) -> list[_Part]:
    """A row of `files` as the patch would say it; a change of type is two parts of a patch."""
    old = (change.old_path, change.old_mode, change.old_blob)
    new = (change.new_path, change.new_mode, change.new_blob)
    nothing = (None, None, None)
    if change.status == "T":
        return [("D", old, nothing), ("A", nothing, new)]
    return [(change.status, old, new)]


def _compare(files: Sequence[FileChange], parts: dict[_Part, FilePatch], faults: list[str]) -> None:
    """Every row of `files` stands for its part of the patch, and every part has its row."""
    for change in files:
        stated = _stated(change)
        if not all(part in parts for part in stated):
            faults.append(f"files: the patch does not do what the row of {change.path!r} says")
            continue
        patches = [parts.pop(part) for part in stated]
        additions = sum(patch.additions for patch in patches)
        deletions = sum(patch.deletions for patch in patches)
        if (additions, deletions) != (change.additions, change.deletions):
            faults.append(
                f"files: {change.path!r} has +{change.additions} -{change.deletions}, "
                f"the patch +{additions} -{deletions}"
            )
        if change.status == "T" and change.old_path != change.new_path:
            faults.append(f"files: {change.path!r} changes type and name")
    for patch in parts.values():
        faults.append(f"files: no row for {patch.path!r}, which the patch changes")
