"""What a command would do, without doing it: `--dry-run` of `mine` and of the stages.

Nothing is written, not even a lock, and no remote is asked. What would end the run at once raises
as it would there; what would cost a repository is a problem. Costs what `preflight` costs for each
repository that is on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codeflow.config import MineConfig
from codeflow.contracts import UnitResult
from codeflow.curation.chain import last_stamp
from codeflow.errors import RepositoryError, UsageError
from codeflow.execution.units import find_result
from codeflow.mining import index as mined
from codeflow.mining.growth import Growth, growth
from codeflow.mining.index import MinedIndex
from codeflow.mining.outcomes import place_in_list
from codeflow.mining.sources import Source, inspect_git_dir
from codeflow.pipeline import workdir
from codeflow.pipeline.run import Plan, mining_settings
from codeflow.pipeline.session import Execution
from codeflow.publish.publisher import publish_stamp
from codeflow.storage import files, layout
from codeflow.storage.layout import DONE, OUTCOME
from codeflow.text.escape import one_line

_SHOWN = 10


@dataclass(frozen=True)
class Preview:
    """Lines for people; `problems` are repositories that would fail, each one line."""

    lines: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = [f"  {one_line(problem)}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"  and {len(self.problems) - _SHOWN:,} more")
        if shown:
            shown.insert(0, "cannot be mined:")
        return "\n".join([*self.lines, *shown, "nothing was written"])


def preview_mine(
    sources: Sequence[Source],
    out: Path,
    config: MineConfig,
    execution: Execution,
    plan: Plan,
) -> Preview:
    """What `codeflow.pipeline.run.run` would do.

    Raises:
        UsageError: as the run would, for a folder that is not for it.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: File exists; give another folder")
    stored = workdir.require_ours(
        out,
        mining_settings(config),
        workdir.listed(sources),
        execution.fresh,
        execution.update,
    )
    index = None if stored is None or execution.fresh else mined.read(out)
    here = [source for source in sources if source.is_path and not source.problem]
    repeated = sum(len(source.repeats) for source in sources)
    window = config.window
    lines = [
        f"repositories: {len(sources):,}, {len(here):,} of them on this machine"
        + (f"; lines that say the same again: {repeated:,}" if repeated else ""),
        f"kinds: {', '.join(config.kinds)}, starting in {window.start:g}:{window.stop:g} "
        f"by {window.by}",
    ]
    more = growth(index, sources) if index is not None else None
    if index is not None and (more or execution.update):
        lines.append(f"{out}: {_gained(index)}; {_grown(more, execution.update)}")
    elif index is not None:
        lines.append(f"{out}: mined already, {_gained(index)}; Git is not read again")
        return Preview((*lines, *plan.changes, *_stages(out, index, plan)))
    else:
        lines.append(f"{out}: {_state(out, sources, stored, execution.fresh)}")
    lines.append(f"would run: {', '.join(['mine', *_names(plan), 'publish'])}")
    return Preview(tuple(lines), tuple(_problems(sources)))


def preview_stages(folder: Path, plan: Plan) -> Preview:
    """What `run_again` would do. Raises UsageError where nothing was mined."""
    index = mined.read(folder)
    if index is None:
        raise mined.absent(folder)
    return Preview((f"{folder}: {_gained(index)}", *plan.changes, *_stages(folder, index, plan)))


def _names(plan: Plan) -> Iterator[str]:
    """The stages of a plan before anything is mined; filters by the names they were asked by."""
    for stage in plan.stages(MinedIndex({}, "", "", ())):
        filters = (stage.asked or {}).get("filters")
        yield f"{stage.name} ({' '.join(filters)})" if filters else stage.name


def _gained(index: MinedIndex) -> str:
    triples = sum(index.kinds.values())
    return f"{triples:,} triples of {len(index.good):,} repositories"


def _grown(more: Growth | None, update: bool) -> str:
    counts = (
        [
            f"{len(keys):,} {what}"
            for keys, what in (
                (more.added, "to add"),
                (more.retried, "to try again"),
                (more.gone, "to take out"),
            )
            if keys
        ]
        if more
        else []
    )
    return ", ".join([*counts, *(["heads to look for again"] if update else [])])


def _state(out: Path, sources: Sequence[Source], stored: object, fresh: bool) -> str:
    if stored is None:
        return "a new folder"
    if fresh:
        return "holds a run; --fresh would remove it first"
    done = [files.read_json(out / DONE / source.key / OUTCOME) for source in sources]
    opened = [find_result(f"{source.key}/history", out) for source in sources]
    return (
        f"goes on where it stopped: {sum(isinstance(r, UnitResult) for r in opened):,} histories "
        f"read, {sum(value is not None for value in done):,} repositories mined"
    )


def _stages(folder: Path, index: MinedIndex, plan: Plan) -> Iterator[str]:
    """A line a stage: whether it is done with these settings, and what follows of it."""
    stages = plan.stages(index) if any(index.kinds.values()) else ()
    stamp: str | None = index.stamp
    for number, stage in enumerate(stages, 1):
        stamp = last_stamp(folder, index.stamp, stages[:number])
        yield f"  {stage.name}: {'would run' if stamp is None else 'done, would stay'}"
    published = files.read_json(folder / layout.MANIFEST) or {}
    done = stamp is not None and published.get("publish_hash") == publish_stamp(stamp)
    yield f"  publish: {'done, would stay' if done else 'would run'}"


def _problems(sources: Sequence[Source]) -> Iterator[str]:
    """What would fail, as far as can be seen from here: URLs are not asked."""
    for source in sources:
        if source.problem:
            yield f"{_place(source)}: {source.problem}"
        elif source.is_path:
            try:
                inspect_git_dir(Path(source.location))
            except RepositoryError as error:
                yield f"{_place(source)}: {error}"


def _place(source: Source) -> str:
    return place_in_list(source.repo, source.line, source.spec)
