"""The second witness: new errors of a grammar count only if something else sees them, too.

tree-sitter's grammars are not the languages: of the drops by them alone in 25 public histories
(docs/curation.md has the figures) 98 in 100 were of correct code. So what a grammar takes for new
errors is put to

* a parser of the language itself where one can be shipped, so that it is the same on every machine:
  Python has LibCST's (Python 3.0 to 3.15 in one), Shell has shfmt's (Bash, mksh, zsh and Bats, of
  which any may read it). Neither is the interpreter or shell that a machine happens to have, whose
  verdict would change with its version;
* else the text itself, without a grammar: `codeflow_filters.grammar.brackets` for C and C++,
  `codeflow_filters.grammar.evidence` for the others.

A witness that could not read the old side is blind, and so is one of a dialect
(`codeflow_filters.grammar.dialects`): then nothing is dropped.

Cost: LibCST 0.15 MB/s, shfmt some 5 ms a text, but only for files with new errors, one in 200.
"""

from __future__ import annotations

from codeflow_filters.grammar.brackets import balances, has_open_macro, worse_in_every_reading
from codeflow_filters.grammar.dialects import is_dialect
from codeflow_filters.grammar.evidence import breaks
from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.parser import Limits, reads


def is_blind(language: str, old: bytes, new: bytes) -> bool:
    """Whether a look at the text tells that the second witness will not confirm."""
    if GRAMMARS[language].macros:
        return not worse_in_every_reading(balances(old), balances(new)) or has_open_macro(new)
    return is_dialect(language, new)


def confirms(language: str, old: bytes, new: bytes, limits: Limits) -> bool | None:
    """Whether the second witness sees what new breaks; None when it met a limit."""
    if GRAMMARS[language].macros:
        return True  # it was not blind
    if not GRAMMARS[language].own_parser:
        return breaks(language, old, new)
    before, after = reads(language, [old, new], limits)
    if after is None or before is None:
        return None
    return before and not after
