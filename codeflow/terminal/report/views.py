"""What the page prints besides charts: headline, tables, examples, each ready for the template.

Plain values only: the template escapes them. Names pass `label` or `one_line` here, so that control
and direction characters in them cannot act on the page.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codeflow.dataset.reader import Dataset
from codeflow.documents.privacy import scrub
from codeflow.records import LedgerRow
from codeflow.terminal.report.charts import label
from codeflow.terminal.report.curation import mined_triples
from codeflow.terminal.report.diffs import Line, read_diff
from codeflow.terminal.report.examples import Example, Found
from codeflow.terminal.report.gather import Published
from codeflow.terminal.report.stages import Ledger, Rule, StageShown
from codeflow.terminal.report.training import Run
from codeflow.terminal.report.words import count, listing, percent, top
from codeflow.text.escape import visible
from codeflow.text.numbers import quantity
from codeflow.triple import Step, Triple

REPOSITORIES = 30
RULES = 40
_TRIPLE_LINES, _PAIR_LINES, _DROP_LINES, _STEP_LINES = 70, 40, 14, 40
_TEXT = 600
# Contents that failed a filter are not shown: they may hold the secret, or be under the licence,
# that nobody is to publish, and a triple that a cheap filter drops meets no dear one.
_PASSED_FILTERS = ("dedup", "mix", "split")
_LONG = 140


@dataclass(frozen=True)
class Tile:
    """A headline number."""

    value: str
    name: str
    note: str


@dataclass(frozen=True)
class Shown:
    """A triple or a step as it is printed; `note` is what a rule found in it, `text` what its
    message says below the subject."""

    title: str
    about: str
    note: str = ""
    lines: Sequence[Line] = ()
    text: str = ""


@dataclass(frozen=True)
class Flow:
    """A triple of several commits as it is drawn: where it starts in the project's life, in
    percent, and each of its steps."""

    whole: Shown
    at: str
    steps: Sequence[Shown]


@dataclass(frozen=True)
class Reason:
    """A rule in the list of drops."""

    stage: str
    rule: str
    reason: str
    rows: int
    share: str
    examples: Sequence[Shown]


@dataclass(frozen=True)
class Table:
    """`columns` are names; the first cell of a row is a name, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: int = 0


def headline(published: Published) -> str:
    """The dataset in one sentence."""
    if not published.triples:
        return "No triple is published. The ledger below says what became of everything."
    kinds = [f"{n:,} {label(kind)}" for kind, n in published.kinds.most_common(4)]
    start, stop = published.window
    return (
        f"{count(published.triples, 'exact triple')} of repository, patch and repository after it"
        f" ({listing(kinds)}), from {start:.0%} to {stop:.0%} of the life of"
        f" {count(len(published.by_repo), 'project')}."
    )


def tiles(
    dataset: Dataset, published: Published, done: Sequence[StageShown], ledger: Ledger
) -> list[Tile]:
    """The numbers to see first."""
    held_out = f"{published.splits['validation']:,} held out"
    given = mined_triples(published, done) + ledger.dropped("mine")
    weight = f"{published.weight:,.0f}"
    weighted = abs(published.weight - published.triples) > 0.5
    lines = sum(int(values.sum()) for values in published.sizes.get("lines", {}).values())
    patches = sum(int(values.sum()) for values in published.sizes.get("bytes", {}).values())
    known = Counter({k: n for k, n in published.languages.items() if k != "unknown"})
    first = [label(name, 20) for name, _ in top(known, 2)[0]]
    mined = len(dataset.manifest.get("repositories") or published.by_repo)
    failed = len(ledger.repositories) + ledger.more_repositories
    return [
        Tile(f"{published.triples:,}", "triples", f"weighted {weight}" if weighted else held_out),
        Tile(
            percent(published.triples / given) if given else "–",
            "kept",
            f"of {given:,} chosen pairs",
        ),
        Tile(
            f"{len(published.by_repo):,}",
            "repositories",
            f"of {mined:,} mined" + (f", {failed:,} failed" if failed else ""),
        ),
        Tile(f"{len(known):,}", "languages", listing(first) + " first" if first else "none known"),
        Tile(quantity(lines), "changed lines", f"{quantity(patches, 'B')} of patches"),
        Tile(
            quantity(published.content_bytes, "B"),
            "of file contents",
            f"{quantity(published.stored_bytes, 'B')} on disk",
        ),
    ]


def reason(rule: Rule, ledger: Ledger, found: Found) -> Reason:
    """A rule with its examples; subject and diff are there while `mined/` is."""
    total = sum(each.rows for each in ledger.triples)
    name, why = label(rule.name, 60), label(rule.reason, _LONG)
    drawn = [_dropped(row, found) for row in rule.examples]
    return Reason(label(rule.stage), name, why, rule.rows, percent(rule.rows / total), drawn)


def _dropped(row: LedgerRow, found: Found) -> Shown:
    key = (row.repo, row.old_commit or "", row.new_commit or "")
    example = found.by_commits.get(key)
    note = label(row.detail, 2 * _LONG) if row.detail else ""
    commit = (row.new_commit or "")[:10]
    if example is None:
        return Shown(f"{label(row.repo)} {commit}", "", note)
    drawn = shown(example, _DROP_LINES if row.stage in _PASSED_FILTERS else 0)
    return replace(drawn, note="" if note == drawn.title else note)


def pair(kept: Example, dropped: Example, detail: str) -> list[Shown]:
    """A near-duplicate beside what was kept in its place; the detail tells how similar they are."""
    _, _, similarity = detail.partition(" ")
    return [
        shown(kept, _PAIR_LINES, "kept"),
        shown(dropped, _PAIR_LINES, f"dropped, {label(similarity)}" if similarity else "dropped"),
    ]


def shown(example: Example, lines: int = _TRIPLE_LINES, note: str = "") -> Shown:
    """A triple with the first lines of its diff."""
    row = example.row
    commits = len(row["commits"])
    about = [
        label(row["repo"]),
        label(row["kind"]) + (f" of {count(commits, 'commit')}" if commits > 1 else ""),
        label(row["language"]) if row["language"] else "no language",
        f"+{row['additions']:,} −{row['deletions']:,}",
        f"{row['committed_at']:%Y-%m-%d}",
        row["id"][:12],
    ]
    diff = read_diff(row["patch"], lines) if lines else []
    title = label(example.subject, _LONG) if example.subject else "(no message)"
    return Shown(title, " · ".join(about), note, diff)


def flow(triple: Triple) -> Flow:
    """A triple of several commits, step after step."""
    steps = triple.steps
    about = [label(triple.repo), label(triple.kind), count(len(steps), "step")]
    about += [f"{triple.committed_at:%Y-%m-%d}", triple.id[:12]]
    title = f"+{triple.additions:,} −{triple.deletions:,} in {count(len(triple.files), 'file')}"
    whole = Shown(title, " · ".join(about))
    return Flow(whole, f"{100 * triple.position:.1f}", [_step(step, len(steps)) for step in steps])


def _step(step: Step, steps: int) -> Shown:
    subject, _, body = scrub(step.message).strip().partition("\n")
    additions, deletions = (
        sum(getattr(file, name) for file in step.files) for name in ("additions", "deletions")
    )
    about = [f"step {step.index + 1} of {steps}", f"+{additions:,} −{deletions:,}"]
    about += [step.commit[:10]] + ([label(step.author_kind)] if step.author_kind != "human" else [])
    lines = read_diff(step.patch, _STEP_LINES) if step.patch else []
    text = visible(body.strip())
    text = text if len(text) <= _TEXT else text[:_TEXT].rpartition("\n")[0] + "\n…"
    return Shown(label(subject, _LONG) or "(no message)", " · ".join(about), "", lines, text)


def repositories(published: Published) -> Table:
    """Repositories, those with most triples first."""
    kinds, authors = sorted(published.kinds), sorted(published.authors, reverse=True)
    totals = Counter({repo: int(hits.sum()) for repo, hits in published.by_repo.items()})
    chosen, _ = top(totals, REPOSITORIES)
    rows = []
    for repo, total in chosen:
        licenses = Counter({k[1]: n for k, n in published.licenses_of.items() if k[0] == repo})
        names = [label(name, 24) for name, _ in top(licenses, 2)[0]]
        counts = [f"{published.repos[repo, kind]:,}" for kind in kinds]
        told = f"{len(published.told[repo]):,}"
        by = [f"{published.authors_of[repo, author]:,}" for author in authors]
        rows.append([label(repo, 60), *counts, f"{total:,}", told, *by, ", ".join(names)])
    columns = ["repository", *(label(kind) for kind in kinds), "all", "commits in them"]
    columns += [f"by a {label(author)}" for author in authors] + ["licence"]
    return Table(columns, rows, len(totals) - len(chosen))


def run_table(runs: Sequence[Run]) -> Table:
    """Training runs in a line each."""
    columns = ["run", "steps", "tokens", "loss at end", "best validation", "tokens/s", "bad steps"]
    rows = []
    for run in runs:
        last, best = run.steps[-1], run.best_validation
        rows.append(
            [
                label(run.name),
                f"{last.step:,}",
                _known(last.tokens, quantity(last.tokens)),
                _known(run.final_loss, f"{run.final_loss:.3f}"),
                "–" if best is None else f"{best:.3f}",
                _known(run.tokens_per_s, quantity(run.tokens_per_s)),
                f"{run.bad_steps:,}",
            ]
        )
    return Table(columns, rows)


def _known(value: float, text: str) -> str:
    return text if math.isfinite(value) else "–"
