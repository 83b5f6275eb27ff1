"""What no version of a language allows, seen in its text alone: the witness beside a grammar.

A grammar is not the language. `try!(f())` of older Rust, `defined?:` as a label of Ruby, a
conditional within a C# initializer and all of Flow are errors to tree-sitter's grammars, and
correct. So where no other parser of a language can be shipped, new errors of its grammar count only
if the text shows, without any grammar, that it is broken more than before:

* brackets that do not match, under each reading of its conditionals;
* literals that do not end;
* neighbours that cannot stand side by side in any version: `x = ;`, `$a->)`, `f(, 1)`;
* in Ruby, an `end` too many or too few;
* both marks of a merge that was not resolved.

Either witness may be deceived: the scan by a literal it does not know, the grammar by syntax newer
or older than itself. A drop needs both at once. The price: an error that shows in none of this,
such as a missing semicolon, goes unseen.

Cost: 10 to 40 MB/s, and only over files in which the grammar found new errors.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from codeflow_filters.grammar.brackets import (
    DIRECTIVE,
    Balance,
    plain,
    readings,
    worse_in_every_reading,
)

# No alternative fails after a long search, or a hostile file would make the scan quadratic: a
# literal may end with its mark or with what bounds it, and `_silence` looks which it was.
_LINE: Final = rb"//[^\n]*"
_BLOCK: Final = rb"/\*.*?(?:\*/|\Z)"
_QUOTED: Final = rb"\"(?:[^\"\\\n]|\\.)*+\"?|'(?:[^'\\\n]|\\.)*+'?"
_SPANNING: Final = rb"\"(?:[^\"\\]|\\.)*+\"?|'(?:[^'\\]|\\.)*+'?"
_BACKTICK: Final = rb"`(?:[^`\\]|\\.)*+`?"
# After these a slash begins a regular expression.
_REGEX: Final = (
    rb"(?:(?<=[(,=\[!&|?{};\n~>])|(?<=: )|(?<=\breturn)|(?<=\bwhen)|(?<=\bif)"
    rb"|(?<=\bunless))[ \t]*+/"
    rb"(?![/*=])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*+\]?)++/?[a-z]*"
)
_SCRIPT: Final = (_LINE, _BLOCK, _BACKTICK, _REGEX, _QUOTED)

_LITERALS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "C#": (
        _LINE, _BLOCK,
        rb"(?P<fence>\"{3,}).*?(?:(?P=fence)|\Z)",
        rb"(?:\$+@|@\$*)\"(?:[^\"]|\"\")*+\"?",
        _QUOTED,
    ),
    "Go": (_LINE, _BLOCK, rb"`[^`]*+`?", _QUOTED),
    "Java": (_LINE, _BLOCK, rb"\"\"\"(?:[^\\]|\\.)*?(?:\"\"\"|\Z)", _QUOTED),
    "JavaScript": _SCRIPT,
    "PHP": (
        rb"(?:\A|\?>).*?(?:<\?(?:php\b|=)?|\Z)",
        rb"\b__halt_compiler\b.*\Z",  # data follows
        rb"(?://|\#(?!\[))(?:(?!\?>)[^\n])*+",
        _BLOCK,
        rb"<<<[ \t]*[\"']?(?P<here>\w+)[\"']?\n.*?(?:^[ \t]*(?P=here)\b|\Z)",
        _SPANNING, _BACKTICK,
    ),
    "Ruby": (
        rb"^=begin\b.*?(?:^=end\b|\Z)", rb"^__END__$.*\Z", rb"\#[^\n]*",
        rb"<<(?:[~-](?P<q>[\"'`]?)|(?P<r>[\"'`])?(?=[A-Z]))(?P<here>\w+)(?(q)(?P=q))(?(r)(?P=r))"
        rb"(?P<rest>[^\n]*)\n.*?(?:^[ \t]*(?P=here)$|\Z)",
        rb"\$[\"'`]", rb"(?<![\w)\]])\?[\"'`(){}\[\]\#/]",
        rb"%(?:[wWiIqQrsx]|(?=[(\[{]))(?:\[(?:[^\[\]\\]|\\.|\[(?:[^\[\]\\]|\\.)*+\])*+\]?"
        rb"|\((?:[^()\\]|\\.|\((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*+\))*+\))*+\)?"
        rb"|\{(?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.)*+\})*+\})*+\}?"
        rb"|<[^>]*+>?|[|!/][^|!/]*+[|!/]?)",
        _REGEX.replace(rb"\n]|\\.|\[", rb"]|\\.|\["), _SPANNING, _BACKTICK,
    ),
    "Rust": (
        _LINE, _BLOCK,
        rb"\bb?r(?P<fence>\#*)\".*?(?:\"(?P=fence)|\Z)",
        rb"\"(?:[^\"\\]|\\.)*+\"?",
        rb"'(?:\\[^\n][^'\n]{0,9}|[^'\\\n])'",
    ),
    "TSX": _SCRIPT,
    "TypeScript": _SCRIPT,
}  # fmt: skip
_SILENT: Final = {
    language: re.compile(b"|".join(found), re.DOTALL | re.MULTILINE)
    for language, found in _LITERALS.items()
}

# What cannot stand side by side, after literals became words and comments a space.
_LITERAL: Final = b"\0_"
_IN_ALL: Final = (
    rb"(?<![=!<>&|^?~:\]])(?<!operator)=(?![=>~])\s*[;)\]}]",  # x = ;
    rb"(?<![=!<>&|^?~])=\s+=(?![=>~])",  # x = =
    rb":=\s*:?=",
    rb"(?<=[\w)\]])(?<!\d)(?<!ident)(?<!expr)\.\s*[;)\]}]",  # f(x.)
    rb"(?<=[\w)\]])\s*(?<!\+)\+(?!\+)\s*[;)\]}]",  # x + ;
    rb"&&\s*[;)\]}]",
    rb"(?<=\w)\(\s*,",  # f(, x)
)
_WITH_BRACES: Final = (
    rb"(?<![.\w$@>:#])(?:if|while|switch)\s*\(\s*\)",  # if ()
    rb"=>\s*[;,)\]}]",
)
_CLOSED_BY_WORD: Final = rb"\0_(?!(?:in|of|as|instanceof)\b)\w"  # `a`b`c`
_SCRIPTS: Final = (
    _CLOSED_BY_WORD,
    *_IN_ALL, *_WITH_BRACES,
    rb"(?<![.\w$@])(?<!as )(?:let|const|var)[ \t]+(?!enum\b)\w+[ \t]+"
    rb"(?!(?:of|in|as|is|extends|satisfies)\b)[A-Za-z_$]",
    rb"(?<![.\w$@])(?<!as )(?:const|var)\s*[=;)]",
)  # fmt: skip
_NEIGHBOURS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "C#": (*_IN_ALL, *_WITH_BRACES),
    "Go": (*_IN_ALL, _CLOSED_BY_WORD, rb"(?<![.\w])(?:var|const|func)\s*[=;)]"),
    "Java": (
        *_IN_ALL, rb"(?<![.\w$@>:#])(?:if|while|switch)\s*\(\s*\)", rb"->\s*[;,)\]]",
        rb"\benum\s+\w+\s+extends\b|\binterface\s+\w+\s+implements\b",
    ),
    "JavaScript": _SCRIPTS,
    "PHP": (
        *(found for found in _IN_ALL if b"(?<=\\w)\\(" not in found),  # `list(, $b)`
        *_WITH_BRACES, rb"->\s*[;,)\]}]", rb"::\s*[;,)\]]",
    ),
    # setters end with a sign, and so do names of operators: `:x=`, `reduce(:+)`
    "Ruby": (
        rb"\s=(?![=>~])\s*[;)\]}]", rb"\s=\s+=(?![=>~])", rb"(?<=[\w)\]])(?<!\.)\.\s*[;)\]}]",
        rb"&&\s*[;)\]}]", rb"(?<=\w)\(\s*,", rb"\s=[ \t]*\n\s*end\b",
    ),
    "Rust": (
        _CLOSED_BY_WORD,
        *(found for found in _IN_ALL if b"\\+" not in found),  # `dyn A +` may end a type
        rb"(?<![.\w$#])(?:let|fn|struct|enum)\s*[=;)]",
        rb"(?<![.\w$#])let[ \t]+(?!mut\b|ref\b)\w+[ \t]+(?!else\b|if\b)[A-Za-z_]",
    ),
    "TSX": _SCRIPTS,
    "TypeScript": _SCRIPTS,
}  # fmt: skip
_APART: Final = {language: re.compile(b"|".join(found)) for language, found in _NEIGHBOURS.items()}

# A quote that does not end on its line is a break there; elsewhere it may, or stand in text (JSX).
_ENDS_ON_LINE: Final = frozenset({"C#", "Go", "Java"})
_QUOTES: Final = (b'"', b"'", b"`")
_COMMENT_MARK: Final = re.compile(rb"/\*|\*/")
_TEMPLATE_MARK: Final = re.compile(rb"\\.|`|\$?\{|\}", re.DOTALL)
_JSX: Final = re.compile(rb"</|/>")
_MERGE: Final = (re.compile(rb"^<{7}[ \n]", re.MULTILINE), re.compile(rb"^>{7}[ \n]", re.MULTILINE))

# Words of Ruby that an `end` closes. `if` and its kin do where a statement or a value begins.
_RUBY_OPENS: Final = re.compile(
    rb"(?<![\w.:@$])(?:(?:class|module|begin|case)\b(?![:?!])"
    rb"|def\b(?![:?!])(?![ \t]+(?:self\.)?[\w?!]+(?:\([^()\n]*\))?[ \t]*=[ \t])"
    rb"|do\b(?![:?!]))"
    rb"|(?:^|[=(\[,;|&+]|\bthen|\bdo|\belse|<<)[ \t]*(?:if|unless|while|until|for)\b(?![:?!])",
    re.MULTILINE,
)
_RUBY_LOOPS: Final = re.compile(
    rb"(?:^|[=(;])[ \t]*(?:while|until|for)\b[^\n;]*[ \t]do\b", re.MULTILINE
)
_RUBY_END: Final = re.compile(rb"(?<![\w.:@$])end\b(?![:?!])")


class Evidence(NamedTuple):
    """How much of each kind a text shows."""

    balances: tuple[Balance, ...]
    open_literals: int
    apart: int
    ends: int
    merge: int


def breaks(language: str, old: bytes, new: bytes) -> bool:
    """Whether new is broken more than old was, by any kind of evidence."""
    before, after = evidence(language, old), evidence(language, new)
    return (
        worse_in_every_reading(before.balances, after.balances)
        or after.open_literals > before.open_literals
        or after.apart > before.apart
        or after.ends > before.ends
        or after.merge > before.merge
    )


def evidence(language: str, text: bytes) -> Evidence:
    """What a text shows by itself."""
    text = text.removeprefix(codecs.BOM_UTF8)
    code, open_literals = _silence(language, text)
    balances: tuple[Balance, ...] = (plain(code),)
    if language == "C#":
        balances = readings(code)
        code = DIRECTIVE.sub(b"", code)
    return Evidence(
        balances,
        open_literals,
        len(_APART[language].findall(code)),
        _ends(code) if language == "Ruby" else 0,
        min(len(mark.findall(text)) for mark in _MERGE),
    )


def _silence(language: str, text: bytes) -> tuple[bytes, int]:
    """The text with a mark for each literal and a space for each comment, and how many literals do
    not end. One that stops at its line's end is left as it stands: it may be text of a page."""
    still_open = 0
    lines_count = language in _ENDS_ON_LINE or (
        language in ("JavaScript", "TypeScript") and not _JSX.search(text)
    )

    parts: list[bytes] = []
    start = 0
    while start < len(text) and (found := _SILENT[language].search(text, start)):
        parts.append(text[start : found.start()])
        start = found.end()
        literal = found[0]
        mark = literal[:1]
        if literal[:2] in (b"//", b"/*") or mark == b"#" or literal[:6] == b"=begin":
            if language == "Rust" and literal[:2] == b"/*":
                start = _comment_end(text, found.start())
            parts.append(b" ")
        elif mark == b"`" and _LITERALS[language] is _SCRIPT:
            start = _template_end(text, found.start())
            still_open += start == len(text) and text[-1:] != mark
            parts.append(_LITERAL)
        elif language == "PHP" and (found.start() == 0 or literal[:2] == b"?>"):
            parts.append(b" ; ")
        elif language == "Ruby" and found["rest"] is not None:
            parts.append(_LITERAL + found["rest"] + b"\n")
        elif mark in _QUOTES and (len(literal) < 2 or literal[-1:] != mark):
            at_end = start == len(text)
            still_open += at_end or (lines_count and mark != b"`")
            parts.append(_LITERAL if at_end else literal[1:])
        else:
            parts.append(_LITERAL)
    return b"".join([*parts, text[start:]]), still_open


def _comment_end(text: bytes, start: int) -> int:
    """Where a comment of Rust ends, in which others may lie."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, start):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def _template_end(text: bytes, start: int) -> int:
    """Where a template of JavaScript ends, in whose `${}` others may lie."""
    within = [b"`"]
    for mark in _TEMPLATE_MARK.finditer(text, start + 1):
        sign = mark[0][-1:]
        if mark[0][:1] == b"\\":
            continue
        if sign == b"`" and within[-1] == b"`":
            within.pop()
            if not within:
                return mark.end()
        elif sign == b"}" and within[-1] == b"{":
            within.pop()
        elif mark[0] == b"${" or (within[-1] == b"{" and mark[0] in (b"`", b"{")):
            within.append(sign)
    return len(text)


def _ends(code: bytes) -> int:
    opened = len(_RUBY_OPENS.findall(code)) - len(_RUBY_LOOPS.findall(code))
    return abs(opened - len(_RUBY_END.findall(code)))
