"""Which files to show before the body, in which order, and what of the changed ones in any case.

First the files that are asked for, then what they import, then the files around them: by the
distance of their directories in the tree, those with a changed file's ending before others. All of
it is lazy: a directory or a content is read when the budget has got that far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath

from codeflow.documents.document import ContextFile, SeenFile, Window
from codeflow.documents.triples.imports import imported
from codeflow.git.objects import TreeEntry
from codeflow.git.patch import FilePatch
from codeflow.records import SYMLINK_MODE, FileChange
from codeflow.triple import Snapshot, Triple

_READ_FOR_IMPORTS = 32  # changed files
BESIDE = 3  # lines to see around those that a hunk holds, besides the ones that git shows


def changed_old(triple: Triple) -> list[str]:
    """Paths of the old side that the triple touches, each once."""
    return list(dict.fromkeys(f.old_path for f in triple.files if f.old_path is not None))


def changed_new(triple: Triple) -> list[str]:
    """Paths of the new side's regular files that the triple touches, each once."""
    paths = (f.new_path for f in triple.files if f.new_mode != SYMLINK_MODE)
    return list(dict.fromkeys(path for path in paths if path is not None))


def hidden_paths(files: Iterable[FileChange]) -> frozenset[str]:
    """Paths that are generated or vendored, under all the names that these changes give them: they
    are neither written nor shown."""
    changes = list(files)
    hidden: set[str] = set()
    found = {file.path for file in changes if file.generated or file.vendored}
    while found - hidden:
        hidden |= found
        for file in changes:
            names = {path for path in (file.old_path, file.new_path) if path is not None}
            if names & hidden:
                found |= names
    return frozenset(hidden)


def is_hidden(patch: FilePatch, hidden: frozenset[str]) -> bool:
    """Whether a file of a patch is one of those."""
    return patch.old_path in hidden or patch.new_path in hidden


def hunk_windows(patch: FilePatch) -> tuple[Window, ...]:
    """The old lines of all hunks of a file, with a few around."""
    return merged(
        Window(hunk.old_skip - BESIDE, hunk.old_skip + hunk.old_lines + BESIDE)
        for hunk in patch.hunks
    )


def merged(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Windows in order that neither overlap nor touch; none is empty."""
    found: list[Window] = []
    for start, stop in sorted(windows):
        start = max(0, start)
        if stop <= start:
            continue
        if found and start <= found[-1].stop:
            start, before = found.pop()
            stop = max(stop, before)
        found.append(Window(start, stop))
    return tuple(found)


def seen_file(triple: Triple, patch: FilePatch, windows: tuple[Window, ...]) -> SeenFile | None:
    """What of a changed file has to be seen; None where nothing of it is asked for."""
    if patch.old_path is None or not windows:
        return None
    return seen_of(triple.old_repo, patch.old_path, windows)


def seen_of(snapshot: Snapshot, path: str, windows: tuple[Window, ...]) -> SeenFile:
    """What of a file of a snapshot has to be seen."""
    read = partial(_read, snapshot, path, str)
    return SeenFile(path, snapshot.entry(path).id, read, windows)


def around(
    snapshot: Snapshot,
    root: str,
    first: Sequence[str],
    near: Sequence[str] | None = None,
    shown: frozenset[str] = frozenset(),
    clean: Callable[[str], str] = str,
) -> Iterator[ContextFile]:
    """The files of a snapshot, the most important first.

    Args:
        root: the snapshot's tree id.
        first: paths in it that come first; their imports come next.
        near: paths, there or not, around which to look for the rest; `first` by default.
        shown: paths to leave out; what they import comes all the same.
        clean: what to do to each content.
    """
    seen = set(shown)

    def take(path: str) -> Iterator[ContextFile]:
        if path not in seen:
            seen.add(path)
            entry = snapshot.entry(path)
            if entry.mode != SYMLINK_MODE:
                read = partial(_read, snapshot, path, clean)
                yield ContextFile(path, entry.id, read)

    for path in first:
        yield from take(path)
    for path in first[:_READ_FOR_IMPORTS]:
        for other in imported(path, snapshot):
            yield from take(other)
    centres = near if near is not None else first
    for path in _outward(snapshot, root, centres):
        yield from take(path)


def _read(snapshot: Snapshot, path: str, clean: Callable[[str], str]) -> str:
    return clean(snapshot[path].decode())


def _outward(snapshot: Snapshot, root: str, centres: Sequence[str]) -> Iterator[str]:
    """All files, by steps from directory to directory, starting at those of `centres`.

    With no centre that still exists, from the root.
    """
    endings = {PurePosixPath(path).suffix for path in centres}
    waiting = deque(dict.fromkeys(_folder(path) for path in centres) or [""])
    seen = set(waiting)

    def add(folder: str) -> None:
        if folder not in seen:
            seen.add(folder)
            waiting.append(folder)

    while waiting:
        folder = waiting.popleft()
        prefix = f"{folder}/" if folder else ""
        entries = _directory(snapshot, root, folder)
        names = [entry.name for entry in entries if not entry.is_tree]
        for name in sorted(names, key=lambda n: (PurePosixPath(n).suffix not in endings, n)):
            yield prefix + name
        for entry in entries:
            if entry.is_tree:
                add(prefix + entry.name)
        if folder:
            add(_folder(folder))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _directory(snapshot: Snapshot, root: str, folder: str) -> Sequence[TreeEntry]:
    tree = root
    for name in folder.split("/") if folder else ():
        found = [e for e in snapshot.directory(tree) if e.name == name and e.is_tree]
        if not found:
            return ()
        tree = found[0].id
    return snapshot.directory(tree)
