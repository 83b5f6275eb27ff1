"""What curation costs beside mining: `python benchmarks/curate.py REPO [--workers 2]`.

Round by round, interleaved, medians of the rounds:

1. `git log -p --first-parent -m --no-renames` over the commits of the window.
2. `codeflow mine --kinds commit` with all stages and the default filters, tree-sitter included, as
   a whole process; Ray's start and end, which the run tells, are taken out.
3. The same `--until mine`.
4. Processor time of the cheap filters (those that read no contents) over all that was mined,
   reading included, against the processor time of mining with one worker.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from mine import GIT_ENV, Ran, git, measured, mega, rounds_of, row, window

CHEAP = """
import sys, time
from pathlib import Path
from codeflow.mining import index as mined
from codeflow.contracts import CONTENTS
from codeflow.plugins.entry_points import load_filters
from codeflow.curation import batches
from codeflow.curation.filter.judge import JudgeArguments, judge

folder = Path(sys.argv[1])
index = mined.read(folder)
cut = batches.cut(folder, [(r.repo, r.tables) for r in index.good])
filters = tuple(f for f in load_filters(["default"], {}) if CONTENTS not in f.reads)
before = time.process_time()
for part in cut:
    judge(JudgeArguments(str(folder), part, filters, 0.01, 60.0), None)
print(time.process_time() - before)
"""


def run(repo: Path, out: Path, workers: int, until: str, sample: bool = False) -> Ran:
    """One run of the command line into a folder that does not exist yet."""
    shutil.rmtree(out, ignore_errors=True)
    listing = out.with_suffix(".txt")
    listing.write_text(f"{repo}\n")
    command = [sys.executable, "-m", "codeflow", "mine", "--repos", str(listing)]
    command += ["--out", str(out), "--kinds", "commit", "--until", until]
    return measured([*command, "--workers", str(workers)], sample=sample)


def without_ray(ran: Ran, words: str = "up|down") -> float:
    """Seconds of a run without Ray's start and end, or without one of them."""
    told = re.findall(rf"Ray is (?:{words}) after ([\d.]+) s", ran.output)
    return ran.wall_s - sum(map(float, told))


def compare(repo: Path, folder: Path, rounds: int, workers: int) -> dict[str, Any]:
    """All measurements of one repository."""
    span = window(repo)
    by_git = git(repo, "log", "-p", "--first-parent", "-m", "--no-renames")
    by_git.append(f"{span.old}..{span.new}")
    measured(by_git, GIT_ENV)  # what follows reads from memory
    gits, whole, with_end, mining, alone, cheap = [], [], [], [], [], []
    for _ in range(rounds):
        gits.append(measured(by_git, GIT_ENV).wall_s)
        ran = run(repo, folder / "whole", workers, "mix")
        whole.append(without_ray(ran))
        with_end.append(without_ray(ran, "up"))
        mining.append(without_ray(run(repo, folder / "mined", workers, "mine")))
        alone.append(run(repo, folder / "alone", 1, "mine").cpu_s)
        told = measured([sys.executable, "-c", CHEAP, str(folder / "alone")])
        cheap.append(float(told.output))
    ran = run(repo, folder / "whole", workers, "mix", sample=True)
    return {
        "repo": repo.name,
        "commits": span.commits,
        "workers": workers,
        "git_log_s": gits,
        "all_stages_s": whole,
        "mining_s": mining,
        "ratio": median(a / b for a, b in zip(whole, gits, strict=True)),
        "ratio_with_end": median(a / b for a, b in zip(with_end, gits, strict=True)),
        "mining_cpu_s": alone,
        "cheap_filters_cpu_s": cheap,
        "cheap_share": median(a / b for a, b in zip(cheap, alone, strict=True)),
        "largest_process_bytes": ran.largest_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repo", type=Path, metavar="REPO")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--json", action="store_true", help="all figures, rounds included")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codeflow-bench-") as name:
        found = compare(parsed.repo.absolute(), Path(name), parsed.rounds, parsed.workers)
    if parsed.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['repo']}: {found['commits']:,} commits, {found['workers']} workers")
    for title, key in (
        ("git log -p", "git_log_s"),
        ("all stages", "all_stages_s"),
        ("mining", "mining_s"),
        ("mining, cpu", "mining_cpu_s"),
        ("cheap filters, cpu", "cheap_filters_cpu_s"),
    ):
        row(title, f"{median(found[key]):.2f} s", rounds_of(found[key]))
    with_end = f"with Ray's end {found['ratio_with_end']:.2f}"
    row("ratio", f"{found['ratio']:.2f}", f"all stages, without Ray's start and end; {with_end}")
    row("cheap filters", f"{found['cheap_share']:.2f}", "of mining's processor time")
    row("largest process", mega(found["largest_process_bytes"]), "peak resident set")


if __name__ == "__main__":
    main()
