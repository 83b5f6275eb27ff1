"""Which tree-sitter grammar reads which language, and what is particular to it.

Languages go by linguist's names, as in the `language` column. The grammars are the official
wheels, which carry their compiled parser: nothing is fetched at run time. A language without an
entry is not judged by any filter that parses.

Particulars that the filters need:

* `macros`: the text passes a preprocessor first, so much correct code has no parse. There, only
  what no macro explains is an error (see `codeflow_filters.grammar.brackets`).
* `anchored`: a line that follows a blank line and starts with a word in column 0 begins a top-level
  item, unless it lies within a comment or a literal. Such a file can be judged by its changed items
  alone. Not so for languages whose code lies within a class (Java, C#, Ruby), that have here
  documents (Shell, Ruby, PHP), or that are text outside of their marks (PHP).
* `quotes`: what opens and closes literals that may hold line ends; an even number of each before
  an item says that it does not start within one. `block_comments` says the same of `/* */`.
* `own_parser`: a parser of the language itself ships beside the grammar, and has to see an error as
  well; for the others the text has to show it (`codeflow_filters.grammar.witness`).
* `names`: words that are keywords to the grammar and were names before (`kombu.async`, until
  Python 3.7), where they stand as names. Of 37 changed files of celery with new errors, 29 had
  none but those.

Cost: a grammar is loaded when it is first used, in the process that parses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Language


class Grammar(NamedTuple):
    """One language as tree-sitter sees it; the fields are explained above."""

    module: str
    function: str = "language"
    macros: bool = False
    anchored: bool = False
    quotes: tuple[bytes, ...] = ()
    block_comments: bool = True
    own_parser: bool = False
    names: bytes | None = None


_TYPESCRIPT: Final = "tree_sitter_typescript"

GRAMMARS: Final = {
    "C": Grammar("tree_sitter_c", macros=True, anchored=True),
    "C#": Grammar("tree_sitter_c_sharp"),
    "C++": Grammar("tree_sitter_cpp", macros=True, anchored=True),
    "Go": Grammar("tree_sitter_go", anchored=True, quotes=(b"`",)),
    "Java": Grammar("tree_sitter_java"),
    "JavaScript": Grammar("tree_sitter_javascript", anchored=True, quotes=(b"`",)),
    "PHP": Grammar("tree_sitter_php", "language_php"),
    "Python": Grammar(
        "tree_sitter_python",
        anchored=True,
        quotes=(b'"""', b"'''"),
        block_comments=False,
        own_parser=True,
        names=rb"\basync\b(?!\s+(?:def|for|with)\b)",
    ),
    "Ruby": Grammar("tree_sitter_ruby", block_comments=False),
    "Rust": Grammar("tree_sitter_rust", anchored=True, quotes=(b'"',)),
    "Shell": Grammar("tree_sitter_bash", block_comments=False, own_parser=True),
    "TSX": Grammar(_TYPESCRIPT, "language_tsx", anchored=True, quotes=(b"`",)),
    "TypeScript": Grammar(_TYPESCRIPT, "language_typescript", anchored=True, quotes=(b"`",)),
}


def load(language: str) -> Language:
    """The compiled grammar of a language in `GRAMMARS`."""
    import importlib

    from tree_sitter import Language

    grammar = GRAMMARS[language]
    return Language(getattr(importlib.import_module(grammar.module), grammar.function)())
