"""What the content pass keeps of each changed file for spans: hashes of lines and identifiers.

Selection needs to know which steps talk about the same things and whether a line lives to the end
of a span, not what the line says. Hashes carry both across units without contents, and they are
the same in every process (`hash()` is not). Cost: about 0.3 s per 10 MB of hunks.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_ADDED = re.compile(rb"^\+(.*)", re.MULTILINE)
_REMOVED = re.compile(rb"^-(.*)", re.MULTILINE)
# Three characters or more: shorter names (i, x, if) occur everywhere and link nothing. Bytes from
# 0x80 belong to letters outside ASCII.
_IDENTIFIER = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]{2,63}")


class LineFeatures(NamedTuple):
    """The hashes of one file's change: the last three columns of `STEP_FEATURES`.

    `identifiers` is (I,) uint32, each once, sorted; `added_lines` (A,) and `removed_lines` (R,) are
    uint64, with repeats, in order.
    """

    identifiers: npt.NDArray[np.uint32]
    added_lines: npt.NDArray[np.uint64]
    removed_lines: npt.NDArray[np.uint64]


def line_features(hunks: bytes) -> LineFeatures:
    """Hashes the changed lines of one file, and the identifiers on them.

    Args:
        hunks: the body of a unified diff from its first `@@` line on (no `---`/`+++` header).
    """
    added, removed = _ADDED.findall(hunks), _REMOVED.findall(hunks)
    names = set(_IDENTIFIER.findall(b"\n".join(added + removed)))
    identifiers = np.fromiter(map(zlib.crc32, names), np.uint32, len(names))
    return LineFeatures(np.unique(identifiers), _hash_lines(added), _hash_lines(removed))


def _hash_lines(lines: list[bytes]) -> npt.NDArray[np.uint64]:
    """64 bits a line: CRC-32 below, Adler-32 above; two CRCs would not be independent."""
    low = np.fromiter(map(zlib.crc32, lines), np.uint64, len(lines))
    high = np.fromiter(map(zlib.adler32, lines), np.uint64, len(lines))
    return low | (high << np.uint64(32))
