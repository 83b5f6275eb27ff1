"""How the filters read a triple's messages: what a commit says of itself, and what it brings in.

`messages[k]` of a triple is the cleaned message of its k-th commit; for a merge the subjects it
brings in follow. A history made of pull requests consists of merges whose first line says nothing
("Merge pull request #1 from x"), so a merge is read by what is below that line and by what it
brings in. `texts` gives those parts; the rules of `message` and `reverts` look at nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# Sure forms, for messages of which nothing says that they are a merge's.
_MERGE: Final = re.compile(
    r"\W*(?:(?:Auto|Rollup) merge of |Merged? (?:pull request|PR|branch|branches|tag|commit|commits"
    r"|remote|remote-tracking|changes|upstream|master|main|trunk|from|in(?! place\b)|with|origin"
    r"|https?:)\b)"
    r"|\W*(?:merged?|merging)\W*\Z",
    re.IGNORECASE,
)
_ANY_MERGE: Final = re.compile(r"\W*(?:\w+ )?merg(?:e|ed|es|ing)\b|\W*Resolve.*conflict", re.I)
_CONFLICTS: Final = re.compile(r"^[# \t]*Conflicts:?\n(?:#?[ \t]+.*(?:\n|\Z)|#.*(?:\n|\Z))*", re.M)
_NUMBER: Final = re.compile(r"[ \t]*(?:\((?:closes |fixes |see )?#\d+\)|\[#\d+\])[.]?\Z", re.I)


def subject(text: str) -> str:
    """The first paragraph on one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def title(text: str) -> str:
    """The subject without the numbers of pull requests that hosts put behind it."""
    line = subject(text)
    while (match := _NUMBER.search(line)) is not None and match.start():
        line = line[: match.start()]
    return line


def texts(message: Sequence[str]) -> tuple[str, ...]:
    """What one commit says: its message, or, of a merge, all that is not the merge itself.

    Empty for a merge without content, and for a commit without a message.
    """
    own = _below_merge(message)
    brought = tuple(text for text in message[1:] if not _MERGE.match(text))
    return (own, *brought) if own else brought


def own_text(message: Sequence[str]) -> str | None:
    """What speaks for a commit as a whole: its text, or the one subject that a merge brings in.

    None where nothing does: a merge of several changes under no name.
    """
    parts = texts(message)
    return parts[0] if len(parts) == 1 or _below_merge(message) else None


def _below_merge(message: Sequence[str]) -> str:
    """The first message, without the line and the list of conflicts that make it a merge's."""
    own = message[0] if message else ""
    if "onflicts" in own:
        own = _CONFLICTS.sub("", own)
    merge = _ANY_MERGE if len(message) > 1 else _MERGE
    return (own.partition("\n")[2] if merge.match(own) else own).strip()


def is_merge(message: Sequence[str]) -> bool:
    """Whether a commit's message is a merge's."""
    return len(message) > 1 or (len(message) == 1 and _MERGE.match(message[0]) is not None)
