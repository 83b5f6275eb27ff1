r"""Endings that several languages share, and what in a file tells which one it is.

After linguist's `heuristics.yml`, restated in our own form and for the first 8 KiB. The first rule
that matches wins; without any, and without content, an ending means what it most often does. Rules
ask for what a language has and its neighbours have not, so that all versions of a file agree.
"""

# ruff: noqa: E501  (a pattern is read as a whole)
from __future__ import annotations

import re
from typing import Final, NamedTuple

HEAD_BYTES: Final = 8192
HEADER: Final = ".h"  # stands for "what the repository's sources are"
# Where the interpreter that a script names decides first. Not `.ts`: a program for `node` that is
# written in TypeScript says `node`.
BY_SHEBANG: Final = frozenset("d pl t pro m inc cls r v l pp cl".split())  # noqa: SIM905


class Rule(NamedTuple):
    """A pattern, and the language of what holds it; None where that is no text of a language.

    `needs` are strings of which one is in every match: of endings that are in every other
    repository, looking for these is all that most files cost.
    """

    pattern: re.Pattern[bytes]
    language: str | None
    needs: tuple[bytes, ...] = ()

    def holds(self, head: bytes) -> bool:
        """Whether the rule is true of a file."""
        if self.needs and not any(needed in head for needed in self.needs):
            return False
        return self.pattern.search(head) is not None


def _rules(*pairs: tuple[str, str | None]) -> tuple[Rule, ...]:
    return tuple(Rule(re.compile(p.encode(), re.MULTILINE), language) for p, language in pairs)


_XML = (r"\A\s*<\?xml", "XML")
_FEATURES: Final = (
    "Feature|Business Need|Ability|Fonctionnalité|Funktionalität|Funktion|Característica"
    "|Caracteristica|Funcionalidade|Funcionalidad|Funcionalitat|Funzionalità|Функция|Функционал"
    "|Функциональность|Функціонал|Свойство|Функционалност|功能|フィーチャ|機能|기능|Właściwość|Funkcja"
    "|Aspekt|Egenskap|Egenskab|Functionaliteit|Vlastnosť|Požadavek|Özellik|Ominaisuus|Jellemző"
    "|Functionalitate|Λειτουργία|Δυνατότητα|תכונה|خاصية|Tính năng|ความสามารถ|Fitur|Omadus|Savybė"
    "|OH HAI|Pretty much"
)
_OBJECTIVE_C: Final = (
    r"^\s*@(?:interface|class|protocol|property|end|implementation|import|synthesize)\b"
    r"|^\s*#\s*import\s+[<\"]"
)
_CPP: Final = (
    r"^\s*template\s*<|^\s*(?:private|public|protected)\s*:\s*$|\bstd::\w|\bconstexpr\b"
    r"|^\s*(?:using\s+namespace\s+\w|namespace\s+[\w:]*\s*\{|inline\s+namespace\b)"
    r"|^\s*class\s+(?:\w+\s+)?\w+\s*(?:final\s*)?(?::[^:\n][^;\n]*)?(?:\{|$(?!\n\s*[^{\s]))"
    r"|^\s*#\s*include\s*<(?:cstd\w+|string|vector|map|memory|array|list|set|queue|functional"
    r"|algorithm|utility|tuple|unordered_\w+|type_traits|[io]*stream|iostream|sstream)>"
)
_PERL: Final = (
    r"\buse\s+(?:strict|warnings|v?5|utf8|lib|constant|overload|Test::|[A-Z]\w*::)"
    r"|^\s*package\s+[A-Za-z_][\w:]*\s*[;{]|^\s*sub\s+\w+\s*(?:\([^)]*\)\s*)?\{"
    r"|\bmy\s*[$@%(]|^\s*require\s+[\"'\w]|\$\w+\s*=[~\s]|\$\w+(?:->|\{|\[)|@ARGV\b|^=(?:pod|head1)\b"
)

SHARED: Final[dict[str, tuple[Rule, ...]]] = {
    "asc": _rules((r"^-----BEGIN PGP|^ssh-(?:rsa|dss) ", "Public Key"), (r"^=+ \S", "AsciiDoc")),
    "cl": _rules(
        (r"\b__kernel\b|^\s*kernel\s+void\b|#pragma\s+OPENCL|\bget_global_id\b|\b__global\b", "OpenCL"),
        (r"^\s*\((?i:def\w*|in-package)\s", "Common Lisp"),
        (r"^class\s+[A-Z]\w*(?:\s+inherits\s+\w+)?\s*\{", "Cool"),
        (r"^\s*(?:#\s*(?:include|define|ifdef|pragma)\b|//|/\*)", "OpenCL"),
    ),
    "cls": _rules(
        (r"^\s*BEGIN\s*[\r\n]+\s*MultiUse\s*=[^\n]*\n\s*Persistable\s*=", "Visual Basic 6.0"),
        (r"^ *VERSION \d\.\d CLASS|^Attribute VB_", "VBA"),
        (r"^\s*\\(?:NeedsTeXFormat|ProvidesClass|LoadClass)\b", "TeX"),
        (r"^Class\s+[%\w.]+\s+(?:Extends|\[|\{)|^Class\s+[%\w.]+\s*$", "ObjectScript"),
        (r"(?i)^\s*(?:class|interface)\s+[\w.]+(?:\s+\w[^{\n]*)?:\s*$|^\s*end\s+class\.", "OpenEdge ABL"),
        (r"(?i)\b(?:public|private|global|protected|@istest)\s+(?:[a-z]+\s+){0,4}(?:class|interface"
         r"|enum)\s+\w+", "Apex"),
    ),
    "config": _rules((r"\A\s*[^<\s\xef]", None)),
    "d": _rules(
        (r"\A(?:\s*#[^!\n][^\n]*\n)*\s*(?:[A-Za-z]:[\\/])?[^\s:=(){}\"]+(?:[ \t]+[^\s:=(){}\"]+)*[ \t]*:"
         r"(?:[ \t]+[^\s:;={][^\n;{]*(?:\\\r?\n|\r?\n|\Z)|[ \t]*\\\r?\n|[ \t]*\r?\n(?=\s*(?:[^\s:=]+[ \t]*:|\Z)))",
         "Makefile"),
        (r"^\s*(?:module\s+[\w.]+\s*;|(?:(?:public|static|private)\s+)?import\s+[\w.]+[\w\s,.:=]*;"
         r"|unittest\s*\{)", "D"),
        (r"^[\w$*]+:[\w$*`.-]*:[\w$*`.~+-]*:[\w$*-]*\s*(?:$|[,/{])|^(?:dtrace:::)?(?:BEGIN|END)\s*$"
         r"|^(?:tick|profile)-\w+|^\s*provider\s+\w+\s*\{|^#pragma\s+(?:D|ident)\s", "DTrace"),
    ),
    "feature": _rules(
        (rf"^\s*(?:{_FEATURES})\s*:|^\s*#\s*language\s*:|^\s*(?:Scenario|Background|Scenario Outline)\s*:",
         "Gherkin"),
        (r"\S", "Text"),
    ),
    "fs": _rules(
        (r"^\s*#version\s+\d|^\s*(?:precision\s+\w+p|uniform|varying)\s|\bgl_Frag\w+\b", "GLSL"),
        (r"^: \S+(?:\s|$)", "Forth"),
        (r"^\s*#pragma\s+(?:rs|version)\b", "Filterscript"),
    ),
    "h": (
        _rules((_OBJECTIVE_C, "Objective-C"))[0]._replace(needs=(b"@", b"import")),
        _rules((_CPP, "C++"))[0]._replace(
            needs=(b"template", b"public", b"private", b"protected", b"std", b"constexpr",
                   b"namespace", b"class", b"<string>", b"stream>")
        ),
    ),
    "hh": _rules((r"\A\s*<\?hh", "Hack")),
    "inc": _rules(
        (r"\A\s*<\?(?:php\b|=|\s)", "PHP"),
        (r"^\s*#(?:declare|local|macro|version)\s", "POV-Ray SDL"),
        (r"(?i)^\s*\{\$(?:mode|if\w*|undef|define|i|endif)\b|^\s*(?:procedure|function)\s[^\n]*;\s*$"
         r"|^\s*end[.;]\s*$", "Pascal"),
        (r"^inherit\s|^(?:require|include)\s+\S+\.(?:inc|conf)\b|^(?:SRC_URI|DEPENDS|RDEPENDS\S*"
         r"|PACKAGECONFIG\S*|SUMMARY|LIC_FILES_CHKSUM|IMAGE_\w+)\s*[?+:.]*=", "BitBake"),
        (r"^\s*(?:stock|native|forward|public)\s+\w|^\s*#\s*(?:tryinclude|pragma\s+(?:library|tabsize|reqlib))\b",
         "Pawn"),
        (r"^\s*(?:global_var|local_var)\s|^\s*include\s*\(\s*[\"']", "NASL"),
        (r"\A\s*(?:<!--|<!DOCTYPE|<(?:html|head|body|div|table|p|a|ul|form|script|link|meta)\b)", "HTML"),
        (r"(?i)^\s*(?:%macro|\.macro|mov[lq]?\s+\S+,|\w+:?\s+(?:equ|macro)\b|\.?(?:db|dw|dd|section|globl?)\s)",
         "Assembly"),
        (r"^\s*#\s*(?:include\s*[<\"]|(?:define|ifn?def|undef|pragma)\s+\w)|^\s*(?:static|struct|typedef|extern|void)\s",
         HEADER),
        (r"(?i)^\s*(?:create\s+table|insert\s+into|drop\s+table|select\s)", "SQL"),
        (r"^[\w.-]+\s*[:?+]?=|^[\w./%$()-]+\s*:(?:\s|$)", "Makefile"),
    ),
    "l": _rules(
        (r"^\s*\((?:def(?:un|macro|var|parameter|package|generic|method|class)|in-package)\b", "Common Lisp"),
        (r"^%[%{}]", "Lex"),
        (r"^\.[A-Za-z]{2}(?:\s|$)", "Roff"),
        (r"^\((?:de|class|rel|load)\s", "PicoLisp"),
    ),
    "ll": _rules((r"^%[%{}]\s*$", "Lex")),
    "m": _rules(
        (_OBJECTIVE_C + r"|^\s*#\s*include\b", "Objective-C"),
        (r"^\s*:-\s*(?:module|interface|pred|implementation|import_module)\b", "Mercury"),
        (r"\A\s*\(\*|^\s*(?:Begin)?Package\[|^\w+\[[^\]\n]*_\]?\s*:=", "Wolfram Language"),
        (r"^\w+\s*:\s*module\s*\{|^implement\s+\w+\s*;", "Limbo"),
        (r"^\s*;|\A[A-Za-z%]\w*(?:\([^)\n]*\))?[ \t]*;", "M"),
        (r"^\s*(?:%|function\b|classdef\b|clc\b|clear(?:\s+all|vars)?\s*;?\s*$|close\s+all\b)"
         r"|^\s*end(?:if|for|function|while)?\s*;?\s*$|^\w+\s*=\s*\[", "MATLAB"),
        (r"\A: |^: \w+ [^\n]*\( ", "MUF"),
    ),
    "php": _rules((r"\A\s*<\?hh", "Hack")),
    "pl": _rules(
        (r"^\s*use\s+v6\b", "Raku"),
        (_PERL, "Perl"),
        (r"^\s*:-\s|^[a-z]\w*(?:\([^\n]*\))?\s*(?::-|-->)|^[a-z]\w*\([^\n]*\)\s*\.\s*(?:%.*)?$|\A\s*%",
         "Prolog"),
        (r"^\s*(?:my\s+)?class\s+\w|^\s*sub\s+MAIN\b", "Raku"),
    ),
    "pp": _rules((r"(?i)^\s*(?:unit|program|library)\s+\w+\s*;|^\s*end\.|^\s*\{\$mode\b", "Pascal")),
    "pro": _rules(
        (r"^\s*-(?:include|keep\w*|dont\w+|assume\w+|print\w+|optimiz\w+|injars|outjars|libraryjars"
         r"|rename\w+|repackage\w*|allow\w+|adapt\w+|flatten\w+|obfuscation\w+|if|verbose|ignorewarnings"
         r"|whyareyoukeeping|identifiernamestring|alwaysinline|checkdiscard)\b|(?i:\bproguard\b)",
         "Proguard"),
        (r"^\s*(?:TEMPLATE|CONFIG|QT|HEADERS|SOURCES|TARGET|FORMS|RESOURCES|SUBDIRS|DEFINES|INCLUDEPATH"
         r"|LIBS|PKGCONFIG|VERSION|DESTDIR|TRANSLATIONS)(?:\.\w+)?\s*[+*~-]?=|^\s*include\(", "QMake"),
        (r"(?i)^\s*(?:pro|function|compile_opt)\s+\w[\w ,:=$]*(?:;.*)?\s*$", "IDL"),
        (r"^\s*:-|^[a-z]\w*(?:\([^\n]*\))?\s*(?::-|-->)|^[a-z]\w*\([^\n]*\)\s*\.", "Prolog"),
        (r"^last_client=", "INI"),
    ),
    "r": _rules(
        (r"(?i)\A\s*(?:[;#][^\n]*\n\s*)*rebol\b", "Rebol"),
        (r"^\s*(?:resource|data|type)\s+'[A-Za-z0-9# ]{4}'", "Rez"),
    ),
    "rs": _rules(_XML, (r"#pragma\s+(?:version|rs)\b", "RenderScript"), (r"rs_allocation\s", "RenderScript")),
    "t": _rules(
        (r"^\s*use\s+(?:v6\b|Test\s*;)|^\s*my\s+class\s+\w", "Raku"),
        (_PERL, "Perl"),
        (r"^\s*(?:var|const)\s+\w+(?:\s*:\s*\w+)?\s*:=|^\s*%[ \t]", "Turing"),
        (r"^\s*(?:local\s+)?terra\s+\w|^\s*local\s+\w+\s*=", "Terra"),
    ),
    "tpl": _rules(
        (r"\{\{-?\s*(?:/\*|[.$]\w|(?:define|include|range|if|end|with|template|block|else)\b)", "Go Template"),
    ),
    "ts": _rules((r"\x00", None), (r"\A\s*(?:<\?xml|<!DOCTYPE\s+TS\b|<TS\b)", "XML")),
    "tsx": _rules(_XML),
    "v": _rules(
        (r"(?:^|\s)(?:Proof|Qed|Defined|Admitted)\.(?:\s|$)|^\s*(?:From\s+\S+\s+)?Require\s+(?:Import"
         r"|Export)\b|^\s*(?:Lemma|Theorem|Fixpoint|Inductive|Definition|Notation|Section)\s+\S",
         "Rocq Prover"),
        (r"^\s*module\s+\w+\s*(?:#?\(|;)|^\s*module\s+\w+\s*$(?=\s*[#(])|^\s*`(?:define|ifn?def|include"
         r"|timescale|default_nettype)|^\s*always(?:_\w+)?\b|^\s*endmodule\b", "Verilog"),
        (r"^\s*(?:pub\s+)?fn\s+[\w(]|^module\s+\w+\s*$|^import\s+[\w.]+(?:\s+as\s+\w+)?\s*$", "V"),
    ),
    "yy": _rules((r"\A\s*[{\[]", "JSON")),
}  # fmt: skip
