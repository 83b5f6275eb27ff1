"""Speed and memory of the dedup stage.

    python benchmarks/dedup.py [DIR]                          against datasketch, ordinary use
    python benchmarks/dedup.py --generate 1000000 [--workers 2] [--keep PATH]
    python benchmarks/dedup.py --planted 1000

Without DIR, a mined dataset, the first uses 4,000 generated patches. Both sides see the same
patches in the same run on one core: the whole stage (reading, exact and near duplicates, decisions)
and datasketch as its documentation shows it (a set of shingles in Python, `update` for each,
`MinHashLSH` asked and fed) with the same permutations and bands; `update_batch` is the faster way
that it has, too. The second makes patches in a process of its own, runs the stage in another, and
adds up the memory of that one and all below it, ten times a second: RSS counts what processes share
once for each, PSS once. The third plants pairs of known similarity and prints how many were found,
next to the curve.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.context import StageContext
from codeflow.curation.dedup import stage as dedup
from codeflow.curation.dedup.config import DedupConfig
from codeflow.execution.driver import drive
from codeflow.execution.sized_pool import make_pool
from codeflow.records import FILE_CHANGE, TRIPLES
from codeflow.storage import files
from codeflow_filters.dedup.curve import detection

sys.path.extend(map(str, Path(__file__).parents[1].glob("tests/support/*")))

from dedup_samples import naive_jaccard, naive_shingles, planted_pair

ROWS_PER_FILE = 10_240
ROWS_PER_GROUP = 1024
SAMPLE_S = 0.1
NEAR_SHARE, EXACT_SHARE = 0.10, 0.05
_TOKEN = re.compile(r"\w+|[^\w\s]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=Path, nargs="?")
    parser.add_argument("--generate", type=int)
    parser.add_argument("--planted", type=int, help="pairs of each similarity")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="generated patches, used again if there")
    parser.add_argument("--step", choices=("make", "run"), help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.step == "make":
        make(parsed.dir, parsed.generate)
    elif parsed.step == "run":
        report_stage(*run_stage(parsed.dir, parsed.workers))
    elif parsed.planted:
        with tempfile.TemporaryDirectory() as temporary:
            planted(Path(temporary), parsed.planted)
    elif parsed.generate:
        with tempfile.TemporaryDirectory() as temporary:
            at_scale(parsed.keep or Path(temporary), parsed.generate, parsed.workers)
    elif parsed.dir:
        with tempfile.TemporaryDirectory() as temporary:
            (Path(temporary) / "mined").symlink_to(parsed.dir.resolve() / "mined")
            against_datasketch(Path(temporary))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            make(Path(temporary), 4000)
            against_datasketch(Path(temporary))


# --- against datasketch ------------------------------------------------------------------------


def against_datasketch(folder: Path) -> None:
    """Times the stage and datasketch on the patches of a folder."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import datasketch  # noqa: F401  # neither side pays for the import

    patches = [
        patch
        for part in cut(folder)
        for _, table in parts.read(folder, part, ["patch"])
        for patch in table.column("patch").to_pylist()
    ]
    size = sum(len(patch.encode()) for patch in patches) / 1e6
    print(f"{len(patches):,} patches, {size:.1f} MB")
    start = time.perf_counter()
    run_stage(folder, 1)
    ours = time.perf_counter() - start
    print(f"stage, all of it           {ours:8.2f} s {size / ours:8.2f} MB/s")
    for name, batch in (("update", False), ("update_batch", True)):
        start = time.perf_counter()
        ordinary(patches, batch)
        theirs = time.perf_counter() - start
        print(
            f"datasketch, {name:14} {theirs:8.2f} s {size / theirs:8.2f} MB/s; "
            f"the stage is {theirs / ours:.1f} times as fast"
        )


def ordinary(patches: list[str], batch: bool) -> int:
    """Near-duplicates by datasketch; how many it reports."""
    from datasketch import MinHash, MinHashLSH

    config = DedupConfig()
    lsh = MinHashLSH(num_perm=config.permutations, params=(config.bands, config.rows))
    found = 0
    for number, patch in enumerate(patches):
        tokens = [t for line in changed_lines(patch) for t in _TOKEN.findall(line)]
        if len(tokens) < config.min_tokens:
            continue
        grams = {
            " ".join(tokens[k : k + config.ngram]).encode()
            for k in range(len(tokens) - config.ngram + 1)
        }
        signature = MinHash(num_perm=config.permutations)
        if batch:
            signature.update_batch(grams)
        else:
            for gram in grams:
                signature.update(gram)
        found += bool(lsh.query(signature))
        lsh.insert(number, signature)
    return found


def changed_lines(patch: str) -> list[str]:
    """Added and removed lines."""
    return [
        line
        for line in patch.split("\n")
        if line[:1] in ("+", "-") and not line.startswith(("--- ", "+++ "))
    ]


# --- planted pairs -----------------------------------------------------------------------------


def planted(folder: Path, count: int) -> None:
    """Prints recall and precision by similarity, which is that of Python's sets."""
    rng = random.Random(count)
    texts = [planted_pair(rng, 0.6 + 0.05 * step) for step in range(8) for _ in range(count)]
    pairs = [
        naive_jaccard(*(naive_shingles(text.encode(), DedupConfig().ngram) for text in both))
        for both in texts
    ]
    made = made_triples(rng, "planted", [text for both in texts for text in both])
    ids = made.column("id").to_pylist()
    path = folder / "mined/planted/triples-assemble-0000.parquet"
    with files.parquet(path, TRIPLES) as writer:
        for start in range(0, len(made), ROWS_PER_GROUP):
            writer.write(made.slice(start, ROWS_PER_GROUP))
    run_stage(folder, 1)
    rows = [
        row
        for part in cut(folder)
        for row in decisions.read(folder, "dedup", part.name, ["id", "cluster"]).to_pylist()
    ]
    cluster = {row["id"]: row["cluster"] for row in rows}
    config = DedupConfig()
    bins: dict[float, list[tuple[float, bool]]] = {}
    false = 0
    for number, similarity in enumerate(pairs):
        one, other = (cluster[ids[2 * number + k]] for k in (0, 1))
        found = one is not None and one == other
        false += (one is not None or other is not None) and not (
            found and similarity >= config.threshold
        )
        bins.setdefault(round(similarity * 20) / 20, []).append((similarity, found))
    print("similarity  pairs  found  curve")
    for middle, some in sorted(bins.items()):
        chance = statistics.fmean(
            detection(s, config.bands, config.rows) * (s >= config.threshold) for s, _ in some
        )
        found = statistics.fmean(found for _, found in some)
        print(f"{middle:10.2f} {len(some):6} {found:6.3f} {chance:6.3f}")
    print(f"pairs in a cluster that they should not be in: {false}")


# --- at scale ----------------------------------------------------------------------------------


def at_scale(folder: Path, count: int, workers: int) -> None:
    """Makes patches and runs the stage on them, each in a process of its own."""
    script = [sys.executable, __file__, str(folder), "--generate", str(count)]
    if not (folder / "mined").exists():
        start = time.perf_counter()
        subprocess.run([*script, "--step", "make"], check=True)
        print(f"made in {time.perf_counter() - start:.0f} s", flush=True)
    shutil.rmtree(folder / ".work", ignore_errors=True)
    shutil.rmtree(folder / "decisions", ignore_errors=True)
    process = subprocess.Popen([*script, "--step", "run", "--workers", str(workers)])
    rss = pss = most = 0
    while process.poll() is None:
        now = [memory_of(pid) for pid in tree_of(process.pid)]
        rss, pss = max(rss, sum(m[0] for m in now)), max(pss, sum(m[1] for m in now))
        most = max(most, len(now))
        time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(process.returncode)
    on_disk = sum(p.stat().st_size for p in (folder / ".work/parts").rglob("*") if p.is_file())
    print(f"peak over {most} processes: RSS {rss / 2**20:.2f} GiB, PSS {pss / 2**20:.2f} GiB")
    print(f"intermediate tables {on_disk / 1e9:.2f} GB")


def tree_of(root: int) -> list[int]:
    """A process and all below it."""
    parent: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, of in parent.items() if of == pid]
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """RSS and PSS of a process in KiB; 0 for one that has ended."""
    values = {"Rss:": 0, "Pss:": 0}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, *rest = line.split()
            if name in values:
                values[name] = int(rest[0])
    except OSError:
        pass
    return values["Rss:"], values["Pss:"]


# --- the stage ---------------------------------------------------------------------------------


def cut(folder: Path) -> tuple[parts.Part, ...]:
    """The parts of what lies in `mined/`."""
    repositories = []
    for place in sorted((folder / "mined").iterdir()):
        if place.is_dir():
            found = [str(f.relative_to(folder)) for f in sorted(place.glob("triples-*.parquet"))]
            repositories.append((place.name, {"triples": found}))
    return tuple(parts.cut(folder, repositories))


def run_stage(folder: Path, workers: int) -> tuple[dict[str, Any], list[tuple[str, float]]]:
    """Runs the stage; its figures, and when the last unit of each kind ended."""
    context = StageContext(folder, "dedup", "benchmark", cut(folder), ())
    ended: dict[str, float] = {}
    start = time.perf_counter()

    def on_unit(unit: Any, result: Any) -> None:
        name = unit.key.partition("/")[2].partition("-")[0]
        ended[name] = time.perf_counter() - start

    pool = make_pool(folder, workers, None)
    try:
        [(_, figures)] = drive(
            [("dedup", dedup.flow(context, DedupConfig()))], pool, folder, on_unit
        )
    finally:
        pool.close()
    if not isinstance(figures, dict):
        raise SystemExit(f"failed: {figures}")
    return figures, list(ended.items())


def report_stage(figures: dict[str, Any], ended: list[tuple[str, float]]) -> None:
    before = 0.0
    for name, at in ended:
        print(f"  {name:10} {at - before:8.1f} s")
        before = at
    print(f"all {before:.1f} s")
    figures.pop("curve")
    print(figures, flush=True)


# --- generated patches -------------------------------------------------------------------------


def make(folder: Path, count: int) -> None:
    """Writes mined triples: one-file patches of lines of a made-up language, some of them copies.

    A tenth is an earlier patch with a few lines replaced, a twentieth one at another place.
    """
    rng = random.Random(count)
    words = [
        "".join(rng.choices("abcdefghijklmnopqrstuvwxyz_", k=rng.randint(2, 12)))
        for _ in range(30_000)
    ]
    pool = [made_line(rng, words) for _ in range(300_000)]
    recent: list[tuple[str, list[str]]] = []
    sizes = []
    number = 0
    while number < count:
        name = f"made-{number // ROWS_PER_FILE:05d}"
        path = folder / "mined" / name / "triples-assemble-0000.parquet"
        with files.parquet(path, TRIPLES) as writer:
            for _ in range(ROWS_PER_FILE // ROWS_PER_GROUP):
                rows = min(ROWS_PER_GROUP, count - number)
                if rows == 0:
                    break
                patches = [made_patch(rng, pool, recent) for _ in range(rows)]
                sizes += [len(p) for p in patches[:8]]
                writer.write(made_triples(rng, name, patches))
                number += rows
    print(f"median {statistics.median(sizes):.0f} bytes of a patch", flush=True)


def made_line(rng: random.Random, words: list[str]) -> str:
    picked = rng.choices(words, k=rng.randint(3, 8))
    return rng.choice((" ", "    ", "        ")) + rng.choice(
        ("{} = {}({})", "if {}.{} != {}:", "return {}[{}] + {}", "def {}({}, {}=None):")
    ).format(" ".join(picked[:-2]), *picked[-2:])


def made_patch(rng: random.Random, pool: list[str], recent: list[tuple[str, list[str]]]) -> str:
    kind = rng.random()
    if recent and kind < EXACT_SHARE:
        return made_text(rng, *rng.choice(recent))
    path = f"src/module{rng.randrange(500)}.py"
    if recent and kind < EXACT_SHARE + NEAR_SHARE:
        lines = list(rng.choice(recent)[1])
        for _ in range(rng.randint(1, 6)):
            lines[rng.randrange(3, len(lines) - 3)] = rng.choice(pool)
        return made_text(rng, path, lines)
    lines = rng.choices(pool, k=6 + max(8, int(rng.lognormvariate(3.5, 0.6))))
    if len(recent) < 20_000:
        recent.append((path, lines))
    else:
        recent[rng.randrange(len(recent))] = path, lines
    return made_text(rng, path, lines)


def made_text(rng: random.Random, path: str, lines: list[str]) -> str:
    """A patch of one hunk somewhere in a file; the first and last three lines are context."""
    above, changed, below = lines[:3], lines[3:-3], lines[-3:]
    removed, added = changed[: len(changed) // 3], changed[len(changed) // 3 :]
    at = rng.randint(4, 2000)
    body = "".join(
        f"{sign}{line}\n"
        for sign, some in ((" ", above), ("-", removed), ("+", added), (" ", below))
        for line in some
    )
    return (
        f"diff --git a/{path} b/{path}\nindex {rng.getrandbits(160):040x}.."
        f"{rng.getrandbits(160):040x} 100644\n--- a/{path}\n+++ b/{path}\n"
        f"@@ -{at},{6 + len(removed)} +{at},{6 + len(added)} @@\n{body}"
    )


def made_triples(rng: random.Random, repo: str, patches: list[str]) -> pa.Table:
    """Triples with these patches, all other columns filled in."""
    rows = len(patches)
    ids = sorted(f"{rng.getrandbits(128):032x}" for _ in patches)
    change = dict.fromkeys(FILE_CHANGE.names, None) | {
        "status": "M", "old_path": "m.py", "new_path": "m.py", "old_mode": "100644",
        "new_mode": "100644", "additions": 1, "deletions": 1, "language": "Python",
        "generated": False, "vendored": False, "file_kind": "source",
    }  # fmt: skip
    blobs = [f"{rng.getrandbits(160):040x}" for _ in range(2 * rows)]
    changes = [
        [change | {"old_blob": a, "new_blob": b}]
        for a, b in zip(blobs[::2], blobs[1::2], strict=True)
    ]
    constant: dict[str, Any] = {
        "repo": repo, "repo_url": repo, "kind": "commit", "old_commit": "0" * 40,
        "new_commit": "1" * 40, "commits": ["1" * 40], "messages": [["Change it"]],
        "old_tree": "0" * 40, "new_tree": "1" * 40, "language": "Python", "additions": 1,
        "deletions": 1, "position": 0.5, "window_by": "commits", "old_committed_at": 0,
        "committed_at": 0, "authored_at": 0, "author_kind": "human", "author_id": None,
        "is_merge": False, "license": None, "license_source": None,
        "scores": [], "cluster": None, "weight": 1.0,
    }  # fmt: skip
    columns = {"id": ids, "patch": patches, "files": changes}
    return pa.table(
        [pa.array(columns.get(f.name) or [constant[f.name]] * rows, f.type) for f in TRIPLES],
        schema=TRIPLES,
    )


if __name__ == "__main__":
    main()
