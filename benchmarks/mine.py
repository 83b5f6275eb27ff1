"""How fast, how large and how hungry mining is: `python benchmarks/mine.py REPO... [--pydriller]`.

For each repository, with everything interleaved round by round and medians of the rounds:

1. `codeflow mine --kinds commit --workers 1` as a whole process, start-up included, into a fresh
   folder, against `git log -p --first-parent -m --no-renames` over the same commits.
2. With --pydriller: PyDriller's commits per second on a sample spread over the same commits,
   reading the diff and both contents of every file. Merges stay out of the sample: it looks only
   at what was in conflict there, mostly nothing, where the others read the whole change.
3. Peak memory: of the largest process, and of all processes of a run together (sampled; resident
   sets, so that pages they share count in each).
4. Size: triples, blobs and trees on disk against `git pack-objects` fed with the ids of the same
   blobs, as it is and without the deltas that the repository already holds.

With --workers N: all repositories as one list, both kinds, N workers against one; Ray's start is
measured apart. Needs at least a minute of one-worker work to say anything.

Public tools and the standard library only (pyarrow reads the ids); memory needs Linux's /proc, and
is otherwise that of the largest process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pyarrow.parquet as pq

START, STOP = 0.4, 0.8
PYDRILLER_COMMITS = 150
SAMPLE_S = 0.05
GIT_ENV = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


class Range(NamedTuple):
    """The window: `old..new` on the first-parent chain; how many commits, and those not merges."""

    old: str
    new: str
    commits: int
    plain: list[str]


class Ran(NamedTuple):
    """One process from start to end; memory in bytes, None where it cannot be sampled."""

    wall_s: float
    cpu_s: float
    largest_bytes: int
    together_bytes: int | None
    output: str


def git(repo: Path, *arguments: str) -> list[str]:
    """A git command with its arguments, away from the user's configuration."""
    return ["git", "-C", str(repo), "--no-pager", *arguments]


def window(repo: Path) -> Range:
    """The steps whose old side lies at a position in [START, STOP)."""
    listing = subprocess.run(
        git(repo, "rev-list", "--first-parent", "--reverse", "--parents", "HEAD"),
        check=True,
        capture_output=True,
        text=True,
        env=GIT_ENV,
    )
    chain = [line.split() for line in listing.stdout.splitlines()]  # each with its parents
    last = len(chain) - 1
    starts = [k for k in range(last) if START <= k / last < STOP]
    if not starts:
        sys.exit(f"{repo}: no commits in the window")
    steps = [chain[k + 1] for k in starts]
    plain = [commit for commit, *parents in steps if len(parents) == 1]
    return Range(chain[starts[0]][0], steps[-1][0], len(steps), plain)


def measured(command: Sequence[str], env: dict[str, str] | None = None, sample: bool = True) -> Ran:
    """Runs a command to its end, its output kept or, for git, thrown away.

    Args:
        sample: whether to look at memory meanwhile. With Ray's processes and threads that takes
            a good part of a core: not while time is measured.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    keep = subprocess.DEVNULL if command[0] == "git" else subprocess.PIPE
    process = subprocess.Popen(command, env=env, text=True, stdout=keep, stderr=subprocess.STDOUT)
    with sampled(process.pid, sample) as memory:
        output, _ = process.communicate()
    wall_s = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}\n{output or ''}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    largest = memory.get("largest") or after.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Ran(wall_s, cpu_s, largest, memory.get("together"), output or "")


@contextmanager
def sampled(root: int, wanted: bool) -> Iterator[dict[str, int]]:
    """Peaks of a process and all below it, filled in when the block ends; empty without /proc."""
    peaks: dict[str, int] = {}
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            sizes = [memory_of(pid) for pid in tree_of(root)]
            if any(sizes):
                largest = max(high for high, _ in sizes)
                together = sum(now for _, now in sizes)
                peaks["largest"] = max(peaks.get("largest", 0), largest)
                peaks["together"] = max(peaks.get("together", 0), together)

    thread = threading.Thread(target=sample, daemon=True)
    if wanted and Path("/proc/self/task").exists():
        thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()


def tree_of(root: int) -> list[int]:
    """A process and its descendants."""
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                pending += map(int, path.read_text().split())
            except OSError:  # it ended meanwhile
                continue
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """(peak, present) resident set of a process in bytes; zeros once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    sizes = dict(re.findall(r"^(VmHWM|VmRSS):\s*(\d+) kB", status, re.M))
    return int(sizes.get("VmHWM", 0)) * 1024, int(sizes.get("VmRSS", 0)) * 1024


def mine(repos: Sequence[Path], out: Path, kinds: str, workers: int, sample: bool = True) -> Ran:
    """One run of the command line into a folder that does not exist yet."""
    shutil.rmtree(out, ignore_errors=True)
    list_file = out.with_suffix(".txt")
    list_file.write_text("".join(f"{repo}\n" for repo in repos))
    command = [sys.executable, "-m", "codeflow", "mine", "--repos", str(list_file)]
    command += ["--out", str(out), "--kinds", kinds, "--until", "mine", "--workers", str(workers)]
    return measured([*command, "--cache", str(out.with_suffix(".cache"))], sample=sample)


def pydriller_rate(repo: Path, commits: Sequence[str]) -> float:
    """Commits per second on a sample spread evenly over some commits."""
    from pydriller import Git

    os.environ.update(GIT_ENV)  # it starts git, too
    spread = max(1, len(commits) // PYDRILLER_COMMITS)
    sample = commits[::spread][:PYDRILLER_COMMITS]
    begun = time.perf_counter()
    opened = Git(str(repo))
    for commit in sample:
        for file in opened.get_commit(commit).modified_files:
            _ = file.diff, file.source_code, file.source_code_before
    return len(sample) / (time.perf_counter() - begun)


def sizes(repo: Path, out: Path) -> dict[str, int]:
    """Bytes on disk by table, and of two packs of the same blobs."""
    found = {
        name: sum(path.stat().st_size for path in (out / name).glob("*.parquet"))
        for name in ("triples", "blobs", "trees")
    }
    ids: set[str] = set()
    for path in (out / "blobs").glob("*.parquet"):
        ids.update(pq.read_table(path, columns=["id"]).column("id").to_pylist())
    found["dataset"] = sum(found.values())
    found["pack"] = pack_bytes(repo, ids)
    found["pack_no_reuse"] = pack_bytes(repo, ids, "--no-reuse-delta")
    return found


def pack_bytes(repo: Path, ids: set[str], *options: str) -> int:
    """Size of the pack that git makes of some objects."""
    command = git(repo, "pack-objects", "--stdout", "-q", *options)
    with tempfile.TemporaryFile() as given:
        given.write("".join(f"{oid}\n" for oid in sorted(ids)).encode())
        given.seek(0)
        with subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, env=GIT_ENV) as packing:
            stream = packing.stdout
            assert stream is not None
            size = sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
    if packing.returncode:
        sys.exit(f"{repo}: git pack-objects failed")
    return size


def one_repository(repo: Path, folder: Path, rounds: int, pydriller: bool) -> dict[str, Any]:
    """Measures 1 to 4 of one repository."""
    span = window(repo)
    by_git = git(repo, "log", "-p", "--first-parent", "-m", "--no-renames")
    by_git.append(f"{span.old}..{span.new}")
    out = folder / "one"
    measured(by_git, GIT_ENV)  # what follows reads from memory
    plain = folder / "plain.git"  # PyDriller misreads a bare folder without that name
    if pydriller:
        shutil.rmtree(plain, ignore_errors=True)
        clone = ["git", "clone", "-q", "--bare", "--shared", str(repo), str(plain)]
        subprocess.run(clone, check=True, env=GIT_ENV)
    ours, gits, rates = [], [], []
    for _ in range(rounds):
        gits.append(measured(by_git, GIT_ENV))
        ours.append(mine([repo], out, "commit", 1))
        if pydriller:
            rates.append(pydriller_rate(plain, span.plain))
    our_rates = [span.commits / ran.wall_s for ran in ours]
    return {
        "repo": repo.name,
        "commits": span.commits,
        "git_log_s": [ran.wall_s for ran in gits],
        "codeflow_s": [ran.wall_s for ran in ours],
        "git_log_cpu_s": [ran.cpu_s for ran in gits],
        "codeflow_cpu_s": [ran.cpu_s for ran in ours],
        "ratio": median(a.wall_s / b.wall_s for a, b in zip(ours, gits, strict=True)),
        "ratio_cpu": median(a.cpu_s / b.cpu_s for a, b in zip(ours, gits, strict=True)),
        "codeflow_commits_per_s": median(our_rates),
        "pydriller_commits_per_s": median(rates) if rates else None,
        "times_pydriller": (
            median(a / b for a, b in zip(our_rates, rates, strict=True)) if rates else None
        ),
        "largest_process_bytes": max(ran.largest_bytes for ran in ours),
        "bytes": sizes(repo, out),
    }


def many_workers(
    repos: Sequence[Path], folder: Path, rounds: int, workers: int, kinds: str
) -> dict[str, Any]:
    """N workers against one on a list, Ray's start taken out and told."""
    alone, together, ray_s = [], [], []
    for _ in range(rounds):
        alone.append(mine(repos, folder / "alone", kinds, 1, sample=False))
        together.append(mine(repos, folder / "together", kinds, workers, sample=False))
        started = re.search(r"Ray is up after ([\d.]+) s", together[-1].output)
        ray_s.append(float(started[1]) if started else 0.0)
    for_memory = [mine(repos, folder / "alone", kinds, count) for count in (1, workers)]
    return {
        "workers": workers,
        "kinds": kinds,
        "one_worker_s": [ran.wall_s for ran in alone],
        "workers_s": [ran.wall_s for ran in together],
        "ray_start_s": ray_s,
        "speedup": median(
            a.wall_s / (b.wall_s - ray) for a, b, ray in zip(alone, together, ray_s, strict=True)
        ),
        "speedup_with_ray_start": median(
            a.wall_s / b.wall_s for a, b in zip(alone, together, strict=True)
        ),
        "largest_process_bytes": {
            "one": for_memory[0].largest_bytes,
            "workers": for_memory[1].largest_bytes,
        },
        "together_bytes": for_memory[1].together_bytes or 0,
    }


def show(figures: dict[str, Any]) -> None:
    """One repository for people."""
    size = figures["bytes"]
    git_s, our_s = median(figures["git_log_s"]), median(figures["codeflow_s"])
    print(f"\n{figures['repo']}: {figures['commits']:,} commits in the window")
    row("git log -p", f"{git_s:.2f} s", rounds_of(figures["git_log_s"]))
    row("codeflow mine", f"{our_s:.2f} s", rounds_of(figures["codeflow_s"]))
    row("ratio", f"{figures['ratio']:.2f}", f"of processor time {figures['ratio_cpu']:.2f}")
    row("codeflow", f"{figures['codeflow_commits_per_s']:.0f}/s", "commits, start-up included")
    if figures["pydriller_commits_per_s"] is not None:
        times = f"codeflow is {figures['times_pydriller']:.1f} times as fast"
        row("PyDriller", f"{figures['pydriller_commits_per_s']:.0f}/s", times)
    row("largest process", mega(figures["largest_process_bytes"]), "peak resident set")
    parts = ", ".join(f"{name} {mega(size[name])}" for name in ("triples", "blobs", "trees"))
    row("dataset", mega(size["dataset"]), parts)
    for name, title in (("pack", "pack"), ("pack_no_reuse", "pack, own deltas")):
        row(title, mega(size[name]), f"the dataset is {size['dataset'] / size[name]:.2f} of it")


def show_workers(figures: dict[str, Any]) -> None:
    """Many workers for people."""
    workers = figures["workers"]
    print(f"\nall repositories, kinds {figures['kinds']}")
    alone, together = figures["one_worker_s"], figures["workers_s"]
    row("one worker", f"{median(alone):.1f} s", rounds_of(alone))
    row(f"{workers} workers", f"{median(together):.1f} s", rounds_of(together))
    row("Ray's start", f"{median(figures['ray_start_s']):.1f} s", "in the line above")
    with_start = f"with Ray's start {figures['speedup_with_ray_start']:.2f}"
    row("times as fast", f"{figures['speedup']:.2f}", with_start)
    largest = figures["largest_process_bytes"]
    row("largest process", mega(largest["workers"]), f"one worker: {mega(largest['one'])}")
    row("all processes", mega(figures["together_bytes"]), "with Ray's own; shared pages in each")


def row(name: str, value: str, note: str) -> None:
    print(f"  {name:<18}{value:>12}   {note}")


def rounds_of(values: Sequence[float]) -> str:
    return "rounds " + " ".join(f"{value:.2f}" for value in values)


def mega(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repos", nargs="+", type=Path, metavar="REPO")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--pydriller", action="store_true", help="needs the extra `bench`")
    parser.add_argument("--workers", type=int, metavar="N", help="only N workers against one")
    parser.add_argument("--kinds", default="span,commit", help="for --workers (span,commit)")
    parser.add_argument("--json", action="store_true", help="all figures, rounds included")
    parsed = parser.parse_args()
    repos = [repo.absolute() for repo in parsed.repos]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="codeflow-bench-") as name:
        if parsed.workers:
            arguments = (Path(name), parsed.rounds, parsed.workers, parsed.kinds)
            found.append(many_workers(repos, *arguments))
        else:
            for repo in repos:
                found.append(one_repository(repo, Path(name), parsed.rounds, parsed.pydriller))
                if not parsed.json:
                    show(found[-1])
    if parsed.json:
        print(json.dumps(found, indent=2))
    elif parsed.workers:
        show_workers(found[0])


if __name__ == "__main__":
    main()
