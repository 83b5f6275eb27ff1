"""Looks at a Git folder from outside and says whether it can be mined, before anything opens it.

git and libgit2 hang on a FIFO in place of a ref or an object, and what the folder configures could
run programs. So the folder is first listed with `lstat` and `stat` alone; then the one file that
must be understood, `config`, is read as plain data (see `codeflow_miners.acquire.format`).
Ownership does not matter: nothing of the folder is trusted. Costs one `stat` per loose object and
pack, and a look at the beginning of each packed object.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.alternates import object_stores
from codeflow_miners.acquire.format import require_known_format, settings_of
from codeflow_miners.acquire.partial import absent_from
from codeflow_miners.objects.packs import require_sound_packs

_SMALL_FILE_BYTES: Final = 1 << 16
_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@dataclass(frozen=True)
class GitDir:
    """A Git folder that passed: where its parts lie.

    Attributes:
        path: holds HEAD; `common` holds refs and configuration. They differ in a linked worktree.
        objects: the object store; it and its alternates hold regular files only.
        lost: whether an alternate of it is gone, which costs nothing until an object is missing.
        absent_from: the size in bytes from which on it may lack blobs; None for none.
    """

    path: Path
    common: Path
    objects: Path
    lost: bool = False
    absent_from: int | None = None


def inspect_git_dir(path: Path) -> GitDir:
    """Checks a repository, bare or with a working tree, and finds its parts.

    Raises:
        RepositoryError: `missing`, `not-a-repository`, `empty`, `shallow`, `partial`, `sha256`,
            `special-file`, `missing-alternate`, `unsupported-format`, `unsupported-refs`, `damaged`
            or `unreadable`.
    """
    try:
        git_dir = _find(path)
        common = _common(git_dir)
        found = GitDir(git_dir, common, common / "objects")
        if not found.objects.is_dir():
            raise RepositoryError("not-a-repository", "it has no folder of objects")
        _require_plain_files(found)
        stores = object_stores(found.objects, _scan)
        absent = _require_complete(found)
        for objects in stores.folders:
            require_sound_packs(objects)
        if not _has_refs(found):
            raise RepositoryError("empty", "it has no commits")
    except OSError as error:
        name = Path(os.fsdecode(error.filename)).name if error.filename else "a file"
        raise RepositoryError("unreadable", f"{name}: {error.strerror}") from None
    return replace(found, lost=stores.lost, absent_from=absent)


def read_small(path: Path) -> str:
    """The text of a small regular file, and never a wait. Raises OSError or RepositoryError."""
    _require_regular(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        return os.fsdecode(file.read(_SMALL_FILE_BYTES)).rstrip("\r\n")


def _find(path: Path) -> Path:
    """The Git folder for what a user may name: a bare one, `.git`, or a working tree."""
    try:
        inside = path / ".git"
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise RepositoryError("missing", "there is nothing at this path") from None
    if not stat.S_ISDIR(mode):
        raise RepositoryError("not-a-repository", "it is not a folder")
    if not _is_there(inside):
        git_dir = path
    elif inside.is_dir():
        # git passes over a folder of that name that is none, too
        bare = not _is_there(inside / "HEAD") and _is_there(path / "HEAD")
        git_dir = path if bare else inside
    else:
        text = read_small(inside)
        if not text.startswith("gitdir: "):
            raise RepositoryError("not-a-repository", "its .git file names no Git folder")
        git_dir = path / text.removeprefix("gitdir: ")
        if not git_dir.is_dir():
            raise RepositoryError("missing", "the Git folder that its .git file names is gone")
    if not _is_there(git_dir / "HEAD"):
        raise RepositoryError("not-a-repository", "it is no Git repository: there is no HEAD")
    return Path(os.path.realpath(git_dir))


def _is_there(path: Path) -> bool:
    """`os.path.lexists`, which also says no of what lies in a folder that may not be entered."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _common(git_dir: Path) -> Path:
    if not os.path.lexists(git_dir / "commondir"):
        return git_dir
    common = Path(os.path.realpath(git_dir / read_small(git_dir / "commondir")))
    if not common.is_dir():
        raise RepositoryError("missing", "the repository of this linked worktree is gone")
    return common


def _require_plain_files(found: GitDir) -> None:
    """Everything that a reader may open is a regular file; object stores are looked at apart.

    The parts themselves may be symbolic links to folders, as some tools make them; inside, a link
    to a folder could lead anywhere, and Git makes none.
    """
    for top in (found.path / "HEAD", *(found.common / n for n in ("packed-refs", "config"))):
        if os.path.lexists(top) and not _is_symbolic_head(top):
            _require_regular(top)
    if os.path.lexists(found.common / "refs"):
        _scan(found.common / "refs")


def _is_symbolic_head(path: Path) -> bool:
    """Whether HEAD is in its oldest form, a symbolic link to a ref that may not exist yet."""
    return path.name == "HEAD" and path.is_symlink() and os.readlink(path).startswith("refs/")


def _scan(folder: Path) -> None:
    """Requires regular files and real folders all the way down, opening nothing."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    _require_regular(Path(entry.path), folder.parent)


def _require_regular(path: Path, top: Path | None = None) -> None:
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:  # a link to nothing: readers see a missing file
        if path.is_symlink():
            return
        raise
    if kind != stat.S_IFREG:
        name = path.relative_to(top) if top else path.name
        what = _KINDS.get(kind, "no regular file")
        raise RepositoryError("special-file", f"{name} is {what}, which no repository holds")


def _require_complete(found: GitDir) -> int | None:
    """Every object is there, in a format that is understood, but for blobs from this size on."""
    shallow = found.common / "shallow"
    if os.path.exists(shallow) and os.stat(shallow).st_size:
        reason = "its history is cut off; complete it with `git fetch --unshallow`"
        raise RepositoryError("shallow", reason)
    settings = settings_of(found.common / "config")
    require_known_format(settings)
    return absent_from(settings)


def _has_refs(found: GitDir) -> bool:
    """Whether any branch or tag exists, or HEAD names a commit itself."""
    if any(files for _, _, files in os.walk(found.common / "refs")):
        return True
    packed = found.common / "packed-refs"
    if os.path.exists(packed) and any(
        line and not line.startswith("#") for line in read_small(packed).splitlines()
    ):
        return True
    head = found.path / "HEAD"
    return not head.is_symlink() and not read_small(head).startswith("ref:")
