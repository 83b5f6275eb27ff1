"""Hostile text as a person may read it: whatever cannot be seen is shown as an escape (`\\x1b`).

Names, messages, contents and reasons come from strangers. Unescaped they could drive a terminal,
reorder a line, forge another one, or hide what they say. This is the one escape for all that a
person reads: progress, summaries, triples, problems, errors, notebooks, the report and the card.
Markup (HTML, rich) is a second matter, and its printer's.
"""

from __future__ import annotations

import re
from typing import Final

_MAY_BE_UNSEEN: Final = re.compile(r"[^\t\n -~]")
_NEVER_IN_A_LINE: Final = re.compile(r"[\t\n]")
# shown as nothing although Unicode calls them letters, marks or symbols
# (Default_Ignorable_Code_Point, and a Braille cell without dots)
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0"
    "\U000e0000-\U000e0fff]"
    # text or picture: seen where a sign has both forms, hidden behind any other letter
    "|(?<![#*0-9\xa9\xae\u203c-\u3299\U0001f000-\U0001faff])[\ufe0e\ufe0f]"
)
_MARKUP: Final = re.compile(r"[|<`\[]")


def visible(text: str) -> str:
    """The text with all that cannot be seen as escapes; line ends and tabs stay."""
    return _MAY_BE_UNSEEN.sub(_escaped_if_unseen, _BLANK.sub(_escaped, text))


def one_line(text: str) -> str:
    """As `visible`, in one line."""
    return _NEVER_IN_A_LINE.sub(_escaped, visible(text))


def markdown_cell(text: str) -> str:
    """As `one_line`, for a cell of a Markdown table: no markup, no further cell."""
    return _MARKUP.sub(lambda match: f"&#{ord(match.group())};", one_line(text))


def _escaped_if_unseen(match: re.Match[str]) -> str:
    letter = match.group()
    return letter if letter.isprintable() else _escaped(match)


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()
