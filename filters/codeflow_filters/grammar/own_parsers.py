"""Parsers of the languages themselves, beside tree-sitter's grammars: does one read this text?

They come as packages with a compiled parser inside, so that every machine has the same one: not the
`python` or `bash` that happens to run. They are asked in the process that parses
(`codeflow_filters.grammar.parser_child`), under its limits, as texts are hostile.

* Python: LibCST's parser, which takes what any of Python 3.0 to 3.15 takes.
* Shell: `shfmt`, a program; a text is good when one of its dialects reads it, since a `.sh` is read
  by whichever shell runs it. It is found through its package, never through `PATH`, and reads no
  configuration when it is given a dialect.
"""

from __future__ import annotations

import math
import resource
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from typing import Final

_DIALECTS: Final = ("bash", "mksh", "zsh", "bats")
_MEMORY_BYTES: Final = 2 << 30  # of addresses: a program in Go takes half of it to start


def reads(language: str, source: bytes, seconds: float) -> bool | None:
    """Whether the language's own parser reads a text; None when it gave up or met a limit."""
    return _READS[language](source, seconds)


def _python(source: bytes, seconds: float) -> bool | None:
    from libcst import ParserSyntaxError, parse_module

    try:
        parse_module(source.decode().removeprefix("\ufeff"))
    except ParserSyntaxError:
        return False
    except (RecursionError, MemoryError, UnicodeDecodeError):
        return None
    return True


def _shell(source: bytes, seconds: float) -> bool | None:
    """shfmt ends with 0 for a text that it reads, and with 1 for one that it does not."""
    unknown = False
    for dialect in _DIALECTS:
        try:
            done = subprocess.run(
                [_shfmt(), f"-ln={dialect}", "-"],
                input=source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"GOMAXPROCS": "1"},
                cwd="/",
                timeout=60 * seconds,
                preexec_fn=lambda: _limit(seconds),
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode == 0:
            return True
        unknown |= done.returncode != 1
    return None if unknown else False


def _limit(seconds: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or hard > _MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, hard))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds)))


@cache
def _shfmt() -> str:
    package = distribution("shfmt-py")
    for file in package.files or ():
        if file.stem == "shfmt" and file.suffix in ("", ".exe"):
            return str(package.locate_file(file))
    raise ImportError("shfmt-py has no shfmt")


_READS: Final[dict[str, Callable[[bytes, float], bool | None]]] = {
    "Python": _python,
    "Shell": _shell,
}
