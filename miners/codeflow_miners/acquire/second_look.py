"""Where libgit2 is helped to find what git finds, in a store that is partly damaged.

`PackFolder` keeps it from a multi-pack-index: that is a shortcut past the indices of the packs,
which preflight has looked through, and one that lies would lead into the middle of objects.
`read_with_git` asks git for an object that could not be read, because git goes on to the next copy
of it: in another pack, in an alternate, or loose. Costs a process, for damaged stores only.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.git import run_git

_MIDX = "multi-pack-index"


class PackFolder:
    """A store whose packs libgit2 reads; `objects` is the folder to name to it."""

    def __init__(self, store: Path) -> None:
        self.objects = str(store)
        if os.path.lexists(store / "pack" / _MIDX):
            self._folder = tempfile.TemporaryDirectory(  # lives as long as this
                prefix="codeflow-", ignore_cleanup_errors=True
            )
            self.objects = self._folder.name
            packs = Path(self.objects, "pack")
            packs.mkdir()
            for entry in os.scandir(store / "pack"):
                if entry.name.endswith((".pack", ".idx")):
                    (packs / entry.name).symlink_to(entry.path)


def read_with_git(objects: Path, object_id: bytes, kind: bytes) -> bytes | None:
    """The content of an object as git finds it, not checked; None where it finds none."""
    with tempfile.TemporaryDirectory(prefix="codeflow-", ignore_cleanup_errors=True) as name:
        git_dir = Path(name)
        (git_dir / "HEAD").write_text("ref: refs/heads/main\n")
        (git_dir / "refs").mkdir()
        (git_dir / "objects").symlink_to(objects.absolute())
        try:
            return run_git(["cat-file", kind.decode(), object_id.hex()], git_dir=git_dir)
        except RepositoryError:
            return None
