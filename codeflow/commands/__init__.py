"""The commands, a module for each group: `add` puts them on the parser, a function runs each one.

Modules that take time to import are imported by the function that needs them.
"""

from __future__ import annotations


def sentence(text: str) -> str:
    """The help of a command as its description."""
    return f"{text[0].upper()}{text[1:]}."
