"""Text of strangers, so that it is safe to show: nothing in it can drive a terminal."""

from __future__ import annotations


def clean(text: str) -> str:
    """The text with everything that is not printable shown as an escape (`\\x1b`), on one line.

    Covers control and format characters, bidirectional overrides and lone surrogates.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
