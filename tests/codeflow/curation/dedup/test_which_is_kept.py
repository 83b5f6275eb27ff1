"""What is kept of a cluster, and what takes no part in the comparison."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.dedup.config import DedupConfig
from dedup_samples import Row, as_lines, changed_file, new_id, patch_of, words
from dedup_stage import Stage, alike, brute_force, clusters_of


def test_the_best_by_score_is_kept_and_ties_go_to_the_lowest_id(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    rng = random.Random(2)
    rows = sorted(alike(rng, 5), key=lambda row: row.id)
    mined = sorted(
        (
            Row(new_id(rng), row.patch, scores={"size": k})
            for k, row in enumerate(alike(rng, 1) * 3)
        ),
        key=lambda row: row.id,
    )
    stage = make(rows + mined)
    scores = {rows[2].id: 0.9, rows[3].id: 0.9, rows[0].id: 0.2, rows[4].id: float("nan")}
    for part in stage.parts:
        ids = [i for _, t in parts.read(stage.folder, part, ["id"]) for i in t["id"].to_pylist()]
        quality = [[("other", 5.0), ("quality", scores[i])] if i in scores else [] for i in ids]
        columns = {"id": ids, "kept": [True] * len(ids), "scores": quality}
        decisions.write(stage.folder, "filter", part.name, columns)

    def best(of: list[Row], **more: Any) -> list[str]:
        decided = stage.fresh(**more)
        assert {decided[row.id]["cluster"] for row in of} == {of[0].id}
        return [row.id for row in of if decided[row.id]["kept"]]

    assert best(rows) == [rows[0].id]
    assert best(rows, earlier=("filter",)) == [rows[2].id]
    size = max(mined, key=lambda row: row.scores["size"])
    assert best(mined, config=DedupConfig(score="size"), earlier=("filter",)) == [size.id]


def test_what_earlier_stages_dropped_takes_no_part(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    rng = random.Random(4)
    rows = sorted(alike(rng, 3) + alike(rng, 2), key=lambda row: row.id)
    stage = make(rows)
    dropped = {row.id for row in rows if row.patch == rows[0].patch} - {rows[-1].id}
    for part in stage.parts:
        ids = [i for _, t in parts.read(stage.folder, part, ["id"]) for i in t["id"].to_pylist()]
        kept = [i not in dropped for i in ids]
        decisions.write(stage.folder, "filter", part.name, {"id": ids, "kept": kept})
    decided = stage.fresh(earlier=("filter",))
    for id in dropped:
        row = decided[id]
        assert (row["kept"], row["rule"], row["cluster"]) == (False, None, None)
    rest = [row for row in rows if row.id not in dropped]
    assert clusters_of(decided) == brute_force(rest)


def forms(rng: random.Random) -> list[Row]:
    """A merge and its branch, a span that is mostly a commit, another kind, and one alone."""
    first, second = (patch_of([], as_lines(words(rng, 90))) for _ in range(2))
    with_more = first + patch_of([], as_lines(words(rng, 12)), path="b.py")
    kinds = [("commit", first), ("branch", first), ("span", with_more), ("release", first)]
    return [
        Row(new_id(rng), text, kind, (changed_file(f"{k}" * 40, f"{k}" * 39 + "f"),))
        for k, (kind, text) in enumerate([*kinds, ("commit", second)])
    ]


@pytest.mark.parametrize(
    ("prefer", "kept", "rule"),
    [
        (("branch", "span", "commit"), "branch", "form"),
        (("commit", "span", "branch"), "commit", "form"),
        (("span", "commit"), "span", "form"),
        ((), None, None),
    ],
)
def test_of_the_forms_of_one_change_the_preferred_kind_is_kept(
    make: Callable[[Sequence[Row]], Stage], prefer: tuple[str, ...], kept: str | None, rule: str
) -> None:
    rng = random.Random(5)
    rows = forms(rng)
    stage = make(rows)
    config = DedupConfig(prefer=prefer)
    decided = stage.fresh(config)
    assert clusters_of(decided) == brute_force(rows, config)
    compared = [row for row in rows[:4] if row.kind in prefer]
    for row in rows:
        own = decided[row.id]
        if row not in compared:
            assert (own["kept"], own["cluster"]) == (True, None)
        else:
            assert own["kept"] == (row.kind == kept)
            assert own["rule"] == (None if own["kept"] else rule)
            assert own["cluster"] == min(other.id for other in compared)
    figures = stage.run(config, stamp="1")
    assert figures["form"] == max(0, len(compared) - 1)


def test_within_the_preferred_kind_the_score_decides_and_then_the_id(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    rng = random.Random(6)
    text = patch_of([], as_lines(words(rng, 60)))
    rows = [
        Row(new_id(rng), text, kind, scores={"quality": score})
        for kind, score in (("commit", 0.9), ("branch", 0.1), ("branch", 0.2), ("span", 0.9))
    ]
    decided = make(rows).fresh(DedupConfig())
    assert [row.id for row in rows if decided[row.id]["kept"]] == [rows[2].id]
    assert [decided[row.id]["rule"] for row in rows] == ["form", "exact", None, "form"]


def test_nothing_is_left_of_a_whole_part(make: Callable[[Sequence[Row]], Stage]) -> None:
    stage = make(alike(random.Random(7), 4))
    for part in stage.parts:
        ids = [i for _, t in parts.read(stage.folder, part, ["id"]) for i in t["id"].to_pylist()]
        decisions.write(stage.folder, "filter", part.name, {"id": ids, "kept": [False] * len(ids)})
    decided = stage.fresh(earlier=("filter",))
    assert not any(row["kept"] or row["rule"] or row["cluster"] for row in decided.values())


@pytest.mark.parametrize("rows", [[], [Row("0" * 32, patch_of([], ["x"]))]])
def test_little_or_nothing_to_compare(
    rows: list[Row], make: Callable[[Sequence[Row]], Stage]
) -> None:
    figures = make(rows).run()
    assert figures["clusters"] == {}
    assert figures["kept"] == figures["triples"] == len(rows)


def test_a_patch_without_an_end_is_an_error_that_says_where(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    stage = make([Row("0" * 32, patch_of([], ["x"])[:-1])])
    with pytest.raises(Exception, match=r"triples-assemble-0000\.parquet.*newline"):
        stage.run()
