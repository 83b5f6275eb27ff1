"""Does this machine train correctly, and how fast? One command, six minutes.

    python benchmarks/gpu_check.py [--out DIR] [--budget 360] [--cpu]

Sections, in order of value: `machine`, `correct` (against a float64 numpy model and blockwise
attention; models that are wrong on purpose have to be seen), `resume` (six steps against three and
three, in processes with kernels of their own), `ranks` (NCCL with one rank: DDP, FSDP2, FSDP2 with
checkpointing), `memory` (against the dry run), `speed`, `profile`.

Each is a process with a time limit, so that one that hangs, or leaves the device unusable, takes
none of the others along. A result is a line, `PASS|FAIL|SKIP name measured (bound) seconds`, and a
JSON line in DIR/gpu_check.jsonl (a new folder unless named), both written at once; a table ends the
output. Exit status 1 when anything failed. `--cpu` does the same at toy size in two minutes, to try
the check itself. It needs a checkout, whose tests/support has the numpy model.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

LIMITS_S = {
    "machine": 20,
    "correct": 80,
    "resume": 80,
    "ranks": 50,
    "memory": 35,
    "speed": 110,
    "profile": 30,
}
"""Of each section; what one leaves, the next ones may use, up to the budget."""
TABLE_LINES = 40


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: a new temporary folder")
    parser.add_argument("--budget", type=float, default=360, metavar="S", help="seconds in all")
    parser.add_argument("--cpu", action="store_true", help="everything at toy size, on the CPU")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS_S), help="these sections alone")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.section:
        import gpu_sections

        for line in gpu_sections.SECTIONS[parsed.section](parsed.cpu, parsed.out):
            print(json.dumps(line), flush=True)
        return 0
    parsed.out = parsed.out or Path(tempfile.mkdtemp(prefix="gpu_check-"))
    parsed.out.mkdir(parents=True, exist_ok=True)
    with (parsed.out / "gpu_check.jsonl").open("w") as file:
        lines = list(check(parsed, file))
    print(f"\n{table(lines)}\nin {parsed.out}")
    return int(any(line["state"] == "FAIL" for line in lines))


def check(parsed: argparse.Namespace, file: TextIO) -> Iterator[dict[str, Any]]:
    """Runs the sections one after the other; every line as soon as it is there."""
    end = time.monotonic() + parsed.budget
    for section in parsed.only or LIMITS_S:
        limit = min(LIMITS_S[section] if not parsed.cpu else 120.0, end - time.monotonic())
        for line in of_section(section, limit, parsed):
            line = {"section": section, **line}
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(text_of(line), flush=True)
            yield line


def of_section(
    section: str, limit_s: float, parsed: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The lines of a section's process, and one more when it did not come to its end."""
    if limit_s <= 0:
        yield {"name": section, "state": "SKIP", "measured": "no time left", "seconds": 0.0}
        return
    command = [sys.executable, __file__, "--section", section, "--out", str(parsed.out)]
    errors = parsed.out / f"{section}.stderr"
    started = before = time.monotonic()
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            command + ["--cpu"] * parsed.cpu,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # toy sizes gain nothing from threads, which spin where others are at work
            env=os.environ | ({"OMP_NUM_THREADS": "1"} if parsed.cpu else {}),
            start_new_session=True,  # with the processes it starts
        )
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reading = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reading.start()
        try:
            while True:
                try:
                    left = started + limit_s - time.monotonic()
                    text = lines.get(timeout=max(0.01, left))
                except queue.Empty:
                    said = f"ended after its {limit_s:.0f} s"
                    yield {"name": section, "state": "SKIP", "measured": said, "seconds": limit_s}
                    return
                if text is None:
                    break
                now = time.monotonic()
                yield {**json.loads(text), "seconds": now - before}
                before = now
        finally:
            _end(process)
    if process.returncode:
        last = errors.read_text().strip().splitlines() or ["no word"]
        said = f"exit status {process.returncode}: {last[-1][:200]} (see {errors.name})"
        yield {
            "name": section,
            "state": "FAIL",
            "measured": said,
            "seconds": time.monotonic() - before,
        }


def _read(stream: TextIO, lines: queue.Queue[str | None]) -> None:
    for text in stream:
        if text.startswith("{"):
            lines.put(text)
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """Of what has ended by itself, the status; else it goes, and all that it started."""
    try:
        process.wait(timeout=5 if process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()


def text_of(line: dict[str, Any]) -> str:
    measured = line.get("measured", "")
    shown = f"{measured:.3g}" if isinstance(measured, float) else str(measured)
    bound = f" ({line['bound']})" if line.get("bound") else ""
    return f"{line['state']} {line['name']} {shown}{bound} {line['seconds']:.1f} s"


def table(lines: list[dict[str, Any]]) -> str:
    """At most TABLE_LINES: failures first, then what was measured, then the rest as counts."""
    failed = [line for line in lines if line["state"] == "FAIL"]
    rest = [line for line in lines if line["state"] != "FAIL"]
    shown = (failed + sorted(rest, key=lambda k: k["section"] in ("correct",)))[: TABLE_LINES - 2]
    counts = {state: sum(k["state"] == state for k in lines) for state in ("PASS", "FAIL", "SKIP")}
    left = len(lines) - len(shown)
    summary = ", ".join(f"{number} {state}" for state, number in counts.items())
    return "\n".join(
        [
            *(f"{line['section']:8} {text_of(line)[:110]}" for line in shown),
            *([f"and {left} more in gpu_check.jsonl"] if left else []),
            summary,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
