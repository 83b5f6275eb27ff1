"""What a triple's messages say: what a commit says of itself, and what it brings in.

`messages[k]` of a triple is the cleaned message of its k-th commit; for a merge the subjects it
brings in follow. A history made of pull requests consists of merges whose first line says nothing
("Merge pull request #1 from x"), so a merge is read by what is below that line and by what it
brings in. `texts` gives those parts. Filters judge them, and `instruction` is what a model is told:
both look at the same words.
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


# What tells that something happened while a change was made, and not what it is.
_HAPPENED: Final = r"""
    (?:(?:more|small|minor|some|another|final|last|a|few|the|other|tiny|quick)\ (?=\w))*
    (?:
        wip | tmp | temp | todo | done | oops | again | ditto | \.+ | -+ | save | progress | push
      | (?:fix(?:e[sd]|up|ups|ing)?|repair)
        (?:\ (?:up|it|this|that|again|more|bugs?|issues?|errors?|typos?|test|tests|the\ tests?|build
          |the\ build|ci|lint(?:er|ing|ers)?|ktlint|formatting|style
          |(?:lint|build|test|ci|compile|type|mypy|clippy|eslint|flake8|rubocop)
            \ (?:errors?|failures?|issues?|warnings?)))*
      | clean(?:\ |-)?ups? | cleaning(?:\ up)? | tidy(?:\ up)? | polish | nits? | typos?
      | lint(?:ing)? | format(?:ting)?(?:\ code)? | reformat | style
      | (?:run\ )?(?:prettier|black|gofmt|rustfmt|spotless|the\ formatter)
      | (?:address|apply|incorporate|handle|resolve)(?:ed|es|ing)?
        (?:\ (?:pr|code|review|reviewer|more|the|some|your|all))*
        \ (?:comments?|feedback|suggestions?|remarks?|review|nits?)
      | (?:pr|code|review|reviewer)(?:\ review)?
        \ (?:comments?|feedback|suggestions?|nits?|changes|fixes)
      | apply\ suggestions\ from\ code\ review | review | self[ -]review
      | updates?(?:\ (?:again|it|code|files?))? | changes? | tweaks? | improvements? | tests?
      | (?:trigger|re-?run)\ (?:ci|build|tests?)
      | revert(?:ed)?\ (?:that|this|last\ commit)
    )\W*\Z"""
_NOISE: Final = re.compile(
    rf"[*-]\ +(?:{_HAPPENED}|(?:merge|rebase)(?:[ds]|ing)?\b.*\Z)", re.IGNORECASE | re.VERBOSE
)
# Subjects as empty as those lines, and those that a tool writes over every change of a project.
_NOTHING: Final = re.compile(
    rf"""\W*(?:
      {_HAPPENED}
    | (?:(?:a|an|and|bunch|couple|few|final|last|lots?|minor|misc(?:ellaneous)?|more|new|of|other
        |quick|random|several|slight|small|some|the|tiny|trivial|various)[\ ,/&+-]+)*
      (?:bug\ ?fix(?:e[sd])?|bugs?|changes?|clean[ -]?ups?|code|corrections?|edits?|enhancements?
        |fix(?:e[sd])?|fixups?|formatting|improvements?|issues?|polish(?:ing)?|refactor(?:ing|ings|s)?
        |stuff|things?|tweaks?|typos?|updates?|work)
      (?:[\ ,/&+-]+(?:and\ |more\ |other\ |minor\ |small\ |some\ )*(?:bug\ ?fix(?:es)?|changes?
        |clean[ -]?ups?|corrections?|edits?|enhancements?|fix(?:es)?|formatting|improvements?
        |polish(?:ing)?|refactor(?:ing|ings|s)?|stuff|things?|tests?|tweaks?|typos?|updates?))*
    | (?:googletest|abseil\w*|automated|code|copybara|google\w*|internal|opensource|piper|project
        |public)\ (?:export|import|changes?)
    | (?:project\ )?import\ (?:of\ \S+\ |generated\ )?(?:by|from)\ (?:copybara|gerrit|google3|piper)
    | no\ public\ description
    | (?:automated\ )?(?:code\ )?changes?\ (?:from|by)\ (?:copybara|google3)
    )\W*\Z""",
    re.IGNORECASE | re.VERBOSE,
)
_REFERENCE: Final = re.compile(
    r"^[ \t]*(?:[\w-]+: *\S+|(?:see|closes?d?|fix(?:e[sd])?|resolve[sd]?|refs?|merge request)\b"
    r"[^\n]{0,40}[#!]\d+)[ \t.]*$",
    re.IGNORECASE | re.MULTILINE,
)
_BULLET: Final = re.compile(r"[*-] ")


def subject(text: str) -> str:
    """The first paragraph on one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def title(text: str) -> str:
    """The subject without the numbers of pull requests that hosts put behind it."""
    line = subject(text)
    while (match := _NUMBER.search(line)) is not None and match.start():
        line = line[: match.start()]
    return line


def says_nothing(line: str) -> bool:
    """Whether a title would fit any change: `Minor fixes`, `Address review comments`."""
    return _NOTHING.match(line) is not None


def body(text: str) -> str:
    """What a message says below its subject line, without noise and bare references."""
    return _REFERENCE.sub("", without_noise(text.strip()).partition("\n")[2]).strip()


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


def instruction(messages: Sequence[Sequence[str]]) -> str:
    """What the commits of a triple were to do, in their own words, to show to a model.

    Of each commit its text; of a merge what is below its first line, then what it brings in, a line
    each, and not the line that says that it is a merge. Without any of that, what there is.
    """
    told = []
    for message in messages:
        below = _below_merge(message)
        own = without_noise(below)
        said = {_bare(line) for line in own.split("\n")}
        brought = [text for text in texts(message)[1 if below else 0 :] if _bare(text) not in said]
        parts = [part for part in (own, "\n".join(dict.fromkeys(brought))) if part]
        told.append("\n\n".join(parts) or (message[0] if message else ""))
    return "\n\n".join(text for text in told if text)


def _bare(line: str) -> str:
    """A line by which to tell whether it was said already."""
    return title(line).strip(" .*-").lower()


def without_noise(text: str) -> str:
    """A squash's message without the lines of its list that say nothing: `* Fix`, `* Cleanup`.

    Where nothing of a list is left, its heading paragraph is: the subject stays in any case.
    """
    first, _, body = text.partition("\n")
    if not any(_BULLET.match(line) for line in body.split("\n")):
        return text
    kept: list[str] = []
    for line in body.split("\n"):
        if _NOISE.match(line):
            continue
        if line.strip() or not kept or kept[-1].strip():
            kept.append(line)
    return "\n".join([first, *kept]).rstrip()
