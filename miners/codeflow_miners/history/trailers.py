"""Trailers of a commit message: where git sees them, and lines like them elsewhere.

`block` is git's own rule (`git interpret-trailers --no-divider`, trailer.c), line for line: the
last paragraph, when every line of it is `key: value` or continues one, or a quarter are and one is
of git's own making; never the title, which is the first paragraph; and not what git passes over at
the end (comments, an old list of conflicts, what follows a scissors line).

Git takes a closing "Note: this matters" for a trailer as well, so `strip` removes a block only if
one of its keys is surely a trailer's: hyphenated (`Change-Id`) or well known (`Cc`). Squashed
commits carry trailers in the middle, where git sees none. There the *value* decides: a line goes
if its key credits someone (`Signed-off-by`, `Cc`) and its value is a person, or if it is a mark
that a machine left (`PiperOrigin-RevId: 12`). So "cc: accept a missing newline" and "group-by: keep
the order" stay. In the title only a whole list of addresses is taken for a credit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from codeflow.text.privacy import is_email

_BLANKS: Final = " \t\r"  # what git's isspace knows, within a line
_SCISSORS: Final = "# ------------------------ >8 ------------------------"
_GIT_MADE: Final = ("Signed-off-by: ", "(cherry picked from commit ")
_KEY: Final = re.compile(r"([A-Za-z0-9-]+)[ \t]*:")
_KNOWN_KEYS: Final = frozenset({"cc", "author", "committer", "link", "bug", "fixes", "closes"})

_MAX_BLOCKS: Final = 16  # each is looked for from the end of the message


def block(lines: Sequence[str]) -> tuple[int, int] | None:
    """The lines, from and up to, of the trailer block that git sees; None where it sees none."""
    end = _end(lines)
    trailers = others = continued = 0
    made = found = False
    for at in range(end - 1, -1, -1):
        line = lines[at]
        if line.startswith("#"):
            others += continued
            continued = 0
        elif not line.strip(_BLANKS):
            if not found:
                continue
            others += continued
            sees = (made and trailers * 3 >= others) or (trailers > 0 and not others)
            return (at + 1, end) if sees else None
        else:
            found = True
            if line.startswith(_GIT_MADE):
                trailers, continued, made = trailers + 1, 0, True
            elif _KEY.match(line) is not None:
                trailers, continued = trailers + 1, 0
            elif line[0] in _BLANKS:
                continued += 1
            else:
                others += 1 + continued
                continued = 0
    return None  # the first paragraph is the title


def _end(lines: Sequence[str]) -> int:
    """Where git stops reading: before closing blank lines, comments and a list of conflicts."""
    cut = next((k for k, line in enumerate(lines) if line == _SCISSORS), len(lines))
    end = 0  # none yet, and none at the first line, as in git
    conflicts = False
    for at in range(cut):
        line = lines[at]
        if line.startswith("#") or not line:
            end = end or at
        elif line == "Conflicts:":
            conflicts = True
            end = end or at
        elif not (conflicts and line[0] == "\t") and end:
            end, conflicts = 0, False
    return end or cut  # a message of nothing else is read whole


def strip(lines: Sequence[str]) -> list[str]:
    """The lines of a message without trailers, credits, marks of machines, lists of conflicts."""
    kept = _without_conflicts(lines)
    for _ in range(_MAX_BLOCKS):
        found = block(kept)
        if found is None or not any(map(_is_sure, kept[slice(*found)])):
            break
        del kept[slice(*found)]
    return [line for at, line in enumerate(kept) if not _names_people(line, is_title=at == 0)]


def _is_sure(line: str) -> bool:
    if line.startswith(_GIT_MADE):
        return True
    match = _KEY.match(line)
    return match is not None and ("-" in match[1].strip("-") or match[1].lower() in _KNOWN_KEYS)


_CONFLICTS: Final = re.compile(r"(# ?)?Conflicts:")


def _without_conflicts(lines: Sequence[str]) -> list[str]:
    """Without what git writes of a merge: `Conflicts:` and paths, commented out or not."""
    kept: list[str] = []
    indent: str | None = None  # of the paths of a list that has begun
    for at, line in enumerate(lines):
        if indent is not None and line.startswith(indent):
            if kept and _CONFLICTS.fullmatch(kept[-1]):
                kept.pop()
            continue
        match = _CONFLICTS.fullmatch(line) if at else None
        indent = None if match is None else "#\t" if match[1] else "\t"
        kept.append(line)
    return kept


# "Signed-off-by", "Patch by", "Co-authored-by"; and those that are no participles
_CREDITING: Final = re.compile(
    r"[ \t]*(?P<key>(?:[A-Za-z]+[- ]){1,4}by|cc|(?:co-)?authors?|committer)"
    r"[ \t]*:[ \t]*(?P<who>.*)",
    re.IGNORECASE,
)
_PARTICIPLE: Final = re.compile(
    r"(?:\w+[- ])*\w+(?:ed|found|seen)[- ](?:\w+[- ])*by", re.IGNORECASE
)
_NAME_WORD: Final = re.compile(r"[^\W\d_](?:[^\W_]|[.'’-])*,?|&|@[\w/-]+,?|[(<][^()<>]*[)>],?")
_NICKNAME: Final = re.compile(r"[\w.-]+")
_REMARK: Final = re.compile(r"[ \t]+[#(].*")  # "Cc: stable@kernel.org # 5.10 and later"
_PARTICLES: Final = frozenset(
    "van von der den de del della di da dos la le el al bin ibn and y".split()  # noqa: SIM905
)
_MAX_NAME_WORDS: Final = 8
_MACHINE: Final = re.compile(
    r"[ \t]*(?:(?:PiperOrigin|GitOrigin)-RevId: *[0-9a-f]+|Change-Id: *I?[0-9a-f]{8,40}"
    r"|git-svn-id: *\S+@\d+(?: \S+)?|Cr-Commit-Position: *\S+|Reviewed-on: *https?://\S+"
    r"|Differential Revision: *https?://\S+|(?:COPYBARA|MOE)[\w-]*: *\S+)"
)


def _names_people(line: str, *, is_title: bool) -> bool:
    """Whether the line credits someone, or is a mark of a machine."""
    match = _CREDITING.fullmatch(line)
    if match is None:
        return not is_title and _MACHINE.fullmatch(line) is not None
    who = match["who"].strip()
    if _lists_addresses(who):
        return True
    if is_title:
        return False
    words = who.split()
    named = len(words) <= _MAX_NAME_WORDS and all(map(_is_of_a_name, words))
    if _PARTICIPLE.fullmatch(match["key"]):  # where a nickname may stand, too
        return named or (len(words) == 1 and _NICKNAME.fullmatch(who) is not None)
    return named and words != [] and (len(words) > 1 or not who[0].islower())


def _lists_addresses(who: str) -> bool:
    """Whether all of it is people: names, each with an address."""
    people = [one for one in re.split(r"[,;]", _REMARK.sub("", who)) if one.strip()]
    return bool(people) and all("@" in one and _is_a_person(one.split()) for one in people)


def _is_a_person(words: Sequence[str]) -> bool:
    """`Ann Author <ann@x.org>`, or the address alone."""
    address, names = words[-1], words[:-1]
    if not address.startswith("<"):
        return not names and is_email(address)
    return len(words) <= _MAX_NAME_WORDS and not any("@" in word for word in names)


def _is_of_a_name(word: str) -> bool:
    bare = word.rstrip(",")
    if bare.lower() in _PARTICLES:
        return True
    return _NAME_WORD.fullmatch(word) is not None and not bare[0].islower()
