"""Files for a sandbox as one tar archive, which is unpacked inside: nothing of them on a disk."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from codeflow.sandbox.job import File

_MTIME_S = 1_000_000_000  # the same in every run; zip files know no time before 1980


def archive(files: Mapping[str, File]) -> bytes:
    """The archive, in the order of the paths."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, (mode, content) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.mtime = _MTIME_S
            if mode == "120000":
                entry.type, entry.linkname = (
                    tarfile.SYMTYPE,
                    content.decode("utf-8", "surrogateescape"),
                )
                tar.addfile(entry)
                continue
            entry.mode = 0o755 if mode == "100755" else 0o644
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
