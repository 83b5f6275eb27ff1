"""The language of a file, by name, extension and shebang; and the language of a whole triple.

The mapping is that of `identify` (maintained, offline, pure data): file names and extensions to
tags. The tables here only turn its tags into linguist's names and kinds, and add the few extensions
that `identify` does not know. No classifier: the language must come out the same for every version
of a file, and cheaply.

* An extension that languages share (`.d`, `.m`, `.pl`, `.pro`, `.ts`, `.v`, ...) is decided by what
  the file holds (`shared_endings`), and means what it most often does where that says nothing.
* `.h` is what most of the repository's C, C++ and Objective-C sources are, C when they tie, unless
  the header itself shows that it is C++ or Objective-C.
* A file without a known extension is of the language that its first line names (`shebang`).
* `.sh` and `.bash` are Shell, unless the shebang or `#compdef` names another shell.
* `.blade.php` is Blade.
* `.inc`, `.def`, `.asc` and `.cls` say nothing by themselves.
* What is made from a template (`setup.py.in`) or stands for a file to be made (`phpunit.xml.dist`)
  is of that file's language; `x.init.d` is a script.

A byte order mark before all of this is not looked at.

Cost: about 0.5 µs a path; each file name and extension is resolved once and remembered.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Literal, NamedTuple

from identify.extensions import EXTENSIONS, EXTENSIONS_NEED_BINARY_CHECK, NAMES

from codeflow_miners.contents.shared_endings import BY_SHEBANG, HEADER, SHARED
from codeflow_miners.contents.shebang import language_of_script

Kind = Literal["programming", "markup", "data", "prose"]

# Tag of identify -> name in linguist. The first row that matches wins, so the special stand before
# the general: SVG and XSLT before XML, Objective-C++ before C++, everything before plain text.
_PROGRAMMING: Final = {
    "aspectj": "AspectJ", "asm": "Assembly", "awk": "Awk", "batch": "Batchfile",
    "bazel": "Starlark", "tiltfile": "Starlark", "bitbake": "BitBake", "c2hs": "C2hs Haskell",
    "c#": "C#", "cmake": "CMake", "coffee": "CoffeeScript", "crystal": "Crystal",
    "cue": "CUE", "cuda": "Cuda", "cython": "Cython", "dart": "Dart",
    "dockerfile": "Dockerfile", "elixir": "Elixir", "elm": "Elm", "erlang": "Erlang",
    "f#": "F#", "fish": "fish", "fortran": "Fortran", "gdscript": "GDScript",
    "gherkin": "Gherkin", "gleam": "Gleam", "go": "Go", "groovy": "Groovy",
    "haskell": "Haskell", "hcl": "HCL", "terraform": "HCL", "hlsl": "HLSL", "idris": "Idris",
    "java": "Java", "javascript": "JavaScript", "jsx": "JavaScript", "jsonnet": "Jsonnet",
    "julia": "Julia", "kotlin": "Kotlin", "lean": "Lean", "literate-haskell": "Literate Haskell",
    "lua": "Lua", "luau": "Luau", "m4": "M4", "makefile": "Makefile", "meson": "Meson",
    "metal": "Metal", "nim": "Nim", "nimble": "Nim", "nix": "Nix", "nushell": "Nushell",
    "objective-c++": "Objective-C++", "objective-c": "Objective-C", "ocaml": "OCaml",
    "pascal": "Pascal", "perl": "Perl", "php": "PHP", "powershell": "PowerShell",
    "puppet": "Puppet", "purescript": "PureScript", "python": "Python", "pyi": "Python",
    "scons": "Python", "qml": "QML", "r": "R", "robot": "RobotFramework", "ruby": "Ruby",
    "rust": "Rust", "salt": "Salt", "sas": "SAS", "scala": "Scala", "scheme": "Scheme",
    "csh": "Tcsh", "tcsh": "Tcsh", "zsh": "Zsh", "ksh": "Ksh", "bats": "Bats",
    "shell": "Shell", "solidity": "Solidity", "swift": "Swift",
    "system-verilog": "SystemVerilog", "thrift": "Thrift", "ts": "TypeScript", "tsx": "TSX",
    "vala": "Vala", "vb": "Visual Basic .NET", "verilog": "Verilog", "vhdl": "VHDL",
    "vim": "Vim script", "xquery": "XQuery", "xsl": "XSLT", "zig": "Zig",
    "c++": "C++", "c": "C",
}  # fmt: skip
_MARKUP: Final = {
    "astro": "Astro", "bib": "BibTeX", "css": "CSS", "ejs": "EJS", "erb": "HTML+ERB",
    "gotmpl": "Go Template", "handlebars": "Handlebars", "html": "HTML", "jade": "Pug",
    "jinja": "Jinja", "jupyter": "Jupyter Notebook", "less": "Less", "liquid": "Liquid",
    "mdx": "MDX", "mustache": "Mustache", "nunjucks": "Nunjucks", "pug": "Pug", "sass": "Sass",
    "scss": "SCSS", "stylus": "Stylus", "svelte": "Svelte", "templ": "templ", "tex": "TeX",
    "twig": "Twig", "vtl": "Velocity Template Language", "vue": "Vue",
}  # fmt: skip
_DATA: Final = {
    "avro-schema": "JSON", "cson": "CSON", "csv": "CSV", "cylc": "Cylc", "diff": "Diff",
    "dotenv": "Dotenv", "edn": "edn", "editorconfig": "EditorConfig",
    "gemfile-lock": "Gemfile.lock", "gitattributes": "Git Attributes", "gitconfig": "Git Config",
    "gitmodules": "Git Config", "gitignore": "Ignore List", "dockerignore": "Ignore List",
    "npmignore": "Ignore List", "go-mod": "Go Module", "go-sum": "Go Checksums",
    "graphql": "GraphQL", "icalendar": "iCalendar", "java-properties": "Java Properties",
    "json5": "JSON5", "jsonld": "JSONLD", "plantuml": "PlantUML", "prisma": "Prisma",
    "proto": "Protocol Buffer", "sln": "Microsoft Visual Studio Solution", "spec": "RPM Spec",
    "sql": "SQL", "svg": "SVG", "textproto": "Protocol Buffer Text Format", "toml": "TOML",
    "tsv": "TSV", "yang": "YANG", "json": "JSON", "xml": "XML", "yaml": "YAML", "ini": "INI",
    "plist": "XML Property List",
}  # fmt: skip
_PROSE: Final = {
    "asciidoc": "AsciiDoc", "markdown": "Markdown", "myst": "Markdown", "quarto": "RMarkdown",
    "pofile": "Gettext Catalog", "rst": "reStructuredText", "plain-text": "Text",
}  # fmt: skip
# edn and Clojure share a tag set, so data that must win over programming stands in front.
_BY_TAG: Final = {"edn": "edn", **_PROGRAMMING, "clojure": "Clojure", **_MARKUP, **_DATA, **_PROSE}

# Extensions that identify does not list, or takes for something else, as linguist names them.
_MORE_PROGRAMMING: Final = {
    "ac": "M4Sugar", "adb": "Ada", "ads": "Ada", "am": "Makefile", "applescript": "AppleScript",
    "asp": "Classic ASP", "awk": "Awk", "bas": "VBA", "cl": "Common Lisp", "cob": "COBOL",
    "cts": "TypeScript", "d": "D", "dpr": "Pascal", "el": "Emacs Lisp", "es6": "JavaScript",
    "f": "Fortran", "for": "Fortran", "glsl": "GLSL", "hx": "Haxe", "ksh": "Ksh", "l": "Lex",
    "lex": "Lex", "lisp": "Common Lisp", "ll": "LLVM", "mts": "TypeScript", "php3": "PHP",
    "phps": "PHP", "podspec": "Ruby", "pro": "QMake", "rkt": "Racket", "ru": "Ruby",
    "sed": "sed", "sml": "Standard ML", "stan": "Stan", "tcl": "Tcl", "thor": "Ruby",
    "vbs": "VBScript", "vert": "GLSL", "frag": "GLSL", "aspx": "ASP.NET",
    "jq": "jq", "jsp": "Java Server Pages", "tpl": "Smarty", "wat": "WebAssembly", "y": "Yacc",
    "yy": "Yacc", "mksh": "Ksh", "zsh-theme": "Zsh", "hack": "Hack",
}  # fmt: skip
_MORE_MARKUP: Final = {
    "blade.php": "Blade",
    "cshtml": "HTML+Razor", "haml": "Haml", "razor": "HTML+Razor", "slim": "Slim",
}  # fmt: skip
_MORE_DATA: Final = {"cfg": "INI", "cnf": "INI", "config": "XML", "gradle": "Gradle"}
_MORE_PROSE: Final = {"org": "Org", "pod": "Pod", "rdoc": "RDoc", "textile": "Textile"}
_MORE: Final = {**_MORE_PROGRAMMING, **_MORE_MARKUP, **_MORE_DATA, **_MORE_PROSE}

# Interpreters beside those that identify knows, and its own that are no Bash.
_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(_PROSE.values(), "prose"),
    **dict.fromkeys(_MORE_PROSE.values(), "prose"),
    **dict.fromkeys(_DATA.values(), "data"),
    **dict.fromkeys(_MORE_DATA.values(), "data"),
    **dict.fromkeys(_MARKUP.values(), "markup"),
    **dict.fromkeys(_MORE_MARKUP.values(), "markup"),
    **dict.fromkeys(_PROGRAMMING.values(), "programming"),
    **dict.fromkeys(_MORE_PROGRAMMING.values(), "programming"),
    **dict.fromkeys(
        """APL|Apex|Clojure|Cool|DTrace|Filterscript|Forth|Gnuplot|Hack|Hy|IDL|J|Limbo|M|MATLAB|MUF|Mercury
NASL|ObjectScript|OpenCL|OpenEdge ABL|POV-Ray SDL|Pawn|PicoLisp|Pkl|Prolog|Raku|Rebol|RenderScript
Rez|Rocq Prover|Terra|Turing|V|VBA|Visual Basic 6.0|Wolfram Language""".replace("\n", "|").split(
            "|"
        ),
        "programming",
    ),
    "Roff": "markup",
}

_STANDS_FOR: Final = frozenset({"in", "dist", "example", "sample", "template", "default"})
_ZSH: Final = re.compile(rb"#(?:compdef|autoload)\b")  # what zsh loads as a function
_SCRIPTS: Final = (".init.d", ".rc.d")  # no D, whatever they hold


class ChangedLines(NamedTuple):
    """What `triple_language` needs to know of one changed file; `lines` = added + deleted."""

    language: str | None
    lines: int
    generated: bool
    vendored: bool


@dataclass(frozen=True)
class Languages:
    """Decides languages within one repository, where `.h` has one meaning."""

    headers: str = "C"

    @classmethod
    def for_paths(cls, paths: Iterable[str]) -> Languages:
        """The resolver for a repository with these paths (those of one fixed tree).

        A header-only C++ library is recognised by its `.hpp`, `.hh` and `.hxx`.
        """
        sources = Counter(_by_name(path.rpartition("/")[2]) for path in paths)
        objective = sources["Objective-C"] + sources["Objective-C++"]
        counts = (("C", sources["C"]), ("C++", sources["C++"]), ("Objective-C", objective))
        return cls(max(counts, key=lambda item: item[1])[0])

    def language(self, path: str, head: bytes) -> str | None:
        """Linguist's name of a file's language, or None when name and content say nothing.

        Args:
            head: the first `shared_endings.HEAD_BYTES` bytes of the file, or fewer.
        """
        name = path.rpartition("/")[2]
        head = head.removeprefix(codecs.BOM_UTF8)
        if name.endswith(_SCRIPTS):
            return language_of_script(head) or "Shell"
        found = _by_name(name)
        ending = name.rpartition(".")[2].lower() if "." in name[1:] else ""
        if head and ending in SHARED and NAMES.keys().isdisjoint((name, name.partition(".")[0])):
            script = language_of_script(head) if ending in BY_SHEBANG else None
            rule = next((rule for rule in SHARED[ending] if rule.holds(head)), None)
            found = script or (found if rule is None else rule.language)
        if found == "Shell" and name.partition(".")[2]:  # by its ending; what runs it says more
            if _ZSH.match(head):
                return "Zsh"
            return language_of_script(head) or found
        if found is None:
            return "Zsh" if _ZSH.match(head) else language_of_script(head)
        return self.headers if found == HEADER else found


def kind(language: str) -> Kind:
    """Linguist's type of a language; what is unknown counts as data."""
    return _KINDS.get(language, "data")


def triple_language(changes: Iterable[ChangedLines]) -> str | None:
    """The language of a triple: the programming language with most changed lines.

    Files people wrote go before generated and vendored ones, and programming languages before
    markup, data and prose; within the first group that is not empty, the most lines win, and the
    first name in the alphabet when they tie. None only if no file has a language.
    """
    lines: Counter[tuple[bool, bool, str]] = Counter()
    for change in changes:
        if change.language is not None:
            aside = change.generated or change.vendored
            lines[aside, kind(change.language) != "programming", change.language] += change.lines
    ranked = ((aside, other, -count, name) for (aside, other, name), count in lines.items())
    return min(ranked, default=(False, False, 0, None))[3]


@lru_cache(maxsize=1 << 16)
def _by_name(name: str) -> str | None:
    """Whole name, then extension, then the part before the first dot (`Dockerfile.dev`)."""
    if name in NAMES:
        return _by_tags(frozenset(NAMES[name]))
    stem, dot, extension = name.rpartition(".")
    if name.endswith(".blade.php"):
        extension = "blade.php"
    found = _by_extension(extension.lower()) if dot and stem else None
    if found is None:
        first = name.partition(".")[0]
        if first in NAMES:
            found = _by_tags(frozenset(NAMES[first]))
        elif extension in _STANDS_FOR and stem:
            found = _by_name(stem)
    return found


@lru_cache(maxsize=1 << 12)
def _by_extension(extension: str) -> str | None:
    if extension == "h":
        return HEADER
    if extension in _MORE:
        return _MORE[extension]
    tags = EXTENSIONS.get(extension) or EXTENSIONS_NEED_BINARY_CHECK.get(extension)
    return _by_tags(frozenset(tags)) if tags else None


@cache
def _by_tags(tags: frozenset[str]) -> str | None:
    return next((name for tag, name in _BY_TAG.items() if tag in tags), None)
