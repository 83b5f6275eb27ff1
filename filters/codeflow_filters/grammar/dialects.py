"""Texts that share a language's file names and are not that language.

Most dialects have names of their own in the column `language` (zsh is no Bash). These show only in
the text, or in the path: they are never judged by the language's grammar, whichever errors it sees.

* Templates: a page, a script or a module with holes that another program fills.
* zsh without its name, in a `.sh` that zsh sources or that takes it for one of two.
* Python 2, which no parser of today's Python reads.
* Files that tests are made of: what a parser's test feeds it has to be wrong at times.

Cost: a search over a path; over a text only where a grammar found new errors.
"""

from __future__ import annotations

import re
from typing import Final

_TEMPLATE: Final = re.compile(
    rb"\{%[-+~]?\s*[a-z]\w*\b[^%\n]*%\}"  # Jinja, Twig, Liquid, cookiecutter
    rb"|\{\{[-~#/^]?\s*[\w.$]+(?:\s*\|[^{}\n]*)?\s*[-~]?\}\}"  # those, Go's and Mustache
    rb"|<%[-=#]?\s[^\n]*?%>|<%[-=]?\w[^\n]*?%>"  # ERB, EJS, JSP
    rb"|(?<![\w.])@[A-Z][A-Z0-9_]+@(?!\w)|%%[A-Z_]+%%|__[A-Z]+(?:_[A-Z]+)*__[ \t]*[({;,]"
)
_PYTHON_2: Final = re.compile(
    rb"^[ \t]*(?:print[ \t]+(?:[\w\"'`]|>>)|exec[ \t]+[\w\"']|raise[ \t]+[\w.]+[ \t]*,)"
    rb"|^[ \t]*except[ \t]+[\w.()]+[ \t]*,[ \t]*\w+[ \t]*:"
    rb"|(?<=[ =(,\[])0[0-7]+[lL]?(?=[,)\]\n])(?<![ =(,\[]0)|\b\d+[lL]\b|\b[uU][rR][\"']"
    rb"|[^<\n]<>[^>\n]"
    rb"|\bdef[ \t]+\w+\([^()\n]*\(",
    re.MULTILINE,
)
_ZSH: Final = re.compile(
    rb"\bZSH_VERSION\b|\bemulate\b.*\bzsh\b|^[ \t]*(?:zmodload|zstyle|setopt|compdef)\b"
    rb"|^[ \t]*autoload\b|\}[ \t]*always[ \t]*\{|\$\{\(",
    re.MULTILINE,
)
_MADE_FOR_TESTS: Final = re.compile(
    r"(?:^|/)(?:__)?fixtures?(?:__)?/|(?:^|/)test[-_]?(?:data|cases|files|suite|inputs?)/"
    r"|(?:^|/)(?:__)?(?:tests?|specs?)(?:__)?/(?:[^/]+/)*"
    r"(?:data|cases|ui|samples?|inputs?|corpus|corpora|snippets|resources|golden|snapshots?)/"
    r"|(?:^|[/._-])(?:invalid|malformed|unparsable|unparseable|(?:bad|broken|wrong|invalid)[-_.]?"
    r"(?:syntax|code|file|source|script)|(?:syntax|parse|parser|parsing)[-_.]?(?:error"
    r"|fail(?:ure)?)s?)"
    r"(?:[/._-]|$)",
    re.IGNORECASE,
)


def is_made_for_tests(path: str) -> bool:
    """Whether a file is what tests read, by its folders or its name; tests themselves are not."""
    return _MADE_FOR_TESTS.search(path) is not None


def is_dialect(language: str, text: bytes) -> bool:
    """Whether a text shows marks of something other than plain `language`."""
    if _TEMPLATE.search(text):
        return True
    other = {"Python": _PYTHON_2, "Shell": _ZSH}.get(language)
    return other is not None and other.search(text) is not None
