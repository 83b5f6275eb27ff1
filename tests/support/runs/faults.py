"""Runs that are hurt on purpose: killed, interrupted, starved of disk, with workers that die.

As a program it is `codeflow` with a countdown: `python faults.py SIGNAL N LOG ARGUMENTS...` sends
itself the signal before its N-th touch of the disk, and writes every touch to LOG ("-": nowhere).
A touch is a call that opens for writing, renames, links, makes or removes something, or gives a
row group to Parquet; a text file is written in two halves with a touch between them. So a kill may
fall inside a write, between a write and its rename, or between a part and its marker.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PUBLISHED = ("README.md", "manifest.json", "triples", "steps", "blobs", "trees", "ledger")
TIMEOUT_S = 120
_TOUCHES = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def published(out: Path) -> dict[str, bytes]:
    """Every published file of a folder, by its name."""
    paths = [p for name in PUBLISHED for p in ((out / name), *(out / name).rglob("*"))]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths if p.is_file()}


def mine_arguments(listing: Path, out: Path, *more: str) -> list[str]:
    cache = out.parent / "cache"
    return ["mine", "--repos", f"{listing}", "--out", f"{out}", "--cache", f"{cache}", *more]


def mine(
    listing: Path, out: Path, *more: str, workers: int = 1, **options: Any
) -> subprocess.CompletedProcess[str]:
    """`codeflow mine` in a process of its own."""
    arguments = mine_arguments(listing, out, "--workers", str(workers), *more)
    return run([sys.executable, "-m", "codeflow", *arguments], **options)


def hurt(
    signum: int, at: int, listing: Path, out: Path, *more: str, log: Path | str = "-"
) -> subprocess.CompletedProcess[str]:
    """`codeflow mine` with one worker that gets a signal at its `at`-th touch of the disk."""
    arguments = mine_arguments(listing, out, "--workers", "1", *more)
    return run([sys.executable, __file__, str(int(signum)), str(at), str(log), *arguments])


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"timeout": TIMEOUT_S, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run(command, capture_output=True, text=True, **options)


def touches(log: Path, out: Path) -> list[str]:
    """The touches of a logged run: the path below the folder of each, or what it was."""
    return [line.removeprefix(f"{out}/") for line in log.read_text().splitlines()]


def _arm(at: int, signum: int, log: str) -> None:
    count = 0
    stream = None if log == "-" else open(log, "w")  # noqa: SIM115 - lives as long as we do

    def touch(what: str) -> None:
        nonlocal count
        count += 1
        if stream is not None:
            stream.write(what.replace("\n", "?") + "\n")
            stream.flush()
        if count == at:
            os.kill(os.getpid(), signum)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _TOUCHES:
            touch(str(arguments[1] if event in ("os.rename", "os.link") else arguments[0]))
        elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            touch(str(arguments[0]))

    _split_writes(touch)
    sys.addaudithook(watch)


def _split_writes(touch: Callable[[str], None]) -> None:
    import pyarrow.parquet as pq

    def write_text(self: Path, data: str, encoding: str | None = None) -> int:
        with self.open("w", encoding=encoding) as file:
            file.write(data[: len(data) // 2])
            file.flush()
            touch(f"{self} (half)")
            file.write(data[len(data) // 2 :])
        return len(data)

    plain = pq.ParquetWriter.write_table

    def write_table(self: Any, table: Any, *args: Any, **kwargs: Any) -> None:
        touch("a row group")
        plain(self, table, *args, **kwargs)

    Path.write_text = write_text  # type: ignore[method-assign, assignment]
    pq.ParquetWriter.write_table = write_table


# -- workers that die


def kill_once(marker: Path) -> None:
    """Ends this process as the kernel would, unless the marker says that it was done before."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def dying_content(arguments: Any, sink: Any) -> dict[str, Any]:
    """A content unit: of a repository named `dies-once` its worker dies in the middle of the first
    attempt, of one named `dies-always` in every one."""
    from codeflow_miners.contents.unit import read_content

    value = read_content(arguments, sink)  # all is written, nothing is marked
    if arguments.repo == "dies-once":
        kill_once(Path(arguments.git_dir) / "died")
    if arguments.repo == "dies-always":
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def slow_unit(arguments: tuple[str, float], sink: Any) -> dict[str, Any]:
    """Takes its time, then says that it ran."""
    marker, seconds = arguments
    time.sleep(seconds)
    Path(marker).touch()
    return {}


def haunted_run_unit(unit: Any, folder: Path) -> Any:
    """As `_run_in_worker`, but in about every third unit it dies once, at a touch of the disk.

    Which unit, and at which touch, is decided by the unit's key and the seed in `folder`/../seed.
    """
    import random

    from codeflow.execution.units import run_unit

    rng = random.Random((folder.parent / "seed").read_text() + unit.key)
    if rng.random() < 0.4:
        left = rng.randrange(1, 12)
        marker = folder.parent / "kills" / unit.key.replace("/", "+")

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in _TOUCHES or (event == "open" and arguments[1] in ("w", "wb")):
                left -= 1
                if left == 0:
                    kill_once(marker)

        if not marker.exists():
            sys.addaudithook(watch)
    return run_unit(unit, folder)


if __name__ == "__main__":
    _arm(int(sys.argv[2]), int(sys.argv[1]), sys.argv[3])
    from codeflow.cli import main

    sys.exit(main(sys.argv[4:]))
