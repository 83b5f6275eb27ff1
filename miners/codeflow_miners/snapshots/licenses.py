"""The SPDX licence of a tree, from the texts of its top-level licence files; None when unsure.

The reference texts are those that `identify[license]` carries (35 licences, from
choosealicense.com), so this works offline. Its own matcher allows 5 % of edited characters, which
lets a whole added condition through in a long text and refuses an Apache licence without its
appendix. Here texts are compared word by word, in the same way (bounded edit distance, by
`ukkonen`), under a tighter bound, and what differs must not change the meaning: no added run of
words, and no added word of permission, duty or negation.

Ids are those of the texts: a GPL text says neither "only" nor "or later", so it is `GPL-2.0`.
Cost: 1 ms for a typical text, up to 20 ms for one of the GPL's size; callers cache by blob id.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

import ukkonen  # type: ignore[import-untyped]
from identify.vendor.licenses import LICENSES

_MAX_BYTES: Final = 1 << 17
_MAX_EDITED_SHARE: Final = 0.05
_MAX_EDITED_WORDS: Final = 40
_MAX_ADDED_RUN: Final = 5
_MAX_ADDED_OPENING: Final = 8  # a project's name and what it is, before the terms
_LOADED_WORDS: Final = frozenset(
    """not non no nor never except unless only must shall may without commercial noncommercial
    prohibited forbidden restricted evil good academic research military personal private
    internal""".split()  # noqa: SIM905
)

_FILE: Final = re.compile(
    r"(?:(?:un)?licen[cs]es?|copying|(?:mit|bsd|apache|gpl|lgpl|mpl|isc)[-_.]licen[cs]e)"
    r"(?P<suffix>(?:[-_.][\w.+-]*?)?)(?:\.(?:txt|md|rst|markdown|adoc))?",
    re.IGNORECASE,
)
_CODE_ENDING: Final = re.compile(
    r"\.(?:py|js|json|xml|ya?ml|toml|html?|c|h|go|rb|java|sh|tmpl|in|header|pdf|rtf)$",
    re.IGNORECASE,
)
# What follows the file's name in a dual licence names the licence itself: LICENSE-APACHE.
_NAMES_A_LICENSE: Final = re.compile(
    r"[-_.](?:apache|mit|bsd|isc|zlib|mpl|gpl|lgpl|agpl|boost|bsl|0bsd|cc0|unlicense|epl|upl)"
    r"[-_.v\d]*",
    re.IGNORECASE,
)
_POINTER: Final = re.compile(rb"\b(?:dual|double)[- ]licen[cs]ed\b", re.IGNORECASE)
_POINTER_BYTES: Final = 600

_TAG: Final = re.compile(
    r"^[ \t]*+(?://|/?\*++|#++|--|;++|<!--|%++|\.\.)?[ \t]*+SPDX-License-Identifier:(.*)$",
    re.MULTILINE,
)
_EXPRESSION: Final = re.compile(
    r"\(*[A-Za-z0-9][A-Za-z0-9.+-]*(?: (?:AND|OR|WITH) \(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*)*\)*"
)

_COPYRIGHT: Final = re.compile(
    r"^[^\w\n(©]*+(?:portions )?"
    r"(?:copyright\b(?!\s+(?:holder|notice|law|licen[cs]e|owner|and|or|in|of|to))"
    r"|\(c\)|©).*$|\ball rights reserved\.?",
    re.IGNORECASE | re.MULTILINE,
)
_RESTRICTION: Final = re.compile(
    r"\b(?:not|non|noncommercial|commercial|only|except|prohibited|forbidden|restricted)\b",
    re.IGNORECASE,
)
_TITLE: Final = re.compile(r"^[^.,;:\n]{0,60}\blicen[cs]e\b[^.,;:\n]{0,40}$", re.IGNORECASE)
_END_OF_TERMS: Final = "end of terms and conditions"
_WORD: Final = re.compile(r"[a-z0-9]+")


def license_files(names: Iterable[str]) -> list[str]:
    """Which of a tree's top-level names are licence files, sorted."""
    return sorted(name for name in names if _FILE.fullmatch(name) and not _CODE_ENDING.search(name))


def license_of_text(text: bytes) -> str | None:
    """SPDX id (or expression, when the text is tagged with one) of one licence text."""
    if len(text) > _MAX_BYTES or b"\0" in text:
        return None
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    tags = {match[1].strip(" \t\r*/->") for match in _TAG.finditer(decoded)}
    if tags:
        return _expression(tags.pop()) if len(tags) == 1 else None
    if any(map(_RESTRICTION.search, _copyright_lines(decoded) - _reference_lines())):
        return None  # terms hide in a line that the comparison leaves out
    words = _words(decoded)
    return _match(words) if words else None


def license_of_tree(files: Mapping[str, bytes]) -> str | None:
    """SPDX expression of a tree from its licence files, `{top-level name: content}`.

    One licence in all of them, that one. An LGPL beside the GPL it builds on, the LGPL. Several,
    each in a file named for it (`LICENSE-MIT`, `LICENSE-APACHE`, `UNLICENSE`): a choice, "A OR B".
    Anything else is unsure. A short text that only says "dual-licensed" is no licence of its own.
    """
    found: dict[str, str | None] = {}
    for name in license_files(files):
        text = files[name]
        if len(text) > _POINTER_BYTES or not _POINTER.search(text):
            found[name] = license_of_text(text)
    ids = {identifier for identifier in found.values() if identifier is not None}
    if not ids or None in found.values():
        return None
    if len(ids) == 1:
        return ids.pop()
    if ids == {"GPL-3.0", "LGPL-3.0"}:
        return "LGPL-3.0"
    if all(map(_is_named_for_a_license, found)) and all(" " not in one for one in ids):
        return " OR ".join(sorted(ids))
    return None


def _is_named_for_a_license(name: str) -> bool:
    if name.lower().startswith(("unlicen", "mit", "bsd", "apache", "gpl", "lgpl", "mpl", "isc")):
        return True
    match = _FILE.fullmatch(name)
    return match is not None and _NAMES_A_LICENSE.fullmatch(match["suffix"]) is not None


def _expression(tag: str) -> str | None:
    if tag.upper() in {"NONE", "NOASSERTION"} or tag.count("(") != tag.count(")"):
        return None
    return tag if _EXPRESSION.fullmatch(tag) else None


def _words(text: str) -> tuple[str, ...]:
    """The words that carry the terms: no titles, copyright lines, case or punctuation."""
    lines = text.split("\n")
    for at, line in enumerate(lines[:8]):
        if _TITLE.match(line.strip(" \t\r#*=-")):
            lines[at] = ""
    return tuple(_WORD.findall(_COPYRIGHT.sub("", "\n".join(lines)).lower()))


def _copyright_lines(text: str) -> set[str]:
    return {match[0].strip().lower() for match in _COPYRIGHT.finditer(text)}


@cache
def _reference_lines() -> frozenset[str]:
    """What looks like a copyright line in the known texts, prose about copyright among it."""
    return frozenset().union(*(_copyright_lines(text) for _, text in LICENSES))


@cache
def _references() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The known texts, and those with an appendix after the terms also without it."""
    references = []
    for identifier, text in LICENSES:
        references.append((identifier, _words(text)))
        end = text.lower().find(_END_OF_TERMS)
        if end >= 0:
            references.append((identifier, _words(text[: end + len(_END_OF_TERMS)])))
            references.append((identifier, _words(text[:end])))
    return tuple(references)


def _match(words: tuple[str, ...]) -> str | None:
    """The nearest reference within the bound, if what differs is harmless."""
    nearest: tuple[int, str, tuple[str, ...]] | None = None
    bound = min(_MAX_EDITED_WORDS, int(len(words) * _MAX_EDITED_SHARE))
    for identifier, reference in _references():
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


def _distance(left: tuple[str, ...], right: tuple[str, ...], limit: int) -> int:
    """Edit distance in words; anything above `limit` for what exceeds it."""
    numbers: dict[str, str] = {}
    for word in (*left, *right):
        numbers.setdefault(word, chr(0x4E00 + len(numbers)))  # one character a word, no surrogates
    a, b = ("".join(map(numbers.__getitem__, side)) for side in (left, right))
    distance: int = ukkonen.distance(a, b, limit + 1)
    return distance


def _is_harmless(reference: tuple[str, ...], words: tuple[str, ...]) -> bool:
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
