"""Tokens of a triple, estimated from the bytes of its patch and its language.

The mix is decided before anything is tokenized, and a patch is what every rendering teaches. Bytes
per token differ by a factor of 1.8 between them, so they are kept by language: measured on
the patches of ten public histories with a tokenizer of 32,768 that was trained on the same
histories, as `codeflow tokenize` trains it, `index` lines left out (docs/mix.md). Only ratios
between languages matter to shares; a budget in tokens is as good as the figure itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNKNOWN: Final = "unknown"
"""Stands for the language of a triple that has none."""

OTHER_BYTES: Final = 3.3
BYTES_PER_TOKEN: Final[Mapping[str, float]] = {
    "C": 3.3,
    "Go": 3.3,
    "HTML": 3.5,
    "Java": 4.5,
    "JavaScript": 3.2,
    "Markdown": 3.0,
    "Python": 3.6,
    "RDoc": 2.5,
    "reStructuredText": 4.1,
    "Ruby": 3.3,
    "Rust": 3.6,
    "Shell": 3.0,
    "TOML": 2.5,
    "Tcl": 3.8,
    "Text": 3.1,
    "YAML": 3.6,
}
"""Of languages with 0.5 MB of patches or more in the measurement, but SVG (two patches)."""


def group(language: str | None) -> str:
    """The language that a triple counts for. TSX is TypeScript, as linguist groups it."""
    return UNKNOWN if language is None else "TypeScript" if language == "TSX" else language


def bytes_per_token(language: str, given: Mapping[str, float]) -> float:
    """What is given for a language, else what was measured, else the mean of all."""
    return float(given.get(language, BYTES_PER_TOKEN.get(language, OTHER_BYTES)))
