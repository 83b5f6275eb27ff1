"""The licence of a tree, as an SPDX expression, and where that was read; None when unsure.

What counts, in this order: the licence files in the root folder (a tag in their head, a text, a
notice); if there are none, the field of a manifest (`Cargo.toml`, `package.json`,
`pyproject.toml`, `composer.json`); then the section "License" of the README. A licence file that is
not understood ends it: a manifest that says "MIT" beside terms of one's own proves nothing. Several
licences in files that are named for them are a choice; so are others when a manifest or the README
says so. A file of third parties' notices is about others' code and no doubt.

Cost: see `license_texts`; callers remember by blob id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from codeflow_miners.snapshots import license_names, license_texts

_MAX_BYTES: Final = 1 << 17
_FILE: Final = re.compile(
    r"(?:(?:un)?licen[cs]es?|copying|(?:mit|bsd|apache|gpl|lgpl|mpl|isc)[-_.]licen[cs]e)"
    r"(?P<suffix>(?:[-_.][\w.+-]*?)?)(?:\.(?:txt|md|rst|markdown|adoc))?",
    re.IGNORECASE,
)
_CODE_ENDING: Final = re.compile(
    r"\.(?:py|js|json|xml|ya?ml|toml|html?|c|h|go|rb|java|sh|tmpl|in|header|pdf|rtf)$",
    re.IGNORECASE,
)
_README: Final = re.compile(r"readme(?:\.(?:md|rst|txt|markdown|adoc))?", re.IGNORECASE)
# What follows the file's name in a dual licence names the licence itself: LICENSE-APACHE.
_NAMES_A_LICENSE: Final = re.compile(
    r"[-_.](?:apache|mit|bsd|isc|zlib|mpl|gpl|lgpl|agpl|boost|bsl|0bsd|cc0|unlicense|epl|upl)"
    r"[-_.v\d]*",
    re.IGNORECASE,
)
_OF_THIRD_PARTIES: Final = re.compile(
    r"[-_.](?:third|3rd)[-_.]?part(?:y|ies)(?:[-_.]\w+)*|[-_.](?:vendor(?:ed)?|bundled|dependencies)",
    re.IGNORECASE,
)
_POINTER: Final = re.compile(
    rb"\b(?:dual|double)[- ]licen[cs]ed\b|\bof[ *_]+either[ *_]+of\b", re.IGNORECASE
)
_POINTER_BYTES: Final = 600


class License(NamedTuple):
    """What a tree is licensed under.

    `source` is `tag`, `text`, `notice` or `manifest`, a colon, and the files that said it, with
    commas between.
    """

    expression: str
    source: str


def license_files(names: Iterable[str]) -> list[str]:
    """Which of a tree's top-level names are licence files, sorted."""
    return sorted(name for name in names if _FILE.fullmatch(name) and not _CODE_ENDING.search(name))


def evidence_files(names: Iterable[str]) -> list[str]:
    """Which top-level names `license_of_tree` may read, sorted."""
    names = list(names)
    others = [n for n in names if n in license_names.MANIFESTS or _README.fullmatch(n)]
    return sorted([*license_files(names), *others])


def license_of_text(text: bytes) -> str | None:
    """SPDX id (or expression, when the text is tagged with one) of one licence file."""
    found = _read(text)
    return None if found is None else found[0]


@lru_cache(maxsize=64)
def _read(text: bytes) -> tuple[str, str] | None:
    """The licence that a licence file gives, and how: `tag`, `text` or `notice`."""
    decoded = _decoded(text)
    if decoded is None:
        return None
    if tags := set(license_names.tags(decoded)):
        tag = license_names.expression(tags.pop()) if len(tags) == 1 else None
        return None if tag is None else (tag, "tag")
    if (matched := license_texts.match(decoded)) is not None:
        return matched, "text"
    noticed = license_names.notice(decoded)
    return None if noticed is None else (noticed, "notice")


def _decoded(text: bytes) -> str | None:
    if len(text) > _MAX_BYTES or b"\0" in text:
        return None
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def license_of_tree(files: Mapping[str, bytes]) -> License | None:
    """The licence of a tree from its top-level files, `{name: content}`; reads few of them."""
    found: dict[str, tuple[str, str]] = {}
    for name in license_files(files):
        if _is_of_third_parties(name) or _is_pointer(files[name]):
            continue
        read = _read(files[name])
        if read is None:
            return None
        found[name] = read
    if not found:
        return next(_said_elsewhere(files), None)
    ids = {identifier for identifier, _ in found.values()}
    files_said = ",".join(found)
    hows = {how for _, how in found.values()}
    source = f"{hows.pop() if len(hows) == 1 else 'text'}:{files_said}"
    if len(ids) == 1:
        return License(ids.pop(), source)
    if ids == {"GPL-3.0", "LGPL-3.0"}:
        return License("LGPL-3.0", source)
    if any(" " in one for one in ids):
        return None
    if all(map(_is_named_for_a_license, found)):
        return License(" OR ".join(sorted(ids)), source)
    for said in _said_elsewhere(files):
        if set(re.split(r" OR | AND ", said.expression.strip("()"))) == ids:
            return License(said.expression, f"{said.source},{files_said}")
    return None


def _said_elsewhere(files: Mapping[str, bytes]) -> Iterator[License]:
    """What manifests say if they agree, and what the README says."""
    said = {}
    for name in license_names.MANIFESTS:
        text = _decoded(files[name]) if name in files else None
        if text is not None and (given := license_names.manifest(name, text)) is not None:
            said[name] = given
    if len(set(said.values())) == 1:
        yield License(next(iter(said.values())), f"manifest:{','.join(said)}")
    elif said:
        return
    for name in sorted(files):
        if _README.fullmatch(name) and (text := _decoded(files[name])) is not None:
            given = license_names.readme(text)
            if given is not None:
                yield License(given, f"notice:{name}")


def _is_pointer(text: bytes) -> bool:
    """Whether a text only says that there is a choice."""
    return len(text) <= _POINTER_BYTES and _POINTER.search(text) is not None


def _is_of_third_parties(name: str) -> bool:
    match = _FILE.fullmatch(name)
    return match is not None and _OF_THIRD_PARTIES.fullmatch(match["suffix"]) is not None


def _is_named_for_a_license(name: str) -> bool:
    if name.lower().startswith(("unlicen", "mit", "bsd", "apache", "gpl", "lgpl", "mpl", "isc")):
        return True
    match = _FILE.fullmatch(name)
    return match is not None and _NAMES_A_LICENSE.fullmatch(match["suffix"]) is not None
