"""Drops changes that introduce syntax errors: the change is judged, not the file.

Each changed file of a language in `codeflow_filters.grammar.grammars` is looked at on both sides. A
triple goes when the new side of a file has more syntax errors than the old side (none, for an added
file), by full parses of both with tree-sitter, and a second witness sees it, too, since a grammar
is not the language (`codeflow_filters.grammar.witness`). An error that was there before does no
harm, and neither does removing one. Generated and vendored files are not judged, as nobody wrote
them here; nor are files that tests read, which have to be wrong at times, and dialects
(`codeflow_filters.grammar.dialects`).

A full parse of everything would cost more than mining. So a change is kept without one when the
items it touches parse by themselves (`codeflow_filters.grammar.syntax_screen`), or, in C and C++,
when the lines of the patch keep their brackets in balance: then the file is not even read. A drop
is never decided that way.

What cannot be parsed within the limits is kept, and the score `syntax_unparsed` counts such files.
The limit on bytes, and one on the parser's operations, are deterministic; those on memory and time
catch what hangs a parser, which code does not do by accident.

Source: the AST check of structural integrity of arXiv 2603.16733; judging the change and not the
file is ours, since grammars lag behind languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from codeflow.contracts import CONTENTS, Cost, Verdict, drop, keep
from codeflow.records import SYMLINK_MODE, FileChange
from codeflow.triple import Triple
from codeflow_filters.grammar.brackets import (
    hunk_stays_balanced,
    lines_stay_balanced,
    stays_balanced,
)
from codeflow_filters.grammar.dialects import is_made_for_tests
from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.parser import Limits, errors
from codeflow_filters.grammar.syntax_screen import changed_items, starts_outside
from codeflow_filters.grammar.witness import confirms, is_blind
from codeflow_filters.text.hunks import hunks, once_a_triple, sections


@dataclass(frozen=True)
class Syntax:
    """Drops a triple when the new side of a file has syntax errors that the old side had not.

    Attributes:
        max_file_bytes: a file larger than this, on either side, is not judged.
        max_memory_bytes: address space of the process that parses.
        max_seconds: processor time for one file, after which that process is ended.
    """

    max_file_bytes: int = 512 << 10
    max_memory_bytes: int = 1 << 30
    max_seconds: float = 5.0

    why: ClassVar[str] = "introduces syntax errors: such a change teaches to break code"
    cost: ClassVar[Cost] = "contents"
    reads: ClassVar[frozenset[str]] = frozenset({"files", "patch", CONTENTS})

    def __post_init__(self) -> None:
        self._limits.check("syntax")

    @property
    def _limits(self) -> Limits:
        return Limits(self.max_file_bytes, self.max_memory_bytes, self.max_seconds)

    def wants(self, triple: Triple) -> Iterator[str]:
        """The files of which the patch alone does not show that they are as sound as before."""
        for change in _doubtful(triple):
            yield from filter(None, (change.old_blob, change.new_blob))

    def __call__(self, triple: Triple) -> Verdict:
        unparsed = 0
        for change in _doubtful(triple):
            old, new = triple.contents(change)
            assert change.language is not None
            assert new is not None
            verdict = introduces_errors(change.language, old or b"", new, self._limits)
            if verdict:
                return drop("syntax-error", change.path)
            unparsed += verdict is None
        return keep({"syntax_unparsed": float(unparsed)} if unparsed else None)


@once_a_triple
def _doubtful(triple: Triple) -> list[FileChange]:
    """The changed files to look at: not those of C and C++ whose hunks keep their balance."""
    return [
        change
        for change, section in sections(triple)
        if _is_judged(change)
        and not (
            GRAMMARS[change.language or ""].macros
            and change.old_blob is not None
            and all(map(hunk_stays_balanced, hunks(section)))
        )
    ]


def _is_judged(change: FileChange) -> bool:
    return (
        change.language in GRAMMARS
        and not (change.generated or change.vendored)
        and change.new_blob is not None
        and change.new_blob != change.old_blob
        and SYMLINK_MODE not in (change.old_mode, change.new_mode)
        and not is_made_for_tests(change.path)
    )


def introduces_errors(language: str, old: bytes, new: bytes, limits: Limits) -> bool | None:
    """Whether new has errors that old had not; None when a limit was met before that was known."""
    if max(len(old), len(new)) > limits.file_bytes:
        return None
    if passes_screen(language, old, new, limits):
        return False
    return confirmed(language, old, new, limits)


def passes_screen(language: str, old: bytes, new: bytes, limits: Limits) -> bool:
    """Whether the changed items show that nothing was introduced; False decides nothing."""
    grammar = GRAMMARS[language]
    if grammar.macros and old and lines_stay_balanced(old, new):
        return True
    items = changed_items(old, new) if grammar.anchored and old else None
    if items is None:
        return False
    if grammar.macros:
        return stays_balanced(old, new, *items)
    if not starts_outside(old, items[0], grammar) or not starts_outside(new, items[1], grammar):
        return False
    texts = [item.text for side in items for item in side]
    return not any(count != 0 for count in errors(language, texts, limits))


def confirmed(language: str, old: bytes, new: bytes, limits: Limits) -> bool | None:
    """The verdict by full parses of both sides and a second witness; None when one of them met a
    limit."""
    if GRAMMARS[language].macros and is_blind(language, old, new):
        return False
    after = errors(language, [new], limits)[0]
    if after == 0 or is_blind(language, old, new):
        return False
    names = GRAMMARS[language].names
    if names is not None:  # `x` is a name to every grammar
        old, new = (re.sub(names, b"x", side) for side in (old, new))
    before, after = errors(language, [old, new], limits)
    if after is None or before is None:
        return None
    return after > before and confirms(language, old, new, limits)
