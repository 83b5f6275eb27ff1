"""Which files of a repository a file imports, as far as its text and the paths tell.

A pattern a language finds the names; a name becomes paths that are then looked up, first beside
the file and then in the directories above it, so that no index of the tree is needed. A Go package
is a directory: of it, the file that has its name. What cannot be found this way (packages from
elsewhere, names that a build defines) is left out. Cost: one search through the file, and a few
directory look-ups an import.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from codeflow.triple import Snapshot

_MOST = 64  # imports of one file


def imported(path: str, snapshot: Snapshot) -> Iterator[str]:
    """Paths of the snapshot that the file at `path` imports, in the order of the imports."""
    finder = _FINDERS.get(PurePosixPath(path).suffix)
    if finder is None:
        return
    pattern, candidates = finder
    text = snapshot[path].decode("utf-8-sig")
    names = dict.fromkeys(match for match in pattern.findall(text))
    folder = posixpath.dirname(path)
    for name in list(names)[:_MOST]:
        for candidate in candidates(name, folder):
            if candidate != path and candidate in snapshot:
                yield candidate
                break


def _above(folder: str) -> Iterator[str]:
    """A directory and those above it, each with its `/`, down to the root's empty string; `src/`
    last, where many projects keep their packages."""
    while folder:
        yield f"{folder}/"
        folder = posixpath.dirname(folder)
    yield ""
    yield "src/"


def _python(found: tuple[str, ...], folder: str) -> Iterator[str]:
    """`from ..a.b import c` and `import a.b`: modules, then packages."""
    dots, module, name, plain = found
    parts = (plain or module).replace(".", "/")
    stems = [posixpath.join(parts, name), parts] if name else [parts]
    roots = list(_above(folder))
    if dots:
        base = folder
        for _ in dots[1:]:
            base = posixpath.dirname(base)
        roots = [f"{base}/" if base else ""]
    for root in roots:
        for stem in filter(None, stems):
            yield f"{root}{stem}.py"
            yield f"{root}{stem}/__init__.py"


def _script(name: str, folder: str) -> Iterator[str]:
    """`from './a'`, `require('../b')`: as written, with an ending, or a directory's index."""
    base = posixpath.normpath(posixpath.join(folder, name))
    yield base
    for ending in (".ts", ".tsx", ".js", ".jsx", ".mjs", ".vue"):
        yield base + ending
    for ending in (".ts", ".tsx", ".js", ".jsx"):
        yield f"{base}/index{ending}"


def _include(name: str, folder: str) -> Iterator[str]:
    """`#include "a/b.h"`: beside the file, above it, or in an `include` there."""
    for root in _above(folder):
        yield posixpath.normpath(root + name)
        yield posixpath.normpath(f"{root}include/{name}")


def _java(name: str, folder: str) -> Iterator[str]:
    """`import a.b.C;`: below any directory above the file."""
    stem = name.replace(".", "/")
    for root in _above(folder):
        for ending in (".java", ".kt", ".scala"):
            yield f"{root}{stem}{ending}"


def _rust(found: tuple[str, ...], folder: str) -> Iterator[str]:
    """`mod a;` and `use crate::a::b`."""
    module, used = found
    if module:
        yield f"{folder}/{module}.rs" if folder else f"{module}.rs"
        yield f"{folder}/{module}/mod.rs" if folder else f"{module}/mod.rs"
        return
    parts = used.split("::")
    for root in _above(folder):
        for length in range(len(parts), 0, -1):
            stem = "/".join(parts[:length])
            yield f"{root}{stem}.rs"
            yield f"{root}{stem}/mod.rs"


def _go(name: str, folder: str) -> Iterator[str]:
    """`"host/owner/module/a/b"`: `a/b/b.go`, or `module.go` at the top for the module itself.

    Where the module's path ends is not known, so its parts are given up one by one.
    """
    parts = [part for part in name.split("/")[1:] if not re.fullmatch(r"v\d+", part)]
    for start in range(len(parts)):
        yield f"{'/'.join(parts[start:])}/{parts[-1]}.go"
    yield from (f"{part}.go" for part in parts[-1:])


def _ruby(name: str, folder: str) -> Iterator[str]:
    """`require 'a/b'`, `require_relative 'c'`."""
    for root in _above(folder):
        yield posixpath.normpath(f"{root}{name}.rb")
        yield posixpath.normpath(f"{root}lib/{name}.rb")


_Finder = tuple[re.Pattern[str], Callable[..., Iterator[str]]]


def _finder(pattern: str, candidates: Callable[..., Iterator[str]]) -> _Finder:
    return re.compile(pattern, re.MULTILINE | re.VERBOSE), candidates


_PYTHON = _finder(
    r"^[ \t]*(?: from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t(]+(\w+) | import[ \t]+([\w.]+) )", _python
)
_SCRIPT = _finder(r"""(?:\bfrom|\bimport|\brequire\()\s*\(?["'](\.[^"'\n]+)["']""", _script)
_C = _finder(r'^[ \t]*\#[ \t]*include[ \t]+"([^"\n]+)"', _include)
_GO = _finder(
    r"""^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"([\w-]+\.[\w.-]*/[\w./-]+)"[ \t]*(?://|$)""", _go
)
_JAVA = _finder(r"^import[ \t]+(?:static[ \t]+)?([\w.]+)", _java)
_RUST = _finder(
    r"^[ \t]*(?:pub(?:\([^)\n]*\))?[ \t]+)? (?: mod[ \t]+(\w+); | use[ \t]+crate::([\w:]+\w) )",
    _rust,
)
_RUBY = _finder(r"""^[ \t]*require(?:_relative)?[ \t(]+["']([^"'\n]+)["']""", _ruby)
_FINDERS: dict[str, _Finder] = {
    ".py": _PYTHON,
    ".pyi": _PYTHON,
    **dict.fromkeys((".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".vue"), _SCRIPT),
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".m", ".mm"), _C),
    **dict.fromkeys((".java", ".kt", ".scala"), _JAVA),
    ".go": _GO,
    ".rs": _RUST,
    ".rb": _RUBY,
}
