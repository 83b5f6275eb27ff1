"""What a submission may not touch, because it decides how it is judged.

Configuration of pytest is not among it: the grader has a configuration of its own, so that theirs
has no effect.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from codeflow.git.apply import File
from codeflow.records import SYMLINK_MODE

_NAMES: Final = frozenset({"conftest.py", "sitecustomize.py", "usercustomize.py"})
_SUFFIXES: Final = (".pth", ".pyc", ".so", ".pyd", ".egg-link")
_FOLDERS: Final = (".dist-info", ".egg-info", "__pycache__", ".git")
_RUNNERS: Final = frozenset(
    {"pytest", "_pytest", "pluggy", "iniconfig", "unittest", "witness", "report"}
)
_COMPARISONS: Final = frozenset({"__eq__", "__ne__", "__contains__", "__instancecheck__"})


def refusal(
    changed: Mapping[str, File | None],
    old: Mapping[str, File],
    tests: Collection[str],
    roots: Collection[str],
    names: Collection[str],
) -> str | None:
    """Why a submission is refused, in one line; None when it is not.

    Args:
        changed: what it makes of the paths that it touches.
        old: all files before.
        tests: the paths that the hidden tests touch.
        roots: folders from which modules are imported, relative; "" for the top.
        names: modules that the environment has at top level.
    """
    importable = {*roots, *(str(PurePosixPath(path).parent) for path in tests)}
    importable = {"" if folder == "." else folder for folder in importable}
    for path, file in changed.items():
        place = PurePosixPath(path)
        if path in tests:
            return f"{path}: belongs to the hidden tests"
        if place.name in _NAMES:
            return f"{path}: is run by the test runner or the interpreter itself"
        if path.lower().endswith(_SUFFIXES):
            return f"{path}: is loaded without its source"
        if any(part.lower().endswith(_FOLDERS) for part in place.parts):
            return f"{path}: stands where installed packages do"
        if file is None:
            continue
        if path not in old and (name := _shadowed(place, old, importable, names)):
            return f"{path}: would be imported instead of {name}"
        if file[0] == SYMLINK_MODE and file != old.get(path):
            target = file[1].decode(errors="replace")
            if target.startswith("/") or _leaves(place, target):
                return f"{path}: a link out of the repository"
        if path.endswith(".py") and (name := _always_true(file[1], old.get(path))):
            return f"{path}: {name} that is true of everything"
    return None


def _shadowed(
    place: PurePosixPath, old: Mapping[str, File], importable: set[str], names: Collection[str]
) -> str | None:
    """The module of the runner, the interpreter or the environment that a new file hides."""
    for folder, name in _modules(place):
        if any(path.startswith(f"{folder}/{name}/" if folder else f"{name}/") for path in old):
            continue  # the repository has a package of that name
        if name in _RUNNERS:
            return name
        if folder in importable and (name in sys.stdlib_module_names or name in names):
            return name
    return None


def _modules(place: PurePosixPath) -> Iterator[tuple[str, str]]:
    """Folder and name of each module or package that the file may be or belong to."""
    if place.suffix == ".py" and place.stem != "__init__":
        yield _folder(place.parent), place.stem
    for parent in place.parents:
        if parent.name:
            yield _folder(parent.parent), parent.name


def _folder(place: PurePosixPath) -> str:
    return "" if str(place) == "." else str(place)


def _leaves(place: PurePosixPath, target: str) -> bool:
    depth = len(place.parts) - 1
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _always_true(file: bytes, before: File | None) -> str | None:
    """A comparison, new in this file, that returns True whatever it is given."""
    known = set(_constant_comparisons(before[1])) if before is not None else set()
    return next((name for name in _constant_comparisons(file) if name not in known), None)


def _constant_comparisons(source: bytes) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name in _COMPARISONS:
                    returned = [n.value for n in ast.walk(part) if isinstance(n, ast.Return)]
                    if returned and all(_is_true(value) for value in returned):
                        yield f"{node.name}.{part.name}"
                elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Lambda):
                    for target in part.targets:
                        if (
                            isinstance(target, ast.Name)
                            and target.id in _COMPARISONS
                            and _is_true(part.value.body)
                        ):
                            yield f"{node.name}.{target.id}"


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and bool(value.value)
