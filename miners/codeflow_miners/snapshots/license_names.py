"""What people write instead of a licence's text: tags, names, notices, fields of manifests.

A tag (`SPDX-License-Identifier: MIT`) counts where a tag stands: in the head of a file, before any
prose. A notice counts when it is the usual one ("Licensed under the Apache License, Version 2.0
…"), or names a licence in few words. Whatever names a licence and restricts it in the same breath
("MIT, for non-commercial use only") is none. Expressions are checked and spelled by
`packaging.licenses`, which carries the SPDX list.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from codeflow_miners.snapshots.license_texts import is_harmless_around, match, plain_words

_COMMENT: Final = r"[ \t]*+(?://+|/?\*++|#++|--|;++|<!--|%++|\.\.|\"{3})?[ \t]*+"
_TAG: Final = re.compile(rf"{_COMMENT}SPDX-License-Identifier:(?P<tag>.*)")
_OF_A_HEAD: Final = re.compile(
    rf"{_COMMENT}(?:\*/|-->|\"{{3}})?[ \t]*"
    r"|[=~_*#/-]+[ \t]*"
    rf"|{_COMMENT}(?:SPDX-[\w-]+:|copyright\b|\(c\)|©).*"
    r"|[^.,;:\n]{0,60}\blicen[cs]e\b[^.,;:\n]{0,40}",
    re.IGNORECASE,
)
_MAX_HEAD_LINES: Final = 40


def expression(text: str) -> str | None:
    """An SPDX expression as SPDX spells it; None if it is none."""
    try:
        return str(canonicalize_license_expression(text.strip()))
    except InvalidLicenseExpression:
        return None


def tags(text: str) -> list[str]:
    """The tags in the head of a text, as they are written."""
    found = []
    for line in text.split("\n")[:_MAX_HEAD_LINES]:
        line = line.rstrip("\r")
        if (tag := _TAG.fullmatch(line)) is not None:
            found.append(tag["tag"].strip(' \t*/->"'))
        elif _OF_A_HEAD.fullmatch(line) is None:
            break
    return found


_SPELLED: Final = tuple(
    (re.compile(rf"\b(?:{pattern})\b"), identifier)
    for pattern, identifier in (
        (r"(?:the )?apache(?: software)?(?: licen[cs]e)?(?: v| version)? ?2(?: 0)?", "Apache-2.0"),
        (r"mit 0", "MIT-0"),
        (r"(?:mit|expat)(?: x11)?", "MIT"),
        (r"bsd 3 clause|3 clause bsd|(?:new|modified|revised) bsd|bsd licen[cs]e 3 clause"
         r"|three clause bsd", "BSD-3-Clause"),
        (r"bsd 2 clause|2 clause bsd|simplified bsd|two clause bsd", "BSD-2-Clause"),
        (r"0bsd", "0BSD"),
        (r"isc", "ISC"),
        (r"(?:mpl|mozilla public licen[cs]e)(?: v| version)? ?2(?: 0)?", "MPL-2.0"),
        (r"unlicen[cs]e", "Unlicense"),
        (r"cc0(?: 1 0)?", "CC0-1.0"),
        (r"(?:boost software licen[cs]e|bsl)(?: v| version)? ?1(?: 0)?", "BSL-1.0"),
        (r"(?:epl|eclipse public licen[cs]e)(?: v| version)? ?2(?: 0)?", "EPL-2.0"),
        (r"(?:epl|eclipse public licen[cs]e)(?: v| version)? ?1(?: 0)?", "EPL-1.0"),
        (r"wtfpl", "WTFPL"),
        (r"zlib", "Zlib"),
    )
)  # fmt: skip
_GNU: Final = re.compile(
    r"\b(?:gnu )?(?:(?P<kind>lesser |library |affero )?(?:general public licen[cs]e)"
    r"|(?P<short>[al]?gpl))"
    r"(?: l?gpl)?(?: as published by the free software foundation)?(?: either)?"
    r"(?: v| version)? ?(?P<major>[23])(?: (?P<minor>[01]))?\b(?: of the licen[cs]e)?"
    r"(?P<later> or (?:at your option )?(?:any )?later(?: version)?| ?\+)?"
)
_KINDS: Final = {"lesser ": "LGPL", "library ": "LGPL", "affero ": "AGPL", None: "GPL"}
_EITHER: Final = re.compile(r"\b(?:or|either|dual|double|choice|choose)\b")
_RESTRICTS: Final = re.compile(
    r"\b(?:non|noncommercial|commercial|except|prohibited|forbidden|restricted|not|only|clause that"
    r"|proprietary|exception|unless|additional|spdx)\b"
)
_APACHE_NOTICE: Final = re.compile(
    r"licensed under the apache licen[cs]e version 2 0 the licen[cs]e you may not use "
    r"(?:\w+ ){1,6}?except in compliance with the licen[cs]e .*?"
    r"(?:limitations under the licen[cs]e|$)"
)
_GNU_NOTICE: Final = re.compile(
    r"(?:\w+ ){0,3}is free software (?:\w+ ){1,60}?(?P<named>gnu (?:lesser |library |affero )?"
    r"general public licen[cs]e as published by the free software foundation (?:either )?"
    r"version [23](?: [01])?(?: of the licen[cs]e)?(?: or at your option any later version)?)"
    r"(?:.*?(?:gnu org licenses?|0?211[10](?: \d+)?(?: usa)?)|.*?for more details|.*)"
)
_MPL_NOTICE: Final = re.compile(
    r"this source code form is subject to the terms of the mozilla public licen[cs]e v 2 0 .*?"
    r"(?:mozilla org mpl 2 0|$)"
)
_MAX_NOTICE_WORDS: Final = 260
_MAX_NAMED_WORDS: Final = 90


def notice(text: str) -> str | None:
    """What a short text says that it, or what it lies in, is licensed under."""
    words = plain_words(text)
    if words.count(" ") >= _MAX_NOTICE_WORDS:
        return None
    for pattern, identifier in ((_APACHE_NOTICE, "Apache-2.0"), (_MPL_NOTICE, "MPL-2.0")):
        if (found := pattern.search(words)) is not None:
            rest = words[: found.start()] + words[found.end() :]
            return identifier if is_harmless_around(rest.split()) else None
    if (found := _GNU_NOTICE.search(words)) is not None:
        rest = words[: found.start()] + words[found.end() :]
        ids = named(found["named"])
        return ids[0] if len(ids) == 1 and is_harmless_around(rest.split()) else None
    return _in_few_words(text)


def _in_few_words(text: str) -> str | None:
    words = " ".join(
        re.findall(r"[a-z0-9+]+", re.sub(r"https?://\S+|\]\([^)]*\)", " ", text.lower()))
    )
    if words.count(" ") >= _MAX_NAMED_WORDS or _RESTRICTS.search(words):
        return None
    ids = sorted(set(named(words)))
    if len(ids) == 1:
        return ids[0]
    return " OR ".join(ids) if ids and _EITHER.search(words) else None


def named(words: str) -> list[str]:
    """Ids of the licences that words in lower case name, in order."""
    found: list[tuple[int, str]] = []
    rest = words
    for match_ in _GNU.finditer(words):
        kind = _KINDS[match_["kind"]] if match_["short"] is None else match_["short"].upper()
        minor = match_["minor"] or "0"
        later = "-or-later" if match_["later"] else ""
        found.append((match_.start(), f"{kind}-{match_['major']}.{minor}{later}"))
    rest = _GNU.sub(lambda m: " " * len(m[0]), rest)
    for pattern, identifier in _SPELLED:
        for match_ in pattern.finditer(rest):
            found.append((match_.start(), identifier))
        rest = pattern.sub(lambda m: " " * len(m[0]), rest)
    return [identifier for _, identifier in sorted(found)]


_HEADING: Final = re.compile(
    r"^(?:#{1,6}[ \t]*(?P<atx>[^\n]*)|(?P<set>[^\n]+)\n(?:={3,}|-{3,}|~{3,})[ \t]*)$", re.MULTILINE
)
_OF_LICENSE: Final = re.compile(
    r"[\W\d_]*(?:the )?(?:copyright (?:and|&) )?licen[cs](?:e|ing)[\W_]*", re.I
)
_MAX_README_CHARS: Final = 1 << 18


def readme(text: str) -> str | None:
    """What the section "License" of a README says: a text, a notice, or a name."""
    text = text[:_MAX_README_CHARS].replace("\r\n", "\n")
    headings = list(_HEADING.finditer(text))
    for at, heading in enumerate(headings):
        title = heading["atx"] if heading["atx"] is not None else heading["set"]
        if _OF_LICENSE.fullmatch(title.strip()):
            stop = headings[at + 1].start() if at + 1 < len(headings) else len(text)
            section = text[heading.end() : stop]
            return match(section) or notice(section)
    return None


def _cargo(text: str) -> Iterator[Any]:
    values = tomllib.loads(text)
    package = values.get("package", {})
    given = package.get("license")
    if given is None or isinstance(given, Mapping):
        given = values.get("workspace", {}).get("package", {}).get("license")
    yield given.replace("/", " OR ") if isinstance(given, str) else given


def _npm(text: str) -> Iterator[Any]:
    values = json.loads(text)
    given = values.get("license", values.get("licenses"))
    for one in given if isinstance(given, list) else [given]:
        yield one.get("type") if isinstance(one, Mapping) else one


def _pyproject(text: str) -> Iterator[Any]:
    values = tomllib.loads(text)
    project = values.get("project", {})
    given = project.get("license", values.get("tool", {}).get("poetry", {}).get("license"))
    if isinstance(given, Mapping):
        given = given.get("text")
    if given is not None:
        yield given
        return
    for classifier in project.get("classifiers", []):
        if classifier.startswith("License :: OSI Approved :: "):
            yield classifier.rpartition(" :: ")[2]


_MANIFESTS: Final[Mapping[str, Callable[[str], Iterator[Any]]]] = {
    "Cargo.toml": _cargo,
    "composer.json": _npm,
    "package.json": _npm,
    "pyproject.toml": _pyproject,
}
MANIFESTS: Final = tuple(_MANIFESTS)
_MAX_FIELD_CHARS: Final = 200


def manifest(name: str, text: str) -> str | None:
    """What the manifest of that name says in its field; several are a choice."""
    try:
        given = [one for one in _MANIFESTS[name](text) if one is not None]
    except (ValueError, AttributeError, TypeError, RecursionError):  # a user's file, of any shape
        return None
    found = []
    for one in given:
        if not isinstance(one, str) or len(one) > _MAX_FIELD_CHARS:
            return None
        spelled = expression(one) or _in_few_words(one)
        if spelled is None:
            return None
        found.append(spelled)
    if len(found) > 1 and any(" " in one for one in found):
        return None
    return " OR ".join(sorted(set(found))) or None
