"""`codeflow inspect`: a dataset as a table, a triple as a person would read it.

What is shown comes from hostile repositories: names, messages and contents may hold terminal
escapes. All of it passes `codeflow.text.escape` before it is printed, and none is ever read as
rich's markup. Colours, width and NO_COLOR are the console's affair.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from codeflow.dataset.reader import Dataset
from codeflow.dataset.statistics import Quantiles, Statistics
from codeflow.errors import DataError
from codeflow.records import FileChange
from codeflow.text.escape import one_line, visible
from codeflow.text.numbers import quantity
from codeflow.triple import Step, Triple

_TOP = 8
_BAR = 30
_LIFE = 36  # columns from a project's first commit to its last


def show_dataset(dataset: Dataset, console: Console) -> None:
    """Prints what a dataset holds: readable at 80 columns and in a pipe."""
    statistics = dataset.statistics()
    console.print(Text(str(dataset.folder), style="bold"), soft_wrap=True)
    console.print(_overview(dataset, statistics))
    console.print(_kinds(statistics))
    console.print(_repositories(statistics))
    console.print(_shares("language", statistics.languages))
    console.print(_shares("licence", statistics.licenses))
    first = next(iter(dataset.triples(columns=["id"])), None)
    if first is not None:
        command = f"codeflow inspect {shlex.quote(str(dataset.folder))} {first.id[:12]}"
        console.print(Text(f"One triple: {command}", style="dim"), soft_wrap=True)


def show_triple(
    triple: Triple, console: Console, dataset: Path | None = None, most: int | None = None
) -> None:
    """Prints a triple: what it is, its commits, its files, and the diff; of several commits each
    one by itself, step after step.

    Args:
        dataset: its folder, for the command that checks it out.
        most: the commits, files and lines of the diff to print; all by default. The rest is
            counted.
    """
    console.print(_header(triple))
    steps = _steps(triple)
    for step in islice(steps, most):
        _show_step(step, len(steps), console, most)
    for line in _more(len(steps), most, "step"):
        console.print(line)
    if steps:
        console.print(Text(f"\nAll {len(steps)} steps together", style="bold"))
        console.print(_files(triple.files, most))
    else:
        console.print(_commits(triple, most))
        _show_change(triple, console, most)
    if dataset is not None:
        command = (
            f"codeflow checkout {shlex.quote(str(dataset))} {triple.id[:12]} --side old --to PATH"
        )
        console.print(Text(f"To look around in it: {command}", style="dim"), soft_wrap=True)


def _steps(triple: Triple) -> tuple[Step, ...]:
    """What to draw one by one; nothing for one commit, and where the dataset has no steps."""
    try:
        return triple.steps if len(triple.commits) > 1 else ()
    except DataError:
        return ()


def _show_step(step: Step, steps: int, console: Console, most: int | None) -> None:
    by = "" if step.author_kind == "human" else f", by a {step.author_kind}"
    console.print()
    console.print(Text(f"── step {step.index + 1} of {steps}{by} ".ljust(76, "─"), style="cyan"))
    message = (step.message, *step.subjects)
    console.print(Group(*_commit(step.commit, message, most)))
    if step.files:
        _show_change(step, console, most)
    else:
        console.print(Text("    changes nothing that is in the snapshots", style="dim"))


def _show_change(change: Triple | Step, console: Console, most: int | None) -> None:
    """The diffstat and the diff."""
    console.print(_files(change.files, most))
    for line in islice(_diff(change.patch), most):
        console.print(line, soft_wrap=True)
    for line in _more(change.patch.count("\n"), most, "line"):
        console.print(line)


def _life(triple: Triple) -> str:
    """Where it starts on the line from the first commit of the project to its last."""
    at = min(_LIFE - 1, max(0, round(triple.position * (_LIFE - 1))))
    return f"first commit {'─' * at}●{'─' * (_LIFE - 1 - at)} last"


def _grid(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(one_line(value)))
    return table


def _overview(dataset: Dataset, statistics: Statistics) -> RenderableType:
    by_split: Counter[str] = Counter()
    for (split, _), count in statistics.triples.items():
        by_split[split] += count
    splits = ", ".join(f"{count:,} {split}" for split, count in sorted(by_split.items()))
    rows = [
        ("triples", f"{statistics.triples.total():,} ({splits or 'none'})"),
        ("repositories", f"{len({repo for repo, _ in statistics.repos}):,}"),
        ("contents", f"{statistics.blobs:,}, {quantity(statistics.content_bytes, 'B')} as text"),
        ("on disk", quantity(statistics.stored_bytes, "B")),
    ]
    if statistics.window is not None:
        low, high = statistics.window
        rows.append(
            ("starts", f"{low:.3f} to {high:.3f} of the history, by {statistics.window_by}")
        )
    people = ", ".join(f"{count:,} {kind}" for kind, count in statistics.authors.most_common())
    rows.append(("authors", people or "none"))
    rows.append(("made by", str(dataset.manifest.get("created_by", "unknown"))))
    return _grid(rows)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table


def _kinds(statistics: Statistics) -> RenderableType:
    table = _table(
        "\nkind", "\ntriples", "commits\nmedian/p90", "files\nmedian/p90", "lines\nmedian/p90"
    )
    counts: Counter[str] = Counter()
    for (_, kind), count in statistics.triples.items():
        counts[kind] += count
    for kind, count in counts.most_common():
        sizes = (statistics.commits[kind], statistics.files[kind], statistics.lines[kind])
        table.add_row(Text(one_line(kind)), f"{count:,}", *(_quantiles(size) for size in sizes))
    return Group("", table)


def _quantiles(sizes: Quantiles) -> str:
    return f"{sizes.median:,.0f} / {sizes.p90:,.0f}"


def _repositories(statistics: Statistics) -> RenderableType:
    kinds = sorted({kind for _, kind in statistics.repos})
    totals: Counter[str] = Counter()
    for (repo, _), count in statistics.repos.items():
        totals[repo] += count
    table = _table("repository", *map(one_line, kinds), "all")
    for repo, count in totals.most_common(4 * _TOP):
        numbers = [f"{statistics.repos[repo, kind]:,}" for kind in kinds]
        table.add_row(Text(one_line(repo)), *numbers, f"{count:,}")
    if len(totals) > 4 * _TOP:
        table.add_row(f"and {len(totals) - 4 * _TOP:,} more", *("" for _ in kinds), "")
    return Group("", table)


def _shares(what: str, counts: Counter[str]) -> RenderableType:
    table = _table(what, "triples", "share")
    total = counts.total()
    for name, count in counts.most_common(_TOP):
        table.add_row(Text(one_line(name)), f"{count:,}", f"{100 * count / total:.1f} %")
    rest = total - sum(count for _, count in counts.most_common(_TOP))
    if rest:
        table.add_row("others", f"{rest:,}", f"{100 * rest / total:.1f} %")
    return Group("", table)


def _header(triple: Triple) -> RenderableType:
    scores = ", ".join(f"{name} {value:.3g}" for name, value in sorted(triple.scores.items()))
    merge = ", ends with a merge" if triple.is_merge else ""
    rows = [
        ("triple", triple.id),
        ("repository", triple.repo),
        ("kind", f"{triple.kind}, {len(triple.commits)} commit{_s(len(triple.commits))}{merge}"),
        ("from", f"{triple.old_commit}  {triple.old_committed_at:%Y-%m-%d %H:%M}"),
        ("to", f"{triple.new_commit}  {triple.committed_at:%Y-%m-%d %H:%M}"),
        ("starts at", f"{triple.position:.4f} of the history, by {triple.window_by}"),
        ("in its life", _life(triple)),
        ("language", triple.language or "unknown"),
        ("licence", triple.license or "unknown"),
        (
            "author",
            ", ".join(
                filter(
                    None,
                    (triple.author_kind, triple.author_id, "assisted" if triple.assisted else None),
                )
            ),
        ),
        ("authored", f"{triple.authored_at:%Y-%m-%d %H:%M}"),
    ]
    if scores:
        rows.append(("scores", scores))
    return _grid(rows)


def _more(count: int, most: int | None, what: str) -> list[Text]:
    """A line for what is not shown, if that is anything."""
    rest = 0 if most is None else count - most
    return [Text(f"and {rest:,} more {what}{_s(rest)}", style="dim")] if rest > 0 else []


def _commits(triple: Triple, most: int | None) -> RenderableType:
    """Subject and message of every commit; for a merge the subjects it brings in."""
    lines = [Text("")]
    pairs = zip(triple.commits, triple.messages, strict=True)
    for commit, message in islice(pairs, most):
        lines += _commit(commit, message, most)
    return Group(*lines, *_more(len(triple.commits), most, "commit"))


def _commit(commit: str, message: Sequence[str], most: int | None) -> Iterator[Text]:
    own, *merged = message
    subject, _, body = own.strip().partition("\n")
    yield Text.assemble((commit[:10], "yellow"), " ", (one_line(subject), "bold"))
    body = body.strip("\n")
    yield from (Text("    " + visible(line)) for line in body.split("\n")[:most] if body)
    yield from (Text("    * " + one_line(text), style="dim") for text in merged)


def _files(files: tuple[FileChange, ...], number: int | None) -> RenderableType:
    """The diffstat."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", style="green", no_wrap=True)
    table.add_column(justify="right", style="red", no_wrap=True)
    table.add_column(no_wrap=True)
    most = max((f.additions + f.deletions for f in files), default=0)
    for f in files[:number]:
        name = one_line(f.path)
        if f.status == "R" and f.old_path is not None:
            name = f"{one_line(f.old_path)} → {name}"
        if f.old_mode and f.new_mode and f.old_mode != f.new_mode:
            name += f" ({f.old_mode} → {f.new_mode})"
        plus, minus = (
            -(-_BAR * count // most) if most > _BAR else count
            for count in (f.additions, f.deletions)
        )
        bar = Text("+" * plus, "green") + Text("-" * minus, "red")
        table.add_row(f.status, Text(name), f"+{f.additions}", f"-{f.deletions}", bar)
    additions, deletions = sum(f.additions for f in files), sum(f.deletions for f in files)
    total = Text(f"{len(files)} file{_s(len(files))}, +{additions} -{deletions}", style="dim")
    return Group("", table, *_more(len(files), number, "file"), total, "")


def _diff(patch: str) -> Iterator[Text]:
    """The lines of a patch, coloured by what they are: counts decide, not first letters."""
    left = {"-": 0, "+": 0}  # lines of the current hunk that are still to come
    for line in patch.removesuffix("\n").split("\n"):
        shown = visible(line)
        if left["-"] > 0 or left["+"] > 0 or line.startswith("\\"):
            for sign in "-+":
                left[sign] -= line[:1] in (" ", sign)
            yield Text(shown, style={"+": "green", "-": "red"}.get(line[:1], ""))
            continue
        match = re.match(r"(@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@)", line)
        if match is not None:
            left = {"-": int(match[2] or 1), "+": int(match[3] or 1)}
            yield Text(shown[: match.end()], style="cyan") + Text(shown[match.end() :])
        else:
            yield Text(shown, style="bold")


def _s(count: int) -> str:
    return "" if count == 1 else "s"
