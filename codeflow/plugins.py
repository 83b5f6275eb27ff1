"""Finds miners through their entry points, ours and everybody's in the same way."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from codeflow.config import from_mapping
from codeflow.contracts import Miner
from codeflow.errors import UsageError

MINERS_GROUP = "codeflow.miners"


def load_miners(
    kinds: tuple[str, ...], parameters: Mapping[str, Mapping[str, Any]]
) -> dict[str, Miner]:
    """The miners of some kinds, made with their parameters.

    Raises:
        UsageError: no plug-in has the kind, two have it, or a parameter is unknown.
    """
    factories: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for entry in entry_points(group=MINERS_GROUP):
        for kind, factory in _load(entry).items():
            if kind in factories and entry.value != owners[kind]:
                raise UsageError(
                    f"kind {kind!r} comes from {owners[kind]} and {entry.value}; uninstall one"
                )
            factories[kind], owners[kind] = factory, entry.value
    for kind in (*kinds, *parameters):
        if kind not in factories:
            near = difflib.get_close_matches(str(kind), factories, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(factories))}"
            )
            raise UsageError(f"unknown kind of triple {kind!r}; {hint}")
    if not kinds:
        raise UsageError("no kind of triple asked for; known: " + ", ".join(sorted(factories)))
    return {kind: _make(kind, factories[kind], parameters.get(kind, {})) for kind in kinds}


def _load(entry: EntryPoint) -> Mapping[str, Any]:
    try:
        kinds = entry.load()
    except Exception as error:  # somebody else's code: anything may come
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UsageError(
            f"plug-in {entry.value} cannot be loaded: {reason}; mend or uninstall it"
        ) from error
    if not isinstance(kinds, Mapping):
        raise UsageError(f"plug-in {entry.value} names no dict of kinds; mend or uninstall it")
    return kinds


def _make(kind: str, factory: Any, values: Mapping[str, Any]) -> Miner:
    where = f"mine.miners.{kind}"
    if dataclasses.is_dataclass(factory):
        return cast(Miner, from_mapping(cast(type, factory), values, where))
    try:
        return factory(**values)  # type: ignore[no-any-return]
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from None
