"""`sweeps`: drops what a tool does to lines: formatting, years of licences, pinned versions.

A formatter's run teaches a model a formatter. It is told by what it leaves alone, in each file: the
tokens and their structure, without trailing commas, marks of strings, redundant parentheses and the
layout of docstrings (`codeflow_filters.grammar.layout`, by tree-sitter), or, for languages without
a grammar in which white space only parts words, the same words and signs in the same order. Files
that are no code (the tool's configuration, a line of the changelog) may lie beside, as long as
they are few. Changes of white space and comments alone are `trivial`'s.

Years: every changed line is a line of copyright, and differs in its years only.

Pins: of manifests, configuration and CI, every changed line differs only in versions and hashes;
lock files and Go's indirect requirements beside them follow. A version has two dots, or a sign of
comparison, `@`, `^`, `~` or `v` before it, so that a share of 0.5 is none.

Languages in which indentation counts and that have no grammar here (YAML, Makefile, CoffeeScript,
F#, Haskell, Nim and their kin) are not judged, nor are files that were added, moved or removed.

Measured on seven audited histories: at least 24 sweeps of black among 1,925 kept changes of one.

Cost: the patch once more, at some 100 MB/s; what passes that is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from codeflow.contracts import CONTENTS, Cost, Verdict, drop, keep
from codeflow.records import SYMLINK_MODE, FileChange
from codeflow.triple import Triple
from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.parser import Limits, layouts
from codeflow_filters.paths import file_class
from codeflow_filters.text.hunks import hunks, once_a_triple, sections, sides
from codeflow_filters.trivial import is_trivial, shows_code
from codeflow_filters.worth import book

# Languages without a grammar here in which white space does nothing but part words and lines.
_FREE: Final = frozenset({
    "CSS", "Dart", "GraphQL", "Groovy", "HCL", "JSON", "JSON with Comments", "JSON5", "Kotlin",
    "Less", "Objective-C", "Objective-C++", "Protocol Buffer", "SCSS", "SQL", "Scala", "Solidity",
    "Swift", "Zig",
})  # fmt: skip
_SET_BY_TOOLS: Final = b"'\"`,;()\\"
_BESIDE_LINES: Final = 10
_WRITTEN: Final = frozenset({"source", "test", "docs"})  # by people, for what they say
_TOKENS: Final = re.compile(
    rb"\"\"\".*?\"\"\"|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`|[\w\x80-\xff]+|[^\s\w]",
    re.DOTALL,
)
_TRAILING_COMMA: Final = re.compile(rb"\0,(?=\0[)\]}])")
_YEARS: Final = re.compile(
    r"(?:19|20)\d\d(?:\s*(?:[-\u2013\u2014,]|to|and)\s*(?:(?:19|20)?\d\d|present))*"
)
_COPYRIGHT: Final = re.compile(r"copyright|\(c\)|\u00a9|&copy;|licen[cs]e", re.IGNORECASE)
_PIN: Final = re.compile(
    r"""\bsha\d+[-:][\w+/=]+ | @?\b(?=[a-f]*\d)[0-9a-f]{12,64}\b
    | (?: (?:[<>!~^=]=|[~^@<>]|(?<![\w.])v) \s* \d+(?:\.[\w*]+)* | (?<![\w.])\d+\.\d+\.\d+ )
      (?:[-+.~][\w.+-]*)?""",
    re.VERBOSE,
)
_PINNED: Final = frozenset({"configuration", "generated", "ci", "changelog"})
_FOLLOWS: Final = re.compile(r"\S+ \S+ // indirect")


@dataclass(frozen=True)
class Sweeps:
    """Drops formatting by a tool, new years in lines of copyright, and new versions in pins.

    Attributes:
        max_file_bytes: a triple with a larger file is kept.
        max_memory_bytes: address space of the process that parses.
        max_seconds: processor time for one file, after which that process is ended.
    """

    max_file_bytes: int = 512 << 10
    max_memory_bytes: int = 1 << 30
    max_seconds: float = 5.0

    why: ClassVar[str] = "sweeps of a tool over many lines: formatting, years of licences"
    reasons: ClassVar[Mapping[str, str]] = {
        "formatting": "changes what a formatter sets, and no code, by token and structure",
        "license-years": "changes the years in lines of copyright, and nothing else",
        "pins": "changes versions that pin dependencies and tools, and nothing else",
    }
    cost: ClassVar[Cost] = "contents"
    reads: ClassVar[frozenset[str]] = frozenset({"files", "patch", CONTENTS})

    def __post_init__(self) -> None:
        self._limits.check("sweeps")

    @property
    def _limits(self) -> Limits:
        return Limits(self.max_file_bytes, self.max_memory_bytes, self.max_seconds)

    def wants(self, triple: Triple) -> Iterator[str]:
        """The files of code, unless the patch shows that code was changed."""
        for change in _doubtful(triple):
            yield from filter(None, (change.old_blob, change.new_blob))

    def __call__(self, triple: Triple) -> Verdict:
        if only_years(triple):
            return drop("license-years", triple.files[0].path)
        if only_pins(triple):
            return drop("pins", triple.files[0].path)
        doubtful = _doubtful(triple)
        if not doubtful:
            return keep()
        for change in doubtful:
            old, new = triple.contents(change)
            assert change.language is not None
            assert old is not None
            assert new is not None
            if not formatted(change.language, old, new, self._limits):
                return keep()
        return drop("formatting", doubtful[0].path)


def only_years(triple: Triple) -> bool:
    """Whether all changed lines are lines of copyright that differ in their years."""
    found = False
    for change, section in sections(triple):
        if not section or change.status != "M":
            return False
        lines = [line for line in section.split("\n") if line[:1] in ("+", "-")]
        old, new = (
            [_YEARS.sub("Y", line[1:]).strip() for line in lines if line[0] == sign]
            for sign in "-+"
        )
        if old != new or not all(map(_COPYRIGHT.search, old)):
            return False
        found = found or bool(old)
    return found


def only_pins(triple: Triple) -> bool:
    """Whether all changed lines of manifests differ in pinned versions, whatever locks follow."""
    if not {book(change.path, change.file_kind) for change in triple.files} <= _PINNED:
        return False
    found = False
    for change, section in sections(triple):
        if file_class(change.path, False, change.file_kind == "generated") is not None:
            continue  # a lock file, or one that something wrote
        if not section or change.status != "M":
            return False
        changed = [
            (line[0], line[1:].strip()) for line in section.split("\n") if line[:1] in ("+", "-")
        ]
        lines = [(sign, line) for sign, line in changed if not _FOLLOWS.fullmatch(line)]
        old, new = ([_PIN.sub("PIN", line) for s, line in lines if s == sign] for sign in "-+")
        if sorted(old) != sorted(new) or not all("PIN" in line for line in old):
            return False
        found = found or bool(old)
    return found


def _is_edit(change: FileChange) -> bool:
    return (
        change.old_path == change.new_path
        and change.old_mode == change.new_mode != SYMLINK_MODE
        and (change.language in GRAMMARS or change.language in _FREE)
    )


@once_a_triple
def _doubtful(triple: Triple) -> list[FileChange]:
    """The files of code, where all may have been formatted and nothing else; else none."""
    judged = [change for change in triple.files if _is_edit(change)]
    beside = [change for change in triple.files if not _is_edit(change)]
    lines = sum(change.additions + change.deletions for change in beside)
    kinds = {book(change.path, change.file_kind) for change in beside}
    if not judged or lines > _BESIDE_LINES or kinds & _WRITTEN:
        return []
    if shows_code(triple, _SET_BY_TOOLS) or any(_shows_words(triple)):
        return []
    return judged


def _shows_words(triple: Triple) -> Iterator[bool]:
    """For each file of a language without a grammar, whether its hunks show another word."""
    for change, section in sections(triple):
        if change.language in _FREE:
            old, new = zip(*map(sides, hunks(section)), strict=True) if section else ((), ())
            yield _joined(old) != _joined(new)


def _joined(texts: tuple[bytes, ...]) -> bytes:
    return b"".join(b"".join(texts).split()).translate(None, _SET_BY_TOOLS)


def formatted(language: str, old: bytes, new: bytes, limits: Limits) -> bool:
    """Whether two texts differ only in what a formatter sets; in doubt they do not."""
    if language not in GRAMMARS:
        return words(old) == words(new)
    if GRAMMARS[language].macros:
        return is_trivial(language, old, new, limits)
    before, after = layouts(language, [old, new], limits)
    return before is not None and before == after


def words(text: bytes) -> bytes:
    """The words, strings and signs of a text, without white space and trailing commas."""
    return _TRAILING_COMMA.sub(b"", b"\0" + b"\0".join(_TOKENS.findall(text)))
