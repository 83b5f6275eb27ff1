"""The unit of the filter stage: every triple of a part through the filters, cheap before dear.

A triple meets filters in the order of their cost and leaves at the first drop. Contents are read
only for what the cheap ones kept. An exception in a filter quarantines the triple: it is dropped
by the rule FILTER/error with the traceback, and too many of them end the run. So does a filter that
takes too long over one, by the rule FILTER/time; ours have limits of their own.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from codeflow.contracts import (
    CONTENTS,
    RepositoryFilter,
    RepositoryView,
    Sink,
    SparingFilter,
    Verdict,
)
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part, Stretch
from codeflow.curation.filter.time_limit import TimeIsUpError, TimeLimit
from codeflow.curation.mined_reader import MinedReader, MinedRepositoryView
from codeflow.errors import CodeflowError, UsageError
from codeflow.plugins.entry_points import LoadedFilter
from codeflow.records import TRIPLES
from codeflow.text.privacy import without_folders
from codeflow.triple import Triple

ALWAYS = (
    "id",
    "repo",
    "repo_url",
    "kind",
    "old_commit",
    "new_commit",
    "old_tree",
    "new_tree",
    "files",
    "position",
)
_ROWS_AT_ONCE = 256
_HELD_BYTES = 64 << 20  # of patches that wait for contents
_TRACEBACK_CHARACTERS = 4000
_ERROR, _TIME = "error", "time"
WEIGHT = "weight:"  # begins the name of the score that says which rule gave a weight
_WEIGHTS = (0.001, 1000.0)  # of one filter; what shall weigh nothing is dropped


@dataclass(frozen=True)
class JudgeArguments:
    """One part, and the filters in the order in which they run."""

    folder: str
    part: Part
    filters: tuple[LoadedFilter, ...]
    max_error_share: float
    max_seconds: float


class _Decision:
    """What is known of one triple so far."""

    __slots__ = ("detail", "failed", "reason", "rule", "scores", "weighed", "weight")

    def __init__(self) -> None:
        self.rule: str | None = None
        self.reason: str | None = None
        self.detail: str | None = None
        self.scores: dict[str, float] = {}
        self.weight = 1.0
        self.weighed: dict[str, float] = {}  # by rule
        self.failed = False


def judge(arguments: JudgeArguments, sink: Sink) -> dict[str, Any]:
    """Writes the decisions of a part.

    Returns: `judged` triples, `failed`: on how many by filter, `timed_out`: how many of these, and
    `weighed`: by rule, how many kept ones it gave a weight.
    """
    with TimeLimit(arguments.max_seconds) as time_limit:
        return _judge(arguments, time_limit)


def _judge(arguments: JudgeArguments, time_limit: TimeLimit) -> dict[str, Any]:
    folder, part = Path(arguments.folder), arguments.part
    ids: list[str] = []
    made: list[_Decision] = []
    for stretch, tables in groupby(parts.read(folder, part, _columns(arguments.filters)), _stretch):
        reader = MinedReader(folder, stretch)
        first = next(tables)[1]
        view = MinedRepositoryView(folder, stretch, reader, first.column("repo_url")[0].as_py())
        filters = tuple(_within(loaded, view) for loaded in arguments.filters)
        survivors = _Survivors(reader, [f for f in filters if CONTENTS in f.reads], time_limit)
        for table in chain([first], (table for _, table in tables)):
            judged = [_Decision() for _ in range(len(table))]
            _judge_cheaply(table, judged, filters, survivors, time_limit)
            ids += table.column("id").to_pylist()
            made += judged
        survivors.judge()
        _stop_if_too_many(made, arguments)
    decisions.write(
        folder,
        "filter",
        part.name,
        {
            "id": ids,
            "kept": [d.rule is None for d in made],
            "rule": [d.rule for d in made],
            "reason": [d.reason for d in made],
            "detail": [d.detail for d in made],
            "scores": [sorted(d.scores.items()) for d in made],
            "weight": [d.weight if d.rule is None else 1.0 for d in made],
        },
    )
    failed = Counter((d.rule or "").rpartition("/")[0] for d in made if d.failed)
    weighed = Counter(rule for d in made if d.rule is None for rule in d.weighed)
    timed_out = sum(d.failed and (d.rule or "").endswith(f"/{_TIME}") for d in made)
    return {
        "judged": len(made),
        "failed": dict(sorted(failed.items())),
        "timed_out": timed_out,
        "weighed": dict(sorted(weighed.items())),
    }


def _columns(filters: Iterable[LoadedFilter]) -> list[str]:
    wanted = {*ALWAYS}.union(*(f.reads for f in filters))
    return [name for name in TRIPLES.names if name in wanted]


def _within(loaded: LoadedFilter, view: RepositoryView) -> LoadedFilter:
    """The filter, made to judge one repository where it has to know it."""
    if not isinstance(loaded.filter, RepositoryFilter):
        return loaded
    try:
        return replace(loaded, filter=loaded.filter.within(view))
    except CodeflowError:
        raise
    except Exception as error:  # each of its triples is quarantined with this
        return replace(loaded, filter=_Broken(error))


class _Broken:
    """Stands for a filter that could not get to know a repository."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, triple: Triple) -> Verdict:
        raise self._error


def _stretch(row: tuple[Stretch, pa.Table]) -> Stretch:
    return row[0]


class _Survivors:
    """What the cheap filters kept of one repository, on its way to those that read contents."""

    def __init__(
        self, reader: MinedReader, filters: Sequence[LoadedFilter], time_limit: TimeLimit
    ) -> None:
        self.reader = reader
        self._filters = filters
        self._wants = [
            (f.filter.wants if isinstance(f.filter, SparingFilter) else None, f.is_ours)
            for f in filters
        ]
        self._time_limit = time_limit
        self._waiting: list[tuple[Triple, _Decision]] = []
        self._bytes = 0

    def add(self, triple: Triple, decision: _Decision) -> None:
        """Takes one; many at once share the reading of their contents."""
        if not self._filters:
            return
        self._waiting.append((triple, decision))
        self._bytes += len(triple.__dict__.get("patch", ""))
        if self._bytes > _HELD_BYTES:
            self.judge()

    def judge(self) -> None:
        """Judges what was taken, in its order, which is that of history."""
        waiting = iter(self._waiting)
        wanted = ((triple, self._wanted(triple)) for triple, _ in self._waiting)
        for chunk in self.reader.ahead(wanted):
            for triple in chunk:
                same, decision = next(waiting)
                assert same is triple
                _judge_one(triple, decision, self._filters, self._time_limit)
        self._waiting, self._bytes = [], 0

    def _wanted(self, triple: Triple) -> set[str]:
        """The ids of the contents to read for one; where a filter fails to tell, all."""
        wanted: set[str] = set()
        changed = {id for c in triple.files for id in (c.old_blob, c.new_blob) if id}
        for wants, is_ours in self._wants:
            if wants is None:
                return changed
            try:
                with nullcontext() if is_ours else self._time_limit.applied():
                    wanted |= changed.intersection(wants(triple))
            except (Exception, SystemExit, TimeIsUpError):  # a hint only: its verdict is to come
                return changed
        return wanted


def _judge_cheaply(
    table: pa.Table,
    judged: Sequence[_Decision],
    filters: Sequence[LoadedFilter],
    survivors: _Survivors,
    time_limit: TimeLimit,
) -> None:
    cheap = [f for f in filters if CONTENTS not in f.reads]
    for first in range(0, len(table), _ROWS_AT_ONCE):
        rows = table.slice(first, _ROWS_AT_ONCE).to_pylist()
        for row, decision in zip(rows, judged[first : first + _ROWS_AT_ONCE], strict=True):
            triple = Triple.from_row(row, survivors.reader)
            _judge_one(triple, decision, cheap, time_limit)
            if decision.rule is None:
                survivors.add(triple, decision)


def _judge_one(
    triple: Triple, decision: _Decision, filters: Iterable[LoadedFilter], time_limit: TimeLimit
) -> None:
    for loaded in filters:
        try:
            assert callable(loaded.filter)
            with nullcontext() if loaded.is_ours else time_limit.applied():
                verdict = loaded.filter(triple)
            _require_storable(loaded.name, verdict)
            if verdict.kept and verdict.weight != 1:
                rule = f"{loaded.name}/{verdict.reason}" if verdict.reason else loaded.name
                decision.weight *= verdict.weight
                decision.weighed[rule] = verdict.weight
                decision.scores[f"{WEIGHT}{rule}"] = verdict.weight
            decision.scores.update({name: float(v) for name, v in verdict.scores.items()})
        except TimeIsUpError:
            decision.failed = True
            decision.rule = f"{loaded.name}/{_TIME}"
            decision.reason = "the filter took too long"
            decision.detail = f"more than {time_limit.seconds:g} s"
            return
        except (Exception, SystemExit) as error:  # somebody else's code: anything may come
            decision.failed = True
            decision.rule = f"{loaded.name}/{_ERROR}"
            decision.reason = f"the filter failed: {type(error).__name__}"
            told = without_folders(traceback.format_exc())
            told = told.encode("utf-8", "backslashreplace").decode()
            decision.detail = told[-_TRACEBACK_CHARACTERS:]
            return
        if not verdict.kept:
            decision.rule = f"{loaded.name}/{verdict.reason}"
            decision.reason = loaded.reasons.get(verdict.reason or "", loaded.why)
            decision.detail = verdict.detail
            return


def _require_storable(name: str, verdict: object) -> None:
    """Raises TypeError or ValueError for what is no verdict or cannot be written as one."""
    if not isinstance(verdict, Verdict):
        raise TypeError(f"{name} returned {verdict!r}; return keep() or drop('reason')")
    if not verdict.kept and not verdict.reason:
        raise TypeError(f"{name} dropped without a reason; give drop('reason')")
    if not _WEIGHTS[0] <= verdict.weight <= _WEIGHTS[1]:  # a NaN is not, either
        raise ValueError(f"{name} gave the weight {verdict.weight!r}; give 0.001 to 1000")
    for text in (verdict.reason, verdict.detail, *verdict.scores):
        if isinstance(text, str):
            text.encode()
        elif text is not None:
            raise TypeError(f"{name} gave {text!r} where a verdict has text")


def _stop_if_too_many(made: Sequence[_Decision], arguments: JudgeArguments) -> None:
    failed = [d for d in made if d.failed]
    if len(failed) > max(10, arguments.max_error_share * len(made)):
        rule, detail = failed[0].rule, (failed[0].detail or "").strip().splitlines()
        assert rule is not None
        raise UsageError(
            f"filter {rule.rpartition('/')[0]} failed on {len(failed)} of {len(made)} triples "
            f"({detail[-1] if detail else '?'}); mend it, or raise filter.max_error_share"
        )
