"""Git's C-style quotes (`quote.c`), around paths in patches and in lists of alternates."""

from __future__ import annotations

import re
from typing import Final

_LETTERS: Final = dict(zip(b'abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))
_BY_BYTE: Final = {byte: bytes([letter]) for letter, byte in _LETTERS.items()}
_TO_QUOTE: Final = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')
_ESCAPE: Final = re.compile(rb'\\(?:([0-3][0-7]{2})|([abfnrtv\\"]))')
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\[0-3][0-7]{2}|\\[abfnrtv\\"])*)"')


def quote_path(path: bytes, always: bool = False) -> bytes:
    """A path as git writes it in a patch: in C quotes if any byte of it needs them."""
    if not always and not _TO_QUOTE.search(path):
        return path

    def escape(match: re.Match[bytes]) -> bytes:
        byte = match.group()[0]
        return b"\\" + (_BY_BYTE.get(byte) or b"%03o" % byte)

    return b'"' + _TO_QUOTE.sub(escape, path) + b'"'


def unquote_path(text: bytes) -> bytes:
    """The path behind what git wrote on a line. Raises ValueError for a broken quotation."""
    if not text.startswith(b'"'):
        return text
    found = unquote_at(text, 0)
    if found is None or found[1] != len(text) or b"\n" in text:
        raise ValueError(f"broken quotation {text!r}")
    return found[0]


def unquote_at(data: bytes, start: int) -> tuple[bytes, int] | None:
    """What the quotation at a place says, and where it ends; None where no sound one is."""
    found = _QUOTED.match(data, start)
    return found and (_ESCAPE.sub(_meant, found[1]), found.end())


def _meant(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8) if match[1] else _LETTERS[match[2][0]]])
