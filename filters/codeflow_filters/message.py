"""`message`: drops changes whose commit messages say nothing of what was done.

After CommitPackFT (OctoPack, arXiv 2308.07124): a subject of 10 to 1,000 characters, at least five
words; no merges, version bumps, "wip" and automatic messages. Words here are runs of letters (or
single Han, Kana and Hangul characters) in the whole message; names count by their parts, so
`res.json()` and `ClassRules` are two, and a body helps a short subject. The default is three: many
a message of four is as good as "refactored `res.redirect()` slightly". `strict` takes five.

A merge is judged by its own text and by the subjects it brings in; one good one is enough. One that
brings three and more changes of a release or a main branch along is no one's piece of work (of 263
in an audited history 70 % held unrelated changes) and goes. A triple of many commits stays if at
least `min_share` of them have a good message. A bump of a dependency beside which code of one's own
was changed (5 lines and more, vendored files apart) is no bump, but what the new version asked for.

Cost: 30 µs a commit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from codeflow.config import require_within
from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.records import FileChange
from codeflow.text.merges import bookkeeping
from codeflow.text.messages import body, is_merge, says_nothing, subject, texts, title
from codeflow.text.releases import is_dependency_bump, is_proposed, is_version_bump, without_prefix
from codeflow.triple import Triple

_WIDE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_HUMP: Final = re.compile(rf"[{_WIDE}]|[A-Z]?[^\W\d_A-Z{_WIDE}]+|[A-Z]+")  # of a camelCase name
_WIDE_LETTER: Final = re.compile(rf"[{_WIDE}]")
_URL: Final = re.compile(r"https?://\S+")
_ADAPTED_LINES: Final = 5  # a version in a constant is two
_SEVERAL: Final = 3  # of two that a release brings along, half belong together
_READ_CHARACTERS: Final = 4000  # of a message, to count its words

_WIP: Final = re.compile(
    r"\W*(?:wip\b|work in progress\b|(?:fixup|squash|amend)!|(?:tmp|temp) commit\b|dnm\b"
    r"|do not merge\b|checkpoint\W*\Z)",
    re.IGNORECASE,
)
_MERGED: Final = re.compile(r"\(#\d+\)\s*\Z")
_WIP_LATER: Final = re.compile(r"[\[(]wip[\])]|\bwip\W*\Z", re.IGNORECASE)

_AUTOMATIC: Final = re.compile(
    r"""\W*(?:
      add(?:ed)?\ files\ via\ upload
    | (?:initial|first)\ (?:commit|import|revision|checkin|version)\W*\Z
    | auto(?:matic(?:ally)?|mated)?[ -]?
      (?:commit|generated|update[sd]?|sync|publish|format|backup)\b
    | (?:this\ commit\ was\ )?(?:manufactured|(?:auto[ -]?|automatically\ )?generated)\ by\b
    | commit\ from\ github\ actions
    | deploy(?:ing)?\ to\ (?:gh-pages|github\ pages)
    | appl(?:y|ied)\ (?:automatic\ changes|suggestions?\ from\ code\ review)\W*\Z
    | (?:translated\ using\ weblate|new\ crowdin|update(?:d)?\ translations\W*\Z)
    | \[?pre-commit(?:\.ci)?\]?\ auto
    | (?:re-?)?generated?\ (?:files?|docs?|documentation|assets)\W*\Z
    | sync(?:ed|hroni[sz]ed)?\ (?:from|with)\ (?:upstream|master|main|trunk)\W*\Z
    | (?:no|empty|missing)\ (?:commit\ |log\ )?message
    | empty\ commit
    )""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Message:
    """Drops a triple when too few of its commits have a message that says something."""

    min_chars: int = 10
    max_subject_chars: int = 1000
    min_words: int = 3
    min_share: float = 0.33

    why: ClassVar[str] = "messages that say nothing: too short, wip, version bumps, automatic ones"
    reasons: ClassVar[Mapping[str, str]] = {
        "too-short": "the message is too short to say what was done",
        "too-long": "the subject is so long that it is no subject",
        "no-message": "there is no message",
        "merge": "a merge that says nothing of what it brings in",
        "wip": "unfinished by its own words: wip, fixup, a checkpoint",
        "version-bump": "a new version number and nothing else",
        "dependency-bump": "new versions of dependencies and nothing else",
        "says-nothing": "a message that would fit any change, as `minor fixes`",
        "release-merge": "a merge of a branch of releases or maintenance: several changes at once",
        "sync-merge": "a merge of one main branch into another: several changes at once",
        "auto-generated": "the message was written by a program or left as it was proposed",
    }
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"files", "messages"})

    def __post_init__(self) -> None:
        require_within(
            self,
            min_chars=(0, math.inf),
            max_subject_chars=(1, math.inf),
            min_words=(0, math.inf),
            min_share=(0, 1),
        )

    def __call__(self, triple: Triple) -> Verdict:
        found = [self._judge(message) for message in triple.messages]
        if found == ["dependency-bump"] and _adapts(triple.files):
            return keep()
        bad = [(reason, k) for k, reason in enumerate(found) if reason is not None]
        if len(found) - len(bad) >= self.min_share * len(found):
            return keep()
        reason = Counter(reason for reason, _ in bad).most_common(1)[0][0]
        first = next(k for found_reason, k in bad if found_reason == reason)
        return drop(reason, _detail(triple.messages[first]))

    def _judge(self, message: Sequence[str]) -> str | None:
        """Why one commit's message is no good; None if it is."""
        parts = texts(message)
        if not parts:
            return "merge" if is_merge(message) else "no-message"
        reasons = [self._reason(text) for text in parts]
        what = bookkeeping(subject(message[0])) if len(message) > 2 else None
        if what is not None:
            good = (text for text, why in zip(parts, reasons, strict=True) if why is None)
            if len({title(text) for text in good if text in message[1:]}) >= _SEVERAL:
                return "release-merge" if what == "release" else "sync-merge"
        return None if None in reasons else reasons[0]

    def _reason(self, text: str) -> str | None:
        line = title(text)
        first = text.strip().partition("\n")[0]
        merged = _MERGED.search(first)  # squashed: it was done when it was merged
        if (_WIP.match(line) or _WIP_LATER.search(line)) and not merged:
            return "wip"
        if is_version_bump(line):
            return "version-bump"
        if is_dependency_bump(line):
            return "dependency-bump"
        if _AUTOMATIC.match(line):
            return "auto-generated"
        if is_proposed(line) and self._too_few(body(text)):
            return "auto-generated"
        if len(subject(text)) > self.max_subject_chars:
            return "too-long"
        width = len(text) if text.isascii() else len(text) + len(_WIDE_LETTER.findall(text))
        if width < self.min_chars or self._too_few(text):
            return "too-short"
        return (
            "says-nothing"
            if says_nothing(without_prefix(line)) and self._too_few(body(text))
            else None
        )

    def _too_few(self, text: str) -> bool:
        text = text[:_READ_CHARACTERS]
        if "://" in text:
            text = _URL.sub("", text)
        return len(_HUMP.findall(text)) < self.min_words


def _adapts(files: Sequence[FileChange]) -> bool:
    """Whether code of one's own follows a dependency: more than a number in it changes."""
    own = (c for c in files if c.file_kind in ("source", "test") and not c.vendored)
    return sum(c.additions + c.deletions for c in own) >= _ADAPTED_LINES


def _detail(message: Sequence[str]) -> str | None:
    return subject(message[0])[:200] if message else None
