"""What is kept of a cluster, and what takes no part in the comparison."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.dedup.config import DedupConfig
from dedup_samples import Row, changed_file, new_id, patch_of
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


def test_changes_of_two_kinds_are_never_duplicates(make: Callable[[Sequence[Row]], Stage]) -> None:
    [row] = alike(random.Random(5), 1, files=(changed_file("1" * 40, "2" * 40),))
    twin = Row("0" * 32, row.patch, "span", row.files)
    decided = make([row, twin]).fresh()
    assert all(each["kept"] and each["cluster"] is None for each in decided.values())


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
