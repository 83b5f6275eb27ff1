"""Where the tree-sitter grammar of a language lies: filters parse with it, and documents cut.

Languages go by linguist's names, as in the `language` column. The grammars are the official wheels,
which carry their compiled parser: nothing is fetched at run time. One is loaded when it is first
used, in the process that parses.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Language


class Wheel(NamedTuple):
    """A module, and its function that gives the grammar."""

    module: str
    function: str = "language"


WHEELS: Final[Mapping[str, Wheel]] = MappingProxyType(
    {
        "C": Wheel("tree_sitter_c"),
        "C#": Wheel("tree_sitter_c_sharp"),
        "C++": Wheel("tree_sitter_cpp"),
        "Go": Wheel("tree_sitter_go"),
        "Java": Wheel("tree_sitter_java"),
        "JavaScript": Wheel("tree_sitter_javascript"),
        "PHP": Wheel("tree_sitter_php", "language_php"),
        "Python": Wheel("tree_sitter_python"),
        "Ruby": Wheel("tree_sitter_ruby"),
        "Rust": Wheel("tree_sitter_rust"),
        "Shell": Wheel("tree_sitter_bash"),
        "TSX": Wheel("tree_sitter_typescript", "language_tsx"),
        "TypeScript": Wheel("tree_sitter_typescript", "language_typescript"),
    }
)


def load(language: str) -> Language:
    """The compiled grammar of a language in `WHEELS`. Raises ModuleNotFoundError."""
    from tree_sitter import Language

    wheel = WHEELS[language]
    return Language(getattr(import_module(wheel.module), wheel.function)())
