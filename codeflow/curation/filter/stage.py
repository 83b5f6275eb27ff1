"""The filter stage: one unit a part, see `codeflow.curation.filter.judge`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from codeflow.config import require_within
from codeflow.contracts import Figures, Flow
from codeflow.curation.context import StageContext
from codeflow.curation.filter.judge import JudgeArguments, judge
from codeflow.errors import UsageError
from codeflow.plugins.entry_points import LoadedFilter


@dataclass(frozen=True)
class FilterConfig:
    """Which filters run, and with what parameters.

    Attributes:
        filters: names of filters and profiles, `module:attr` or `file.py:attr`.
        rules: parameters by name of filter, as in `[filter.rules.message]`.
        max_error_share: of a part's triples that a filter may fail on before the run stops.
        max_seconds: how long a filter of one's own may take over one triple.
    """

    filters: tuple[str, ...] = ("default",)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    max_error_share: float = 0.01
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_error_share <= 1:
            raise UsageError(f"max_error_share = {self.max_error_share}: give a share from 0 to 1")
        require_within(self, max_seconds=(0.001, 1e6))
        for name, values in self.rules.items():
            if not isinstance(values, Mapping):
                raise UsageError(f"filter.rules.{name}: expected a table, got {values!r}")

    def decontaminated(self, paths: Sequence[str]) -> FilterConfig:
        """With the filter `decontaminate` for these files of benchmark instances."""
        named = dict.fromkeys((*self.filters, "decontaminate"))
        values = {**self.rules.get("decontaminate", {}), "files": tuple(paths)}
        return replace(self, filters=tuple(named), rules={**self.rules, "decontaminate": values})


def flow(
    context: StageContext, filters: Sequence[LoadedFilter], config: FilterConfig
) -> Flow[Figures]:
    """Judges all parts.

    Returns:
        `weighed`: how many of what is kept each rule gave a weight; `timed_out`, if any.

    Raises:
        UsageError: a filter failed on too many triples.
    """
    judged = yield [
        context.unit(
            part.name,
            judge,
            JudgeArguments(
                str(context.folder),
                part,
                tuple(filters),
                config.max_error_share,
                config.max_seconds,
            ),
        )
        for part in context.parts
    ]
    failed: Counter[str] = Counter()
    for result in judged:
        failed.update(result.value["failed"])
    total = sum(result.value["judged"] for result in judged)
    for name, count in failed.most_common():
        if count == total > 1 or count > max(10, config.max_error_share * total):
            raise UsageError(
                f"filter {name} failed on {count} of {total} triples; mend it, or raise "
                "filter.max_error_share and read in the ledger how it failed"
            )
    timed_out = sum(result.value["timed_out"] for result in judged)
    weighed: Counter[str] = Counter()
    for result in judged:
        weighed.update(result.value["weighed"])
    figures: dict[str, Any] = {"weighed": dict(sorted(weighed.items()))}
    return figures | ({"timed_out": timed_out} if timed_out else {})
