"""Comments that tools obey: to change one is to change code. The one table of them.

A compiler, an interpreter, a test runner, a type checker, a linter, a bundler or a scheduler reads
these, and does something else when they change. So `codeflow_filters.trivial` takes them for
tokens. Two forms:

* *marks*: a line of a comment that matches is obeyed, with those that follow until its brackets
  close (an annotation of Doctrine may span lines); what a comment says beside it is prose;
* *blocks*: comments in a row that are obeyed together, so a line in the middle needs no mark of its
  own: the C above `import "C"`, the metadata of a script (PEP 723), an example's output in Go, the
  code in documentation that a test runner compiles.

Where it is in doubt whether a tool obeys a comment it counts as obeyed: the change is kept.

Cost: a few regular expressions over comments of changed items, in what is parsed anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Read in every language: editors, linters that know many, spelling, coverage, copyright, templates.
_ANY: Final = (
    rb"^#!",  # a shebang
    rb"-\*-.*-\*-|\b(?:vim?|ex):\s*(?:set?\s|[a-z]+=)",  # modes of editors; PEP 263's cookies
    rb"\bno(?:lint|qa|sec|inspection|sonar|codecov)\b|\bNO(?:LINT|SONAR|QA|INSPECTION)",
    rb"\bSPDX-[A-Z]|\bREUSE-Ignore",
    rb"\b(?:spell-?checker|cspell|codespell)\s*:|\bsemgrep\b|\bgitleaks:|\bpragma:\s*allowlist",
    rb"\bLCOV_EXCL|\bGCOVR?_EXCL|\bcodecov:|\bsnyk:|\bcodeql\[|\blgtm\b|\bcheckov:|\btrivy:"
    rb"|\bNOSEC",
    rb"@generated\b|\bDO NOT EDIT\b|\b[a-z-]+:(?:disable|enable|ignore)\b|\b[a-z]+-disable\b",
    rb"^(?://|#|/\*)\s*#?(?:end)?region\b|\b(?:start|end|tag|snippet)::|\[(?:START|END) \w",
    rb"\b(?:DOCSTART|DOCEND|BEGIN_INCLUDE|END_INCLUDE|ANCHOR|ANCHOR_END)\b",
)
_C: Final = (
    rb"\bclang-format (?:on|off)|\b(?:NOLINT|IWYU pragma|FALLTHR(?:OUGH|U)|fall-?s? ?through)",
    rb"\bcppcheck-suppress|\bcoverity\[|\bPVS-|-V\d|\bLINT(?:ED|LIBRARY)|\bNOTREACHED|\bARGSUSED",
    rb"\*INDENT-O(?:N|FF)\*|\buncrustify:|\bastyle:|@formatter:",
    rb"\b(?:RUN|CHECK(?:-[A-Z]+)*|XFAIL|REQUIRES|UNSUPPORTED)\s*:|\bexpected-(?:error"
    rb"|warning|note)",
    rb"\{\s*dg-|\bdoctest\b|\bQ_OBJECT\b|\bTRANSLATORS?\s*:|^/[/*][:=~]",  # of GCC, Qt, gettext
    rb"[\\@](?:code|snippet|include|verbatim|startuml)\b|\bBEGIN_?CODE\b",
)
_JAVASCRIPT: Final = (
    rb"@(?:flow|noflow|jsx(?:\w*)|ts-\w+|babel|emails|format|prettier|preserve|license|cc_on)\b",
    rb"@[a-z]+\s*\{|@(?:template|typedef|callback|overload|import|private|protected"
    rb"|readonly|override"
    rb"|deprecated|internal|nocollapse|export|constructor|suppress|externs|jest-\w+|vitest-\w+"
    rb"|vite-\w+|remove-on-eject\w*|__[A-Z_]+__)\b",
    rb"\b(?:eslint|jshint|jslint|jscs|tslint|prettier|stylelint|biome|oxlint|deno|rome|xo|standard)"
    rb"(?:-[a-z]|:)|\b(?:eslint|jshint|jslint)\s+[\w@/-]+\s*:|^/\*\s*(?:globals?|exported)\s",
    rb"\bwebpack[A-Z]\w*\s*:|[@#]__|\b(?:istanbul|c8|v8|node:coverage)\s+[a-z]+able\b"
    rb"|\b(?:istanbul|c8|v8|node:coverage)\s+ignore\b|^//=\s*(?:require|link|stub|depend)",
    rb"[#@]\s*source(?:Mapping)?URL=|\$Flow\w+|\bflow(?:lint|-include)|^///\s*<|@license|@preserve",
    rb"\bimport\s*\(|^/\*!",  # types by `import()` in JSDoc; a banner that minifiers keep
    rb"\bi18n:|\btranslators?:|\bhtml\b\s*\*/|\b(?:css|sql|graphql|glsl|language=)\s*\w*\s*\*/",
)
_MARKS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "C": _C,
    "C++": _C,
    "C#": (
        rb"^///",  # compiled: the compiler reads its tags, and says so when they are wrong
        rb"\bReSharper\b|\bresharper\b|\bStyleCop|\bcsharpier|\bStryker|^//\s*(?:lang|language)=",
        rb"<auto-?generated|@formatter:|\btranslators?:",
    ),
    "Go": (
        rb"^//[a-z0-9]+:[a-z0-9]|^//\s*\+\w|^//(?:export|line|extern|sys|sysnb|nolint)\b",
        rb"^/\*line |^//\s*#|#cgo|^//\s*(?:Unordered )?[Oo]utput:|^//\s*Code generated"
        rb"|\bERROR\s+[\"`]",
        rb"\bwant\s+[\"`]|\bgo:|\bDeprecated:|@(?:Summary|Description|Tags|Accept|Produce"
        rb"|Param|Success"
        rb"|Failure|Router|Security|title|version|host|BasePath)\b|\bswagger:|\bgosec\b",
    ),
    "Java": (
        rb"@(?:formatter|deprecated|SuppressWarnings|checkstyle|hide|goals?|phase|requires\w*)\b",
        rb"\bCHECKSTYLE|\bCSOFF|\bCSON|\bNOPMD|\bSUPPRESS|\bspotless:|\bnoinspection\b|\$NON-NLS",
        rb"\bfall-?s? ?through|\bgoogle-java-format|\blanguage=|\bBUG:|\bJML\b|^/\*@|^//@",
        rb"@(?:test|run|bug|library|modules|compile|build|key|summary|hibernate|ejb|xdoclet)\b",
    ),
    "JavaScript": _JAVASCRIPT,
    "TSX": _JAVASCRIPT,
    "TypeScript": _JAVASCRIPT,
    "PHP": (
        # Doctrine, PHPUnit, Symfony, Swagger, Psalm, PHPStan: any tag that is no mere description
        rb"@(?!(?:author|copyright|since|version|see|link|license|category|package|subpackage|todo"
        rb"|throws|example|inheritdoc)\b)[A-Za-z\\]",
        rb"\b(?:phpcs|phpstan|psalm|phpmd|phan|codingStandards|php-cs-fixer|rector)\b|^\#\[",
        rb"\b(?:translators?|Plugin Name|Theme Name|Template Name|Text Domain|Version)\s*:",
    ),
    "Python": (
        rb"^\#\s*(?:type|mypy|pyright|pyre|pytype|pyrefly|ty)\s*[:-]|^\#.{0,40}coding[:=]",
        rb"\b(?:noqa|pylint|flake8|ruff|isort|yapf|bandit|pyflakes|autopep8|pydocstyle|lint)\s*:",
        rb"^\#\s*(?:fmt|pragma|cython|distutils|doctest|skipcq|sourcery|vulture|pyanalyze"
        rb"|nuitka)\b",
        rb"\bnosec\b|\bnopep8|\bpragma:|^\#\s*%%|^\#\s*(?:In\[|\+|-\s*$)|\bdoctest:"
        rb"|\bTranslators?:",
        rb"\bE:\s*\[|^\#\s*(?:E|N|W|R):\s|\bL10n:|^\#\s*///|^\#\s*SBATCH|^\#\s*PBS",
    ),
    "Ruby": (
        rb"^\#\s*(?:frozen[_-]string[_-]literal|encoding|coding|warn[_-]indent|warn_past_scope"
        rb"|shareable[_-]constant[_-]value|typed|rbs_inline)\s*:",
        rb"^\#\s*(?:(?:rubocop|standard|reek|brakeman|simplecov|sorbet|steep|yard|erb_?lint)\s*:"
        rb"|i18n-tasks-use)",
        rb":(?:nodoc|doc|startdoc|stopdoc|call-seq|yields|notnew|title|main|enddoc|section"
        rb"|nocov):",
        rb"^\#:|^\#\s*@(?:rbs|!|param|return|type|yield)|^\#\\\s|^\#\s*-\s*(?:frozen|coding)",
    ),
    "Rust": (
        # documentation is an attribute: what it holds is compiled, and its code is run as a test
        rb"^///|^//!|^/\*\*|^/\*!",
        rb"^//@|^//~|^//\[|\bclippy::|\brustfmt-|\bSAFETY:|^//\s*(?:ignore-|edition:|compile-flags|"
        rb"error-pattern|run-|aux-build|check-pass|build-pass|gate-test|revisions:|needs-|only-)",
        rb"\bgrcov\b|\btarpaulin\b|\bkcov\b|^//\s*cargo-deps|^//\s*[-]{3}",
    ),
    "Shell": (
        rb"^\#\s*shellcheck\b|^\#(?:compdef|autoload)\b|^\#\s*shfmt\b|^\#\s*bats\b"
        rb"|^\#\s*@(?:test|cmd)",
        # batch systems: Slurm, PBS, LSF, Grid Engine, Cobalt, Fujitsu, LoadLeveler, HTCondor, OAR
        rb"^\#(?:SBATCH|PBS|BSUB|COBALT|PJM|OAR|MSUB|DSUB|FLUX|SLURM|JSUB|RCC|QSUB|NQSII?|HQ)\b|^\#\$",
        rb"^\#\s*@\s*\w+\s*=|^\#\s*flux:|^\#\s*(?:chkconfig|description|processname|pidfile"
        rb"|config)\s*:",
        rb"^\#\s*(?:Provides|Required-(?:Start|Stop)"
        rb"|Should-(?:Start|Stop)"
        rb"|Default-(?:Start|Stop)|Short-Description|Description|X-[A-Z][\w-]*)\s*:|^\#\#\#\s*(?:BEGIN|END)",
        rb"^\#\s*(?:PROVIDE|REQUIRE|BEFORE|KEYWORD):|^\#%|^\#\s*dependencies\s*:|^\#\s*kcov",
    ),
}  # fmt: skip
_OBEYED: Final = {
    language: re.compile(b"|".join((*_ANY, *found)), re.MULTILINE)
    for language, found in _MARKS.items()
}

_OPEN: Final = (b"(", b"{", b"[")
_CLOSE: Final = (b")", b"}", b"]")

# The first comment of a row that is obeyed as a whole.
_BLOCK: Final[Mapping[str, re.Pattern[bytes]]] = {
    "Go": re.compile(rb"^(?://|/\*)\s*(?:Unordered )?output:|^(?://|/\*)[^\n]*#cgo", re.I),
    "JavaScript": re.compile(rb"^//\s*==UserScript=="),
    "Python": re.compile(rb"^#\s*///\s*\w+|^#\s*jupyter:\s*$"),
    "Ruby": re.compile(rb"^#\s*///\s*\w+"),
    "Rust": re.compile(rb"^//\s*---|^//!\s*```cargo"),
    "Shell": re.compile(rb"^#{2,3}\s*BEGIN INIT"),
}
_CODE_AFTER: Final[Mapping[str, re.Pattern[bytes]]] = {
    "Go": re.compile(rb"^import\s+(?:\(\s*)?\"C\""),  # its preamble is C
}


def obeyed(language: str, comment: bytes) -> bytes:
    """The lines of a comment that a tool obeys; nothing for a comment that people alone read."""
    lines: list[bytes] = []
    depth = 0
    for line in comment.split(b"\n"):
        bare = line.strip(b" \t\r*")
        if depth > 0 or _OBEYED[language].search(line.strip()):
            lines.append(bare)
            depth = max(depth + sum(map(line.count, _OPEN)) - sum(map(line.count, _CLOSE)), 0)
    return b"\n".join(lines)


def begins_block(language: str, comment: bytes) -> bool:
    """Whether the comments that follow this one in a row are obeyed with it."""
    found = _BLOCK.get(language)
    return found is not None and found.match(comment) is not None


def obeys_what_is_above(language: str, code: bytes) -> bool:
    """Whether this code makes the comments right above it code of its own."""
    found = _CODE_AFTER.get(language)
    return found is not None and found.match(code) is not None
