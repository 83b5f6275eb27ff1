"""`reverts`: drops reverts, and the changes that they take back.

A model should learn neither what was withdrawn nor how it went away (SWE-rebench and CommitPackFT
leave reverts out, too; neither looks for the originals). A revert says so in its subject, or its
body opens with git's "This reverts commit ID"; further down that line is one of many in a squashed
branch. A revert of a revert brings something back and stays.

The original is the commit of that id, or else the nearest one before the revert, on the
first-parent chain, with the quoted subject. It is most often in another triple, so the filter has a
step before the judging, `within`, which looks at all triples of a repository. Without it, only
what a triple knows of itself counts. Pairs that lie within one span cancel out and do not count; a
span goes when more than `max_share` of its commits take something back or are taken back.

Not seen: an original whose revert lies outside the mined window. Cost: 8 µs a commit.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, NamedTuple

from codeflow.config import require_within
from codeflow.contracts import Cost, RepositoryView, Verdict, drop, keep
from codeflow.text.messages import own_text, title
from codeflow.triple import Triple

_REACH: Final = 2000  # commits before a revert among which its original is looked for by subject
_SAYS: Final = re.compile(r"\W*(?:\w[\w -]*(?:\([^)]*\))?: +)?(?:revert(?:s|ed|ing)?)\b", re.I)
_QUOTED: Final = re.compile(r"\W*revert(?:s|ed|ing)?:? +[\"“'`](?P<title>.+?)[\"”'`]?\s*\Z", re.I)
_AGAIN: Final = re.compile(r"\W*(?:revert(?:s|ed|ing)?:?[ \"“'`]+){2}|\W*re-?appl(?:y|ies)\b", re.I)
_ID: Final = re.compile(r"^(?:This )?reverts commits? ([0-9a-f]{7,40})\b", re.MULTILINE | re.I)


class Said(NamedTuple):
    """What one commit says of taking back: whose id, or else which subject."""

    ids: tuple[str, ...]
    title: str | None
    again: bool  # it takes back a revert


def said(message: Sequence[str]) -> Said | None:
    """Reads a commit's message; None if it takes nothing back."""
    text = own_text(message)
    if text is None or ("evert" not in text and "pply" not in text):
        return None
    line = title(text)
    again = _AGAIN.match(line) is not None
    if not again and not _SAYS.match(line) and not _ID.match(text.partition("\n")[2].lstrip()):
        return None
    quoted = _QUOTED.match(line)
    ids = tuple(_ID.findall(text))
    return Said(ids, title(quoted["title"]) if quoted else None, again)


@dataclass(frozen=True)
class Reverts:
    """Drops reverts and their originals."""

    max_share: float = 0.5

    why: ClassVar[str] = "reverts, and the changes that a later revert takes back"
    reasons: ClassVar[Mapping[str, str]] = {
        "revert": "takes back an earlier change",
        "reverted": "a later revert takes it back",
    }
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"commits", "messages", "old_commit"})

    def __post_init__(self) -> None:
        require_within(self, max_share=(0, 1))

    def within(self, repository: RepositoryView) -> Callable[[Triple], Verdict]:
        """This filter, knowing all triples of one repository and with them who reverts whom."""
        return partial(self._judge, reverted_by(repository.triples(sorted(self.reads))))

    def __call__(self, triple: Triple) -> Verdict:
        return self._judge(reverted_by([triple]), triple)

    def _judge(self, reverted: Mapping[str, frozenset[str]], triple: Triple) -> Verdict:
        inside = frozenset(triple.commits)
        within = {id for id in inside if not inside.isdisjoint(reverted.get(id, ()))}
        cancelling = {revert for id in within for revert in reverted[id]}
        reverts = originals = 0
        detail = None
        for id, message in zip(triple.commits, triple.messages, strict=True):
            if id in within or id in cancelling:
                continue
            if id in reverted:
                originals += 1
                detail = detail or f"{id} is reverted by {min(reverted[id])}"
            elif (what := said(message)) is not None and not what.again:
                reverts += 1
                detail = detail or (title(message[0]) if message else None)
        if reverts + originals <= self.max_share * len(triple.commits):
            return keep()
        return drop("revert" if reverts >= originals else "reverted", detail)


def reverted_by(triples: Iterable[Triple]) -> dict[str, frozenset[str]]:
    """For each commit that others take back: those others. All triples are of one repository."""
    parents: dict[str, str] = {}
    messages: dict[str, Sequence[str]] = {}
    for triple in triples:
        before = triple.old_commit
        for id, message in zip(triple.commits, triple.messages, strict=True):
            parents[id], messages[id] = before, message
            before = id
    reverts = {id: what for id, message in messages.items() if (what := said(message)) is not None}
    if not reverts:
        return {}
    known = sorted(messages)
    found: dict[str, set[str]] = {}
    for id, what in reverts.items():
        originals = {_full(known, prefix) for prefix in what.ids} - {None}
        if not originals and what.title is not None:
            originals = {_by_title(id, what.title, parents, messages)} - {None}
        for original in originals - {id}:
            found.setdefault(str(original), set()).add(id)
    return {original: frozenset(ids) for original, ids in found.items()}


def _full(known: Sequence[str], prefix: str) -> str | None:
    """The one commit id that starts like this, if there is one."""
    at = bisect_left(known, prefix.lower())
    found = [id for id in known[at : at + 2] if id.startswith(prefix.lower())]
    return found[0] if len(found) == 1 else None


def _by_title(
    id: str, wanted: str, parents: Mapping[str, str], messages: Mapping[str, Sequence[str]]
) -> str | None:
    """The nearest commit before `id` with this subject."""
    for _ in range(_REACH):
        id = parents.get(id, "")
        if id not in messages:
            return None
        text = own_text(messages[id])
        if text is not None and title(text) == wanted:
            return id
    return None
