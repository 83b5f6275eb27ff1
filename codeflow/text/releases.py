"""Subjects that tell of new version numbers, of the project or of what it depends on, and of
nothing else; and those that a host proposed.

Filters drop such changes, and the miner of spans gives such steps no credit: one definition for
both. A subject is read without its conventional prefix (`chore(deps): ...`) and with it.
"""

from __future__ import annotations

import re
from typing import Final

_WIDE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_WIDE}]|[^\W\d_{_WIDE}]+")
_PREFIX: Final = re.compile(r"\w[\w -]{0,20}(?:\([^)]*\))?!?: +")  # chore(release): ...

_VERSION: Final = (
    r"(?:[vr]|rel[-_]?)?\d+(?:[._]\d+)+(?:\.x)?"
    r"(?:[-._+~ ]?(?:a|b|m|c|rc|alpha|beta|dev|pre|preview|post|snapshot|final|release|ga|sp)"
    r"[-.]?\d*(?:\.\d+)*)*"
)
_NAMED_VERSION: Final = re.compile(
    rf"\W*(?:[\w.@/+-]+[-_ @/])?{_VERSION}\W*", re.IGNORECASE
)  # 1.2.3, express 4.0, grep-regex-0.1.7
_ANY_VERSION: Final = re.compile(rf"(?<![\w.]){_VERSION}(?![\w])", re.IGNORECASE)
_RELEASE_WORDS: Final = frozenset(
    """a actually add added adds advance again and back begin beginning bump bumped bumping bumps
    candidate change changed changelog changes chore commit cut cutting date dev development
    entry final finalize for go goes history in increase increment incremented is it iteration
    its just latest let lib library major mark master minor module new news next now number
    numbers of one only package patch pom post pre prepare prepared prepares preparing project
    publish push pushed ready release released releases releasing roll s set setting snapshot
    stable start started starting starts string tag tagging the this to towards up update
    updated updates updating upgrade version versions we with""".split()  # noqa: SIM905
)
_OF_RELEASE: Final = frozenset("release released releases releasing version versions".split())  # noqa: SIM905

# of "update" the versions need dots: "Update the timeout from 10 to 30" is a change
_FROM_TO: Final = re.compile(
    r"(?:bump|upgrade)s? \S+(?: \S+)? from \S*\d\S* to \S*\d\S*(?: in /\S*)?\W*"
    r"|(?:update|pin)s? .* from \S*\d\.\d\S* to \S*\d\.\d\S*(?: in /\S*)?\W*",
    re.IGNORECASE,
)
_ONE_TO: Final = re.compile(
    rf"\W*(?:(?:bump|bumped|upgrade|upgraded|update|updated|pin)s? )?"
    rf"(?:[\w.@/+-]+ (?:dep|dependency|version|module|action|submodule)? ?)?"
    rf"(?:to |-> ?|=> ?|[@=~^><]+ ?)?(?:version )?(?:\S+@)?[~^]?{_VERSION}\W*",
    re.IGNORECASE,
)
_ONE_DEPENDENCY: Final = re.compile(
    rf"(?:now )?(?:depends? on|requires?) [\w.@/+-]+ *(?:[~^]|[<>=]=?)? *{_VERSION}\W*"
    r"|(?:bump|update|upgrade)[sd]? [\w.@/+-]+ dep(?:s|endency|endencies)?\W*",
    re.IGNORECASE,
)
_DEPENDENCY: Final = re.compile(r"(?:dev)?-?dep(?:s|endenc(?:y|ies))?", re.IGNORECASE)
_DEPENDENCY_WORDS: Final = frozenset(
    """a all and build bump bumped chore dev everything for go in latest lock lockfile minimal
    minimum minor misc module modules new npm of our outdated package packages patch pin project
    refresh requirements some the to update updated updates updating upgrade upgraded upgrades
    upgrading version versions""".split()  # noqa: SIM905
)

# What renovate says of one dependency: the version needs no dot where it is called what it is.
# "Update retries to 3" and "Update API to v2" are changes.
_UPDATE_TO: Final = re.compile(
    r"(?:update|bump|upgrade) (?:(?:dependency|module|plugin|action) [\w.@/:+-]+"
    r"|[\w.@/:+-]+ (?:monorepo|digest|action|docker tag)) to (?:v?\d[\w.+-]*|[0-9a-f]{7,40})"
    r"(?: \[security\])?\W*",
    re.IGNORECASE,
)
# What the web editors of hosts propose; a body may still say something.
_PROPOSED: Final = re.compile(
    r"\W*(?:updated?|created?|deleted?|edit) (?:the )?"
    r"(?:[\w@-]*(?:\.[\w-]+)+|\S*/\S*\.\w+|readme|license|contributing|changelog)"
    r"(?: file)?\W*|(?:add|upload) new file|\S+ (?:edited|created|deleted) online with bitbucket",
    re.IGNORECASE,
)


def without_prefix(line: str) -> str:
    """`Release 2.0` of `chore(release): Release 2.0`."""
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix else line


def is_version_bump(line: str) -> bool:
    """Whether a subject tells of a new version number and of nothing else."""
    # both: "chore: 1.2" says what the prefix does not, "Bump version: 1.1 -> 1.2" with it
    return _tells_of_version(without_prefix(line)) or _tells_of_version(line)


def _tells_of_version(line: str) -> bool:
    if _NAMED_VERSION.fullmatch(line) or "[maven-release-plugin]" in line:
        return True
    rest, versions = _ANY_VERSION.subn(" ", line)
    words = [word.lower() for word in _WORD.findall(rest)]
    if not words or len(words) > 12 or not _RELEASE_WORDS.issuperset(words):
        return False
    return versions > 0 or not _OF_RELEASE.isdisjoint(words)


def is_dependency_bump(line: str) -> bool:
    """Whether a subject tells of new versions of dependencies and of nothing else."""
    rest = without_prefix(line)
    if any(known.fullmatch(rest) for known in (_FROM_TO, _ONE_TO, _ONE_DEPENDENCY, _UPDATE_TO)):
        return True
    words = [word.lower() for word in _WORD.findall(line)]
    other = [word for word in words if not _DEPENDENCY.fullmatch(word)]
    return len(other) < len(words) and _DEPENDENCY_WORDS.issuperset(other)


def is_proposed(line: str) -> bool:
    """Whether a subject is what a host's web editor proposes: `Update README.md`."""
    return _PROPOSED.fullmatch(without_prefix(line)) is not None
