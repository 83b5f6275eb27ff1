"""The language that a script's first line names: `#!`, an interpreter, and what stands before it.

Few scripts name their interpreter plainly. `env` may have options, variables and `-S`; `nice`,
`busybox` and their kin run what follows; `uv`, `npx`, `nix-shell` and others fetch what is run; a
version may be part of the name; and a shell script may do nothing but hand itself to another
interpreter. Names and languages are those of linguist and `identify`, and some more: shells that
are no Bash have names of their own (Zsh, Ksh, Bats), though linguist calls them all Shell, because
a parser of Bash takes their code for errors.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

_LANGUAGES: Final = {
    "Zsh": "zsh", "Ksh": "ksh ksh93 mksh pdksh oksh loksh rksh", "Bats": "bats",
    "Shell": "sh rc ash bash dash posh rbash yash cbsd"
    " openrc-run runscript nix-shell nix cached-nix-shell busybox toybox",
    "Hy": "hy", "J": "jconsole",
    "APL": "apl aplx dyalog", "Tcsh": "csh tcsh",
    "fish": "fish", "Nushell": "nu nushell", "PowerShell": "pwsh powershell",
    "Python": "python pythonw ipython bpython pypy jython micropython circuitpython graalpy"
    " cpython py uv uvx pipx poetry pdm hatch rye pipenv conda mamba micromamba pixi xonsh scons"
    " sage",
    "Ruby": "ruby jruby mruby macruby rbx truffleruby rake irb bundle ruby_executable_hooks"
    " macruby",
    "Perl": "perl cperl plackup", "Raku": "raku rakudo perl6", "PHP": "php phpdbg hhvm",
    "JavaScript": "node nodejs js gjs qjs d8 v8 rhino jjs jsc zx chakra iojs electron npx pnpm"
    " npm yarn phantomjs casperjs txiki tjs",
    "TypeScript": "deno bun bunx tsx ts-node tsnode ts-node-esm ts-node-script swc-node"
    " tsimp esno esr",
    "CoffeeScript": "coffee", "Lua": "lua luajit texlua tarantool resty", "Luau": "luau lune",
    "R": "Rscript R r littler", "Julia": "julia", "MATLAB": "octave octave-cli matlab",
    "Awk": "awk gawk mawk nawk goawk", "sed": "sed gsed ssed minised", "jq": "jq gojq jaq",
    "Makefile": "make gmake bmake", "Tcl": "tclsh wish jimsh expect tixwish",
    "AppleScript": "osascript", "Groovy": "groovy nextflow", "Java": "java jbang jshell",
    "Kotlin": "kotlin kotlinc kscript", "Scala": "scala scala-cli amm sbt",
    "Clojure": "clojure clj bb lein planck lumo joker nbb", "C": "tcc", "C++": "cling root",
    "C#": "dotnet dotnet-script csharp", "F#": "fsharpi fsi", "Go": "go gorun yaegi gosh-go",
    "Rust": "rust-script cargo cargo-script run-cargo-script cargo-eval evcxr",
    "Swift": "swift swift-sh", "Zig": "zig", "V": "v vlang", "D": "rdmd dmd dub ldc2 gdmd",
    "Nim": "nim nimr nimcr", "Crystal": "crystal", "Dart": "dart dcli",
    "Haskell": "runghc runhaskell runhugs stack cabal ghci", "OCaml": "ocaml ocamlrun ocamlscript",
    "Elixir": "elixir iex mix", "Erlang": "escript erl", "Gleam": "gleam",
    "Common Lisp": "sbcl clisp ecl ccl lisp ros abcl cl",
    "Scheme": "guile scheme csi chicken gosh bigloo chez petite chibi-scheme gsi scsh r6rs"
    " mit-scheme",
    "Racket": "racket gracket", "Emacs Lisp": "emacs emacsclient", "Vim script": "vim nvim",
    "Prolog": "swipl gprolog yap scryer-prolog", "Gnuplot": "gnuplot", "DTrace": "dtrace",
    "Pascal": "instantfpc", "Haxe": "haxe", "Pkl": "pkl", "YAML": "ansible-playbook",
    "Fortran": "lfortran", "BitBake": "bitbake", "QMake": "qmake", "Starlark": "bazel",
}  # fmt: skip
_BY_NAME: Final = {name: found for found, names in _LANGUAGES.items() for name in names.split()}
# These run what follows, in the same terms.
_WRAPPERS: Final = frozenset(
    """sudo doas nice ionice time timeout nohup setsid command exec stdbuf unbuffer xvfb-run chronic
    busybox toybox env chpst catchsegv proot-run flock with-contenv s6-setuidgid linux32 linux64
    setarch arch""".split()  # noqa: SIM905
)
# These find what is to be run; it may be named after them, or is of their own language.
_RUNNERS: Final = frozenset(
    """poetry pdm hatch rye pipenv conda mamba micromamba pixi npx pnpm npm yarn bunx bundle
    nix""".split()  # noqa: SIM905
)
_TAKES_ONE: Final = frozenset({"-u", "--unset", "-C", "--chdir", "-a", "--argv0", "-P"})  # of env
_SPLIT: Final = re.compile(r"-(?:[a-zA-Z0]*S|-split-string=?)(.*)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\w+=")
_VERSION: Final = re.compile(
    r"(?:[-_]?v?\d[\d.]*(?:-?(?:dbg|dev|rc\d*|alpha|beta|lts|intel64))?)\Z"
)
_NIX: Final = re.compile(r"\s-i\s+(\S+)|\s(?:-c|--command)\s+(\S+)")
_NIX_LINE: Final = re.compile(r"^#!\s*(?:\S*/)?nix(?:-shell)?\b[^\n]*", re.MULTILINE)
# a shell script that hands itself over, in its first lines
_HANDED_OVER: Final = re.compile(
    r"""\bexec["']?\s+(?P<command>[^\n$`()|;&<>]*?)\s["']?\$\{?0\}?["']?(?=\s|\Z)"""
)
_FIRST_LINES: Final = 8
_FIRST_BYTES: Final = 2048


def language_of_script(head: bytes) -> str | None:
    """The language of a text that begins with `#!`; None when its interpreter is unknown.

    Args:
        head: the first lines of a file, or more, without a byte order mark.
    """
    if not head.startswith(b"#!"):
        return None
    lines = head[:_FIRST_BYTES].split(b"\n", _FIRST_LINES)
    return _language_of_lines(b"\n".join(lines[:_FIRST_LINES]))


@lru_cache(maxsize=1 << 12)
def _language_of_lines(head: bytes) -> str | None:
    lines = [line.rstrip("\r") for line in head.decode("utf-8", "replace").split("\n")]
    found = _language(_words(lines[0][2:]), "\n".join(lines))
    if found in ("Shell", "Tcsh", "Zsh", "Ksh"):
        handed = _HANDED_OVER.search("\n".join(lines[1:]))
        if handed is not None:
            other = _language(_words(handed["command"].strip("'\"")), "")
            found = other or found
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that does not end
        return text.replace('"', " ").replace("'", " ").split()


def _language(words: Sequence[str], head: str) -> str | None:
    """The language of a command line."""
    for _ in range(8):  # wrappers of wrappers
        if not words:
            return None
        name, rest = words[0].rpartition("/")[2], words[1:]
        if name not in _WRAPPERS:
            break
        inner = _command(rest) if name == "env" else _after_options(rest)
        if not inner:
            return _by_name(name)
        words = inner
    if name in ("nix-shell", "cached-nix-shell", "nix"):
        return _of_nix(" ".join(("", *words)), head)
    if name == "osascript" and "JavaScript" in "".join(rest):
        return "JavaScript"
    if name == "dotnet" and "fsi" in rest:
        return "F#"
    if name in _RUNNERS:
        known = (_by_name(word.rpartition("/")[2]) for word in rest if word[:1] != "-")
        return next(filter(None, known), _by_name(name))
    return _by_name(name)


def _command(words: Sequence[str]) -> list[str]:
    """What `env` runs: what follows its options and variables."""
    left = list(words)
    while left:
        word = left.pop(0)
        split = _SPLIT.fullmatch(word)
        if split is not None:
            left = [*_words(split[1]), *left]
        elif word in _TAKES_ONE:
            left = left[1:]
        elif word[:1] != "-" and not _VARIABLE.match(word):
            return [word, *left]
    return []


def _after_options(words: Sequence[str]) -> list[str]:
    """What another wrapper runs: from the first word on that is no option, number or variable."""
    for at, word in enumerate(words):
        plain = re.fullmatch(r"-.*|[\d.]+[smhd]?|\w+=.*", word) is None
        if plain and _by_name(word.rpartition("/")[2]) is not None:
            return list(words[at:])
        if word.rpartition("/")[2] in _WRAPPERS:
            return list(words[at:])
    return []


def _of_nix(command: str, head: str) -> str | None:
    """What `nix-shell` runs is said on its line, or on further lines that begin like it."""
    found = "Shell"
    for line in (command, *_NIX_LINE.findall(head)):
        for match in _NIX.finditer(line):
            found = _by_name((match[1] or match[2]).rpartition("/")[2]) or found
    return found


def _by_name(name: str) -> str | None:
    """The language of an interpreter, whatever its version."""
    name = name.removesuffix(".exe")
    while name:
        if name in _BY_NAME:
            return _BY_NAME[name]
        shorter = _VERSION.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return None
