"""Which languages the filters parse, and what is particular to their grammars.

The grammars themselves are those of `codeflow.text.grammars`. A language without an entry is not
judged by any filter that parses.

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
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Grammar(NamedTuple):
    """One language as tree-sitter sees it; the fields are explained above."""

    macros: bool = False
    anchored: bool = False
    quotes: tuple[bytes, ...] = ()
    block_comments: bool = True
    own_parser: bool = False
    names: bytes | None = None


GRAMMARS: Final = {
    "C": Grammar(macros=True, anchored=True),
    "C#": Grammar(),
    "C++": Grammar(macros=True, anchored=True),
    "Go": Grammar(anchored=True, quotes=(b"`",)),
    "Java": Grammar(),
    "JavaScript": Grammar(anchored=True, quotes=(b"`",)),
    "PHP": Grammar(),
    "Python": Grammar(
        anchored=True,
        quotes=(b'"""', b"'''"),
        block_comments=False,
        own_parser=True,
        names=rb"\basync\b(?!\s+(?:def|for|with)\b)",
    ),
    "Ruby": Grammar(block_comments=False),
    "Rust": Grammar(anchored=True, quotes=(b'"',)),
    "Shell": Grammar(block_comments=False, own_parser=True),
    "TSX": Grammar(anchored=True, quotes=(b"`",)),
    "TypeScript": Grammar(anchored=True, quotes=(b"`",)),
}
