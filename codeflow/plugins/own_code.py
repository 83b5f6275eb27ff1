"""Miners and filters that are not installed: where their code is, and how it reaches workers."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from codeflow.errors import UsageError
from codeflow.plugins.fingerprint import source_digest


def module_at(place: str, what: str) -> tuple[ModuleType, str]:
    """A module by name or by its file, and the digest of its source; `what` is it for messages."""
    if not place.endswith(".py"):
        try:
            module = importlib.import_module(place)
        except Exception as error:  # somebody else's code: anything may come
            raise UsageError(f"{what}: {first_line(error)}") from error
        return module, source_digest(module)
    path = Path(place).expanduser().resolve()
    digest = digest_of(path)
    name = f"codeflow_own_{path.stem}_{digest[:8]}"
    if name not in sys.modules:
        found = importlib.util.spec_from_file_location(name, path)
        if found is None or found.loader is None or not path.is_file():
            raise UsageError(f"{what}: no such file: {place}")
        module = sys.modules[name] = importlib.util.module_from_spec(found)
        try:
            found.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise UsageError(f"{what}: {first_line(error)}") from error
    return sys.modules[name], source_digest(sys.modules[name])


def attribute_of(module: ModuleType, names: str) -> Any:
    """What a dotted name stands for in a module; None for nothing."""
    found: Any = module
    for name in names.split("."):
        found = getattr(found, name, None)
    return found


def digest_of(path: Path | str | None) -> str:
    """A digest of a file's bytes."""
    try:
        return hashlib.sha256(Path(path or "").read_bytes()).hexdigest()[:16]
    except OSError:
        return "unknown"


def send_along(own: Any) -> None:
    """Makes Ray send the code of what is not installed, instead of its module's name."""
    if "ray" not in sys.modules:
        return
    from ray import cloudpickle

    target = own if inspect.isroutine(own) else type(own)
    module = sys.modules.get(getattr(target, "__module__", ""))
    path = getattr(module, "__file__", None)
    if module is None or path is None or module.__name__ == "__main__":
        return
    ours = module.__name__.split(".")[0] in ("codeflow", "codeflow_miners", "codeflow_filters")
    if not ours and "site-packages" not in Path(path).parts:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]


def first_line(error: Exception) -> str:
    """What an error of somebody else's code says, in a line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
