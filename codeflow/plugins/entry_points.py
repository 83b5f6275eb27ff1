"""Finds miners and filters: through entry points, ours and everybody's in the same way, and, for
filters, in a module, a Python file or a function that is given as it is."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from codeflow.config import from_mapping
from codeflow.contracts import (
    CONTENTS,
    COSTS,
    Cost,
    History,
    Miner,
    Pair,
    Profile,
    RepositoryFilter,
)
from codeflow.errors import UsageError
from codeflow.plugins.fingerprint import fingerprint
from codeflow.plugins.own_code import attribute_of, digest_of, first_line, module_at, send_along
from codeflow.records import TRIPLES

MINERS_GROUP = "codeflow.miners"
FILTERS_GROUP = "codeflow.filters"

Spec = str | Callable[..., Any]
"""A filter as a user names it: NAME, `module:attr`, `file.py:attr`, or a callable."""


def load_miners(
    kinds: tuple[str, ...], parameters: Mapping[str, Mapping[str, Any]]
) -> dict[str, Miner]:
    """The miners of some kinds, made with their parameters.

    Args:
        kinds: names of installed ones, and of one's own `module:attr` or `file.py:attr`: their
            kind is the last name of the attribute.

    Raises:
        UsageError: no plug-in has the kind, two have it, or a parameter is unknown.
    """
    factories = installed(MINERS_GROUP, "kind")
    wanted: dict[str, Any] = {}
    for spec in kinds:
        kind, made = spec, factories.get(spec)
        if ":" in spec:
            kind, made = _own_miner(spec, parameters)
        elif spec.endswith(".py"):
            raise UsageError(f"kind {spec}: name the class in it, as in {spec}:MyMiner")
        else:
            _known(kind, factories, "kind of triple")
            made = _make(made, parameters.get(kind, {}), f"mine.miners.{kind}")
        if kind in wanted or (":" in spec and kind in factories):
            raise UsageError(f"kind {spec}: there is another {kind!r}; give one another name")
        wanted[kind] = made
    for kind in parameters:
        _known(kind, {**factories, **wanted}, "kind of triple")
    if not kinds:
        raise UsageError("no kind of triple asked for; known: " + ", ".join(sorted(factories)))
    return wanted


@dataclass(frozen=True)
class OwnMiner:
    """A miner that is not installed; its code goes along to where it runs.

    Attributes:
        source: a digest of the code; with it and its parameters, the miner is the same one.
    """

    miner: Any
    source: str

    @property
    def why(self) -> str:
        """See `codeflow.contracts.Miner`, here and below."""
        return str(self.miner.why)

    @property
    def lookahead(self) -> int:
        return int(self.miner.lookahead)

    @property
    def wants_features(self) -> bool:
        return bool(self.miner.wants_features)

    def pairs(self, history: History) -> Iterable[Pair]:
        found: Iterable[Pair] = self.miner.pairs(history)
        return found

    def __getstate__(self) -> dict[str, Any]:
        send_along(self.miner)
        return dict(self.__dict__)


def _own_miner(spec: str, parameters: Mapping[str, Mapping[str, Any]]) -> tuple[str, OwnMiner]:
    """The kind and the miner of a class, or of an object, in a file or a module."""
    place, _, attribute = spec.rpartition(":")
    module, digest = module_at(place, f"kind {spec}")
    found = attribute_of(module, attribute)
    kind = attribute.rpartition(".")[2]
    if found is None:
        near = difflib.get_close_matches(attribute, vars(module), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "name a class that is in it"
        raise UsageError(f"kind {spec}: {place} has no {attribute!r}; {hint}")
    if inspect.isclass(found):
        found = _make(found, parameters.get(kind, {}), f"mine.miners.{kind}")
    elif parameters.get(kind):
        raise UsageError(f"mine.miners.{kind}: {kind} is made already and takes no parameters")
    members = ("why", "lookahead", "wants_features", "pairs")
    if missing := [name for name in members if not hasattr(found, name)]:
        raise UsageError(
            f"kind {spec}: is no miner, it lacks {', '.join(missing)}; see codeflow.contracts.Miner"
        )
    return kind, OwnMiner(found, digest)


@dataclass(frozen=True)
class LoadedFilter:
    """A filter that is ready to run.

    Attributes:
        name: what its drops are counted under.
        reasons: a line for people by reason, in place of `why`; of some reasons or of none.
        identity: what decides its verdicts, as JSON values: where it is from and its parameters.
    """

    name: str
    filter: Callable[[Any], Any] | RepositoryFilter
    why: str
    cost: Cost
    reads: frozenset[str]
    identity: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it comes with codeflow."""
        return str(self.identity.get("from", "")).startswith("codeflow_filters.")

    def __getstate__(self) -> dict[str, Any]:
        send_along(self.filter)
        return dict(self.__dict__)


def filter_factories() -> dict[str, Any]:
    """Every filter and profile that is installed, by name."""
    return installed(FILTERS_GROUP, "filter")


def load_filters(
    specs: Sequence[Spec], parameters: Mapping[str, Mapping[str, Any]]
) -> tuple[LoadedFilter, ...]:
    """The filters that are named, profiles resolved, in the order in which they run.

    A filter that is named more than once, by a profile and by itself, runs once, with the
    parameters of the later; those of the configuration come before a profile's.

    Args:
        parameters: by name of filter, as in `[filter.rules.NAME]`.

    Raises:
        UsageError: nothing of that name, two of one name, a wrong parameter, or no filter.
    """
    factories = filter_factories()
    found: dict[str, LoadedFilter] = {}
    for spec in specs:
        for loaded in _resolve(spec, factories, parameters):
            known = found.get(loaded.name, loaded)
            installed = all("source" not in one.identity for one in (known, loaded))
            if not installed and known.identity != loaded.identity:
                raise UsageError(
                    f"two filters are called {loaded.name!r}; give one of them another name"
                )
            found[loaded.name] = loaded
    for name in parameters:
        if name not in found:  # it does not run, but what is said of it must be right
            _known(name, {**factories, **found}, "filter")
            if isinstance(factories[name], Profile):
                raise UsageError(f"filter.rules.{name}: it is a profile; name the filters in it")
            _check_keys(factories[name], parameters[name], f"filter.rules.{name}")
    for name, loaded in found.items():
        unknown = loaded.reads - {*TRIPLES.names, CONTENTS}
        if loaded.cost not in COSTS or unknown:
            what = f"cost {loaded.cost!r}" if loaded.cost not in COSTS else f"reads {unknown}"
            raise UsageError(f"filter {name}: {what} is none that codeflow.contracts knows")
    # contents are read ahead for all filters that look at them, after the others
    return tuple(sorted(found.values(), key=lambda f: (CONTENTS in f.reads, COSTS.index(f.cost))))


def _resolve(
    spec: Spec, factories: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]]
) -> Iterator[LoadedFilter]:
    if not isinstance(spec, str):
        if not callable(spec) and not isinstance(spec, RepositoryFilter):
            raise UsageError(f"filter {spec!r}: give a name, module:attr, file.py:attr or function")
        yield _own(getattr(spec, "__name__", type(spec).__name__), spec, parameters, None)
    elif ":" in spec:
        place, _, attribute = spec.rpartition(":")
        module, digest = module_at(place, f"filter {spec}")
        found = attribute_of(module, attribute)
        if not callable(found) and not isinstance(found, RepositoryFilter):
            near = difflib.get_close_matches(attribute, vars(module), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "name a function that is in it"
            raise UsageError(f"filter {spec}: {place} has no function {attribute!r}; {hint}")
        yield _own(attribute, found, parameters, {"source": digest, "attr": attribute})
    elif spec.endswith(".py"):
        raise UsageError(f"filter {spec}: name the function in it, as in {spec}:my_filter")
    else:
        _known(spec, factories, "filter")
        if isinstance(profile := factories[spec], Profile):
            for name, values in profile.filters.items():
                _known(name, factories, f"filter of profile {spec!r}")
                yield _built_in(name, factories[name], {**values, **parameters.get(name, {})})
        else:
            yield _built_in(spec, factories[spec], parameters.get(spec, {}))


def _built_in(name: str, factory: Any, values: Mapping[str, Any]) -> LoadedFilter:
    made = _make(factory, values, f"filter.rules.{name}")
    identity = {"name": name, "from": getattr(factory, "__module__", ""), **_parameters(made)}
    return _loaded(name, made, identity)


def _own(
    name: str,
    given: Any,
    parameters: Mapping[str, Mapping[str, Any]],
    identity: Mapping[str, Any] | None,
) -> LoadedFilter:
    """A filter from outside of the entry points: a function, an object, or a class to make."""
    if inspect.isclass(given):
        given = _make(given, parameters.get(name, {}), f"filter.rules.{name}")
    elif parameters.get(name):
        raise UsageError(f"filter.rules.{name}: {name} is a function and takes no parameters")
    if identity is None:
        identity = {"name": name, "source": fingerprint(given)}
    return _loaded(name, given, {**identity, **_parameters(given)})


def _loaded(name: str, made: Any, identity: Mapping[str, Any]) -> LoadedFilter:
    lines = (inspect.getdoc(made) or "").strip().splitlines()
    why = getattr(made, "why", lines[0] if lines else f"dropped by {name}")
    reasons = getattr(made, "reasons", {})
    reads = getattr(made, "reads", None)
    texts = [why, *reasons, *reasons.values()] if isinstance(reasons, Mapping) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(f"filter {name}: `why` is a line of text, `reasons` a dict of such lines")
    if reads is None:
        reads = TRIPLES.names
    elif isinstance(reads, str) or not isinstance(reads, Collection):
        raise UsageError(f"filter {name}: `reads` is {reads!r}; give a set of names of columns")
    return LoadedFilter(
        name,
        made,
        why,
        getattr(made, "cost", "patch"),
        frozenset(reads),
        dict(identity),
        dict(reasons),
    )


def _parameters(made: Any) -> dict[str, Any]:
    """What a made filter says it depends on: its fields, and the files behind them."""
    values: dict[str, Any] = {}
    if dataclasses.is_dataclass(made) and not isinstance(made, type):
        values["parameters"] = {
            f.name: _without_place(getattr(made, f.name)) for f in dataclasses.fields(made)
        }
    return values


def _without_place(value: Any) -> Any:
    """A parameter; a file by its content, so that it is the same wherever it lies."""
    if isinstance(value, (tuple, list)):
        return [_without_place(one) for one in value]
    if isinstance(value, (str, Path)) and value and Path(value).is_file():
        return {"sha256": digest_of(value)}
    return value


def installed(group: str, what: str) -> dict[str, Any]:
    """Everything the entry points of a group name."""
    factories: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for entry in entry_points(group=group):
        for name, factory in _load(entry).items():
            if name in factories and entry.value != owners[name]:
                raise UsageError(
                    f"{what} {name!r} comes from {owners[name]} and {entry.value}; uninstall one"
                )
            factories[name], owners[name] = factory, entry.value
    return factories


def _known(name: str, known: Mapping[str, Any], what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
        raise UsageError(f"unknown {what} {name!r}; {hint}")


def _load(entry: EntryPoint) -> Mapping[str, Any]:
    try:
        named = entry.load()
    except Exception as error:  # somebody else's code: anything may come
        raise UsageError(
            f"plug-in {entry.value} cannot be loaded: {first_line(error)}; mend or uninstall it"
        ) from error
    if not isinstance(named, Mapping):
        what = {MINERS_GROUP: "kinds", FILTERS_GROUP: "filters"}.get(entry.group, "renderings")
        raise UsageError(f"plug-in {entry.value} names no dict of {what}; mend or uninstall it")
    return named


def _check_keys(factory: Any, values: Mapping[str, Any], where: str) -> None:
    names = (
        [f.name for f in dataclasses.fields(factory)] if dataclasses.is_dataclass(factory) else ()
    )
    for key in values if names else ():
        _known(key, dict.fromkeys(names), f"key of {where}:")


def _make(factory: Any, values: Mapping[str, Any], where: str) -> Any:
    if dataclasses.is_dataclass(factory):
        try:
            return from_mapping(cast(type, factory), values, where)
        except UsageError as error:
            text = str(error)
            raise UsageError(text if text.startswith(where) else f"{where}: {text}") from None
    try:
        return factory(**values)
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from None
