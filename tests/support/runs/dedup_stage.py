"""The dedup stage on a mined folder of some triples, and what comparing everything finds."""

from __future__ import annotations

import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from datasketch import MinHash

from codeflow.contracts import Unit
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.curation.context import StageContext
from codeflow.curation.dedup import stage as dedup
from codeflow.curation.dedup.config import DedupConfig
from codeflow.execution.driver import drive
from codeflow.execution.pool import Pool
from codeflow.execution.serial_pool import SerialPool
from codeflow_filters.dedup.shingles import make_shingles
from dedup_samples import (
    Row,
    as_lines,
    changed_file,
    lines_of,
    naive_jaccard,
    naive_shingles,
    new_id,
    patch_of,
    planted_pair,
    words,
    write_mined,
)

DEFAULT = DedupConfig(prefer=())  # kinds within themselves


class Stage:
    """A mined folder of some triples, and runs of the stage on it."""

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self.folder = folder
        self.rows = {row.id: row for row in rows}
        self.parts: tuple[Part, ...] = write_mined(folder, rows)

    def run(
        self,
        config: DedupConfig = DEFAULT,
        pool: Pool | None = None,
        earlier: tuple[str, ...] = (),
        stamp: str = "0",
        on_unit: Callable[[Unit], None] = lambda unit: None,
    ) -> dict[str, Any]:
        """Runs it to its end; the figures."""
        context = StageContext(self.folder, "dedup", stamp, self.parts, earlier)
        [(_, figures)] = drive(
            [("dedup", dedup.flow(context, config))],
            pool or SerialPool(self.folder),
            self.folder,
            lambda unit, result: on_unit(unit),
        )
        assert isinstance(figures, dict), figures
        return figures

    def fresh(self, config: DedupConfig = DEFAULT, **more: Any) -> dict[str, dict[str, Any]]:
        """Runs it from the start; the decisions by id."""
        shutil.rmtree(self.folder / ".work", ignore_errors=True)
        self.run(config, **more)
        return self.decided()

    def decided(self) -> dict[str, dict[str, Any]]:
        found = {}
        for part in self.parts:
            ids = [i for _, t in parts.read(self.folder, part, ["id"]) for i in t["id"].to_pylist()]
            rows = decisions.read(self.folder, "dedup", part.name).to_pylist()
            assert [row["id"] for row in rows] == ids, "row for row"
            found.update({row["id"]: row for row in rows})
        assert found.keys() == self.rows.keys()
        return found

    def bytes(self) -> dict[str, bytes]:
        place = self.folder / "decisions/dedup"
        return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def clusters_of(decided: dict[str, dict[str, Any]]) -> set[frozenset[str]]:
    """The sets of ids that share a cluster."""
    members = defaultdict(set)
    for id, row in decided.items():
        if row["cluster"] is not None:
            members[row["cluster"]].add(id)
    return {frozenset(ids) for ids in members.values()}


# -- against brute force


def crowd(rng: random.Random) -> list[Row]:
    """Triples of two kinds in which all kinds of likeness occur: chains, copies, forks, small ones.

    Half-alike ones (0.3 to 0.7) share bands without being duplicates.
    """
    texts: list[str] = []
    for k in range(150):
        texts += planted_pair(rng, 0.3 + 0.65 * k / 150, rng.randint(24, 160))
    for _ in range(15):  # each like the one before
        tokens = words(rng, 100)
        for _ in range(6):
            tokens[rng.randrange(100)] = words(rng, 1)[0]
            tokens[rng.randrange(100)] = words(rng, 1)[0]
            texts.append(patch_of(as_lines(tokens[:30]), as_lines(tokens[30:])))
    texts += [re.sub("@@ -7,", f"@@ -{k + 8},", text) for k, text in enumerate(texts[:40])]
    texts += [text.replace(" c\n", " another\n") for text in texts[40:60]]
    for size in range(1, 60):  # too small to compare, and just not
        texts += [patch_of([], as_lines([f"t{k}" for k in range(size)]))] * 2
        texts.append(patch_of([], as_lines([f"t{k}" for k in range(size)]), path="c.py"))
    rows = [
        Row(new_id(rng), text, kind, (changed_file(f"{k:040x}", f"{k:039x}f"),))
        for k, text in enumerate(texts)
        for kind in ("commit", "span")
    ]
    contents = (changed_file("1" * 40, "2" * 40),)
    elsewhere = (changed_file("1" * 40, "2" * 40, "vendor/a.py"),)
    for kind in ("commit", "commit", "span"):
        for files in (contents, elsewhere):
            text = patch_of(words(rng, 50), words(rng, 50))
            rows.append(Row(new_id(rng), text, kind, files))
    alone = [patch_of(words(rng, 20), as_lines(words(rng, 40))) for _ in range(400)]
    rows += [
        Row(new_id(rng), text, "commit", (changed_file(None, f"{k:038x}aa"),))
        for k, text in enumerate(alone)
    ]
    return rows


def naive_patch_name(patch: str) -> str:
    """A patch without what `git patch-id` does not look at."""
    lines = [line for line in patch.split("\n") if not line.startswith(("@@ ", "index "))]
    return re.sub(r"\s", "", "\0".join(lines))


def brute_force(rows: Sequence[Row], config: DedupConfig = DEFAULT) -> set[frozenset[str]]:
    """Every pair: equal names, or a common band of datasketch's signature and enough likeness."""
    near: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    pairs = []
    exact: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    shingles = {}
    for row in rows:
        group = "" if row.kind in config.prefer else row.kind
        exact[group, naive_patch_name(row.patch)].append(row)
        blobs = sorted(f"{file['old_blob']} {file['new_blob']}" for file in row.files)
        exact[group, *blobs].append(row)
        hashed = make_shingles(lines_of([row.patch.encode()]), config.ngram)
        if hashed.tokens[0] < config.min_tokens:
            continue
        shingles[row.id] = naive_shingles(row.patch.encode(), config.ngram)
        signature = MinHash(config.permutations, hashfunc=lambda value: value)
        signature.update_batch(hashed.of(0).tolist())
        for band in range(config.bands):
            values = signature.hashvalues[band * config.rows : (band + 1) * config.rows]
            near[(group, band, *values.tolist())].append(row)
    for some in exact.values():
        pairs += [(one.id, other.id) for one, other in combinations(some, 2)]
    for some in near.values():
        for one, other in combinations(some, 2):
            if naive_jaccard(shingles[one.id], shingles[other.id]) >= config.threshold:
                pairs.append((one.id, other.id))
    cluster = {row.id: {row.id} for row in rows}
    for first, second in pairs:
        if cluster[first] is not cluster[second]:
            cluster[first] |= cluster[second]
            for id in cluster[second]:
                cluster[id] = cluster[first]
    return {frozenset(ids) for ids in cluster.values() if len(ids) > 1}


def alike(rng: random.Random, count: int, **more: Any) -> list[Row]:
    text = patch_of([], as_lines(words(rng, 60)))
    return [Row(new_id(rng), text, **more) for _ in range(count)]
