"""What tells one function or object from another, so that a stage is redone when it changes.

A filter that is given as a Python object has no name and version to go by. Its verdicts follow from
its source, from the values it was made with (an object's attributes, defaults, closed-over values,
the arguments of a partial), and from what it names in its own module: constants and other
functions. All of that goes into one hash. What it imports from elsewhere counts by its name alone.
A filter that is named by its module or file counts with all of that file (`source_digest`).
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import pickle
import re
import sys
import types
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from codeflow.errors import UsageError


def fingerprint(given: Any) -> str:
    """16 hex digits for a function, a method, a partial, or an object with `__call__`.

    A value whose `repr` has its address in it counts as new in every process: rather a stage done
    once too often than an old decision taken for a new one.

    Raises:
        UsageError: its source cannot be read.
    """
    target = inspect.unwrap(given) if inspect.isroutine(given) else given
    if isinstance(target, functools.partial):
        target = target.func
    try:
        inspect.getsource(target if inspect.isroutine(target) else type(target).__call__)
    except (OSError, TypeError):
        raise UsageError(
            f"filter {given!r}: its source cannot be read; put it into a file and give file.py:name"
        ) from None
    text = "\0".join(_described(given, set()))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def source_digest(module: types.ModuleType) -> str:
    """16 hex digits for a module's source and that of all of one's own modules that it imports.

    One's own are those outside of `site-packages` and of Python; they count by their content, so
    that it is the same wherever they lie. What is imported by a computed name is not seen.
    """
    sources: dict[str, bytes] = {}
    pending = [(module.__name__, getattr(module, "__file__", None))]
    while pending:
        name, path = pending.pop()
        if name in sources or path is None or not path.endswith(".py"):
            continue
        try:
            sources[name] = Path(path).read_bytes()
            tree = ast.parse(sources[name])
        except (OSError, SyntaxError):
            continue
        package = getattr(sys.modules.get(name), "__package__", None) or ""
        for imported in sorted(_imported(tree, package)):
            found = _origin(imported)
            if found is not None and _is_own(imported, found):
                pending.append((imported, found))
    digests = sorted(hashlib.sha256(source).hexdigest() for source in sources.values())
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Names of the modules that a module imports; of some that are none, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join(filter(None, (*parts, base)))
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: k + 1]) for k in range(len(parts)))


def _origin(name: str) -> str | None:
    """The file of a module, imported or not."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    return None if spec is None else spec.origin


def _is_own(name: str, path: str) -> bool:
    top = name.partition(".")[0]
    ours = top in ("codeflow", "codeflow_filters", "codeflow_miners")
    return not (ours or top in sys.stdlib_module_names or "site-packages" in Path(path).parts)


def _described(value: Any, seen: set[int]) -> Iterator[str]:
    """The pieces of text that make up a value, each object once."""
    if isinstance(value, (str, bytes, int, float, complex, bool, type(None), re.Pattern)):
        yield repr(value)
        return
    if id(value) in seen:
        yield "again"
        return
    seen.add(id(value))
    yield type(value).__qualname__
    if isinstance(value, functools.partial):
        yield from _described((value.func, value.args, value.keywords), seen)
    elif isinstance(value, types.MethodType):
        yield from _described((value.__func__, value.__self__), seen)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, types.ModuleType):
        yield value.__name__
    elif isinstance(value, (property, classmethod, staticmethod)):
        yield from _described(
            getattr(value, "fget", None) or getattr(value, "__func__", None), seen
        )
    elif isinstance(value, type):
        yield from _class(value, seen)
    elif inspect.isroutine(value):
        yield f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    elif isinstance(value, Mapping):
        for key, one in sorted(value.items(), key=lambda pair: repr(pair[0])):
            yield from _described((key, one), seen)
    elif isinstance(value, Set):
        yield from sorted(repr(one) for one in value)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _described(one, seen)
    elif hasattr(value, "__dict__"):
        yield from _described(type(value), seen)
        yield from _described(vars(value), seen)
    else:
        try:
            yield hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()
        except Exception:  # somebody else's object: anything may come
            yield repr(value)


def _class(cls: type, seen: set[int]) -> Iterator[str]:
    """Its members and not its text, which no notebook gives; what is generated has none either."""
    yield f"{cls.__module__}.{cls.__qualname__}"
    for base in cls.__bases__:
        if base.__module__ == cls.__module__:
            yield from _described(base, seen)
        else:
            yield f"{base.__module__}.{base.__qualname__}"
    for name, member in sorted(vars(cls).items()):
        if inspect.isroutine(member) or not name.startswith(("__", "_abc_")):
            yield name
            yield from _described(member, seen)


def _function(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield _text(function)
    if function.__name__ == "<lambda>":  # of which there may be several in one line of source
        code = function.__code__
        yield repr((code.co_code, code.co_names, [c for c in code.co_consts if not _is_code(c)]))
    yield from _described((function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        try:
            yield from _described(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            yield "empty"
    if hasattr(function, "__wrapped__"):
        yield from _described(function.__wrapped__, seen)
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            used = function.__globals__[name]
            home = getattr(used, "__module__", function.__module__)
            yield name
            if home == function.__module__:
                yield from _described(used, seen)
            else:
                yield f"{home}.{getattr(used, '__qualname__', '')}"


def _names(code: types.CodeType) -> set[str]:
    """Names that a function looks up in its module, those in functions within it included."""
    names = set(code.co_names)
    for constant in filter(_is_code, code.co_consts):
        names |= _names(constant)
    return names


def _is_code(constant: object) -> bool:
    return isinstance(constant, types.CodeType)


def _text(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return ""
