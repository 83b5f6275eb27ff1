"""What the loop costs against a dense model of as many layer runs, and what lies around a step.

    python benchmarks/train.py [speed] [compiled] [local] [data]
                               [--threads N] [--rounds N] [--quick] [--json]

- `speed`: forward and backward pass of a LoopCoder of L layers and of a dense model of 2L layers of
  the same width, in one process, one after the other in every round. The figure is the median over
  the rounds of (tokens a second of the loop) / (of the dense model), beside the same by processor
  time and by counting operations. Optimiser steps, which the loop has half of, are left out.
- `compiled`: the same of the loop with compiled blocks and loss against itself without
  (`compute.compile`); compilation, in a first step, is left out.
- `local`: sliding-window attention alone, forward and backward, by T. Linear is a slope of 1 in
  logarithms.
- `data`: share of a training step that is spent on reading rows, with no thread that reads ahead
  (all of it is waited for) and with one.

The figures need a quiet machine. Rounds are interleaved so that a disturbance hits both sides, and
with one thread the ratio of processor times disregards most of what others take; with more, waiting
counts as work there. `--quick` is for trying it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from codeflow.execution.process import keep_pages
from codeflow.loopcoder.attention import BlockAttention, Documents
from codeflow.loopcoder.config import Compute, ModelConfig, preset
from codeflow.loopcoder.model import create
from codeflow.shards.format import Description, Row
from codeflow.shards.writer import write_shards
from codeflow.train import metrics, recipe
from codeflow.train.exact import TENSOR_BYTES
from codeflow.train.trainer import train

VOCAB = 8192
SHAPE = {"num_hidden_layers": 4, "vocab_size": VOCAB}
PARTS = ("speed", "compiled", "local", "data")
PRESETS = {128: "tiny", 256: "mini", 512: "small"}


class Times(NamedTuple):
    """Seconds of one run."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Times:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Times(time.perf_counter() - wall, time.process_time() - cpu)


def step_of(config: ModelConfig, tokens: int, compiled: bool = False) -> Callable[[], None]:
    """A forward and backward pass over one row."""
    model = create(config, compute=Compute(compile=compiled))
    if compiled:
        model.compile_blocks()
    ids = torch.randint(config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
    weights = torch.ones(1, tokens)

    def step() -> None:
        model(ids, None, ids.roll(-1), weights).sum.backward()
        for parameter in model.parameters():
            parameter.grad = None

    return step


def speed(widths: list[int], lengths: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """One line a width and length."""
    for width in widths:
        for tokens in lengths:
            loop = preset(PRESETS[width], SHAPE)
            dense = loop.dense_twin("flops")
            pairs = paired(step_of(loop, tokens), step_of(dense, tokens), rounds)
            yield {
                "width": width,
                "T": tokens,
                "loop_tokens_per_s": tokens / statistics.median(a.wall for a, _ in pairs),
                "dense_tokens_per_s": tokens / statistics.median(b.wall for _, b in pairs),
                "ratio": statistics.median(b.wall / a.wall for a, b in pairs),
                "ratio_cpu": statistics.median(b.cpu / a.cpu for a, b in pairs),
                "ratios": [round(b.wall / a.wall, 4) for a, b in pairs],
                "operations": metrics.step_flops(dense, tokens, 1)
                / metrics.step_flops(loop, tokens, 1),
            }


def compiled(widths: list[int], lengths: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """One line a width and length."""
    for width in widths:
        for tokens in lengths:
            torch.compiler.reset()
            loop = preset(PRESETS[width], SHAPE)
            pairs = paired(step_of(loop, tokens, True), step_of(loop, tokens), rounds)
            yield {
                "width": width,
                "T": tokens,
                "compiled_tokens_per_s": tokens / statistics.median(a.wall for a, _ in pairs),
                "eager_tokens_per_s": tokens / statistics.median(b.wall for _, b in pairs),
                "ratio": statistics.median(b.wall / a.wall for a, b in pairs),
                "ratio_cpu": statistics.median(b.cpu / a.cpu for a, b in pairs),
                "ratios": [round(b.wall / a.wall, 4) for a, b in pairs],
            }


def paired(
    one: Callable[[], None], other: Callable[[], None], rounds: int
) -> list[tuple[Times, Times]]:
    """Times of both in every round, in turn the first, after one of each that warms up."""
    one()
    other()
    pairs = []
    for number in range(rounds):
        if number % 2 == 0:
            first = timed(one)
            pairs.append((first, timed(other)))
        else:
            second = timed(other)
            pairs.append((timed(one), second))
    return pairs


def local(lengths: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """One line a length, then the slope."""
    heads, key_value_heads, size, window = 8, 2, 64, 64
    sides: list[Callable[[], None]] = []
    for tokens in lengths:
        attend = BlockAttention(Documents.whole(1, tokens), window, torch.device("cpu"))
        q = torch.randn(1, heads, tokens, size, requires_grad=True)
        k, v = (torch.randn(1, key_value_heads, tokens, size, requires_grad=True) for _ in "kv")

        def side(attend: Any = attend, q: Any = q, k: Any = k, v: Any = v) -> None:
            attend.sliding(q, k, v).sum().backward()

        side()
        sides.append(side)
    found: list[list[Times]] = [[timed(side) for side in sides] for _ in range(rounds)]
    wall = [statistics.median(row[n].wall for row in found) for n in range(len(lengths))]
    cpu = [statistics.median(row[n].cpu for row in found) for n in range(len(lengths))]
    for tokens, seconds, processor in zip(lengths, wall, cpu, strict=True):
        ms = {"ms_per_1024": seconds / tokens * 1024e3, "ms_per_1024_cpu": processor * 1024e3}
        ms["ms_per_1024_cpu"] /= tokens
        yield {"T": tokens, **ms}
    yield {"slope": _slope(lengths, wall), "slope_cpu": _slope(lengths, cpu)}


def _slope(lengths: list[int], seconds: list[float]) -> float:
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def data(lengths: list[int], steps: int) -> Iterator[dict[str, Any]]:
    """One line a length and number of threads that read ahead."""
    chance = np.random.default_rng(0)
    for tokens in lengths:
        with tempfile.TemporaryDirectory() as folder:
            shards = Path(folder) / "tokens" / "random"
            shards.mkdir(parents=True)
            rows = (_row(tokens, chance) for _ in range(64))
            about = Description(tokens, "random", VOCAB, "random", "random")
            for _ in write_shards(shards, "train", rows, about):
                pass
            for workers in (0, 1):
                out = Path(folder) / f"run-{workers}"
                train(_recipe(tokens, workers, steps), Path(folder), out)
                lines = [json.loads(k) for k in (out / "metrics.jsonl").read_text().splitlines()]
                taken = [k for k in lines if k["event"] == "step"][1:]  # the first one warms up
                yield {
                    "T": tokens,
                    "data_workers": workers,
                    "step_ms": statistics.median(k["seconds"] for k in taken) * 1e3,
                    "wait_ms": statistics.median(k["data_wait_s"] for k in taken) * 1e3,
                    "share": statistics.median(k["data_wait_s"] / k["seconds"] for k in taken),
                }


def _row(tokens: int, chance: np.random.Generator) -> Row:
    """A row of four documents, each with half its weight."""
    quarter = tokens // 4
    return Row(
        chance.integers(VOCAB, size=tokens, dtype=np.uint32),
        np.full(4, quarter, np.int32),
        np.full(8, quarter // 2, np.int32),
        np.tile(np.array([0, 1], np.float32), 4),
        ("a" * 32,) * 4,
        ("Python",) * 4,
        ("commit",) * 4,
        (None,) * 4,
    )


def _recipe(tokens: int, workers: int, steps: int) -> recipe.Recipe:
    return recipe.Recipe(
        name="data",
        data=recipe.Data({"random": 1}),
        batch=recipe.Batch(tokens, 4, 4),
        schedule=recipe.Schedule(steps=steps, warmup_steps=1, decay_steps=1),
        run=recipe.Run(checkpoint_every_steps=0, diagnose_every_steps=0, data_workers=workers),
        validation=recipe.Validation(every_steps=0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048, 4096])
    parser.add_argument("--quick", action="store_true", help="three rounds of the small sizes")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parsed = parser.parse_args()
    parts = parsed.parts or list(PARTS)
    if not set(parts) <= set(PARTS):
        parser.error(f"choose from {', '.join(PARTS)}")
    torch.set_num_threads(parsed.threads)
    keep_pages(TENSOR_BYTES, TENSOR_BYTES)  # as the trainer does
    rounds = 3 if parsed.quick else parsed.rounds
    widths = [256] if parsed.quick else parsed.widths
    lengths = [512, 2048] if parsed.quick else parsed.lengths
    reach = [1024, 2048, 4096] if parsed.quick else [1024, 2048, 4096, 8192, 16384, 32768]
    work = {
        "speed": lambda: speed(widths, lengths, rounds),
        "compiled": lambda: compiled(widths, lengths, rounds),
        "local": lambda: local(reach, 3 * rounds),
        "data": lambda: data([512, 2048], 5 if parsed.quick else 12),
    }
    found: dict[str, list[dict[str, Any]]] = {"threads": [{"threads": parsed.threads}]}
    for part in parts:
        found[part] = []
        for line in work[part]():
            found[part].append(line)
            if not parsed.json:
                text = "  ".join(f"{k} {_short(v)}" for k, v in line.items() if k != "ratios")
                print(f"{part:6} {text}", flush=True)
    if parsed.json:
        print(json.dumps(found, indent=1))


def _short(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    digits = 1 if abs(value) >= 100 else 4
    return f"{value:,.{digits}f}" if math.isfinite(value) else str(value)


if __name__ == "__main__":
    main()
