"""Merges that are bookkeeping and no one's piece of work, by their subjects."""

from __future__ import annotations

import re
from typing import Final, Literal

_NAME: Final = re.compile(
    r"""Merge\ (?P<remote>remote-tracking\ )?branch(?:es)?\ '(?P<branch>[^']+)'
    | Merge\ (?:pull\ request|PR)\ \#\d+\ from\ (?P<request>\S+)
    | Merged\ in\ (?P<bitbucket>\S+)\ \(pull\ request
    | Merge\ (?P<tag>tag)\ '
    """,
    re.VERBOSE,
)
_VERSION: Final = r"v?\d+(?:[._](?:\d+|x))*"
_RELEASE: Final = re.compile(
    rf"""(?:^|.*/)(?:
      (?:releases?|rel|stable|maint|maintenance|support|lts|oldstable)(?:[-_/.]?{_VERSION})?
    | v?\d+(?:[._](?:\d+|x))+(?:[-_.]?(?:x|stable|branch|maint|maintenance|release|lts|rc\d*|dev))?
    | (?:{_VERSION}[-_.])(?:stable|branch|maint|maintenance|release|lts)
    )$ | (?:^|/)releases?/""",
    re.VERBOSE | re.IGNORECASE,
)
# A branch that is to be merged by a request may be called by a version that it only uses.
_RELEASE_REQUEST: Final = re.compile(
    rf"(?:^|/)(?:releases?|rel|stable|maint|maintenance|lts)(?:[-_/.]?{_VERSION}.*)?$"
    r"|(?:^|/)releases?[-_/.]",
    re.IGNORECASE,
)
_MAIN: Final = r"(?:master|main|trunk|develop|development|dev|default|next|HEAD)"
_MAIN_NAME: Final = re.compile(rf"(?:(?:refs/heads|refs/remotes|origin|upstream)/)*{_MAIN}$")
# Of another remote than these it is somebody's contribution; mining cuts whose it was.
_OUR_MAIN: Final = re.compile(rf"(?:refs/remotes/)?(?:origin|upstream)/{_MAIN}$")
_SYNC: Final = re.compile(
    rf"sync(?:ed|ing|hroni[sz]\w*)?\b.*\b(?:with|from|up|upstream|{_MAIN})\b"
    rf"|(?:back-?)?merge (?:(?:from|with|changes from|latest|in) )*(?:upstream|{_MAIN})\b",
    re.IGNORECASE,
)


def bookkeeping(subject: str) -> Literal["release", "sync"] | None:
    """What a merge's subject says that it brings in, where that is no piece of work.

    Returns:
        `release`: a tag, or a branch of releases or maintenance; `sync`: one main branch, or
        another repository's, into this one; None for anything else.
    """
    named = _NAME.search(subject)
    name: str = (named and (named["branch"] or named["request"] or named["bitbucket"])) or ""
    release = _RELEASE if named and named["branch"] else _RELEASE_REQUEST
    if named and (named["tag"] or release.search(name)):
        return "release"
    main = _OUR_MAIN if named and named["remote"] else _MAIN_NAME
    if (named and named["branch"] and main.match(name)) or _SYNC.match(subject):
        return "sync"
    return None
