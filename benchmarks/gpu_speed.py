"""`gpu_check`, sections `memory`, `speed` and `profile`: steps of the trainer on one device.

The sizes are those that GPU time was predicted for, by counting: 8 x 4,096 tokens on an H200.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_correct import Line, line

from codeflow.loopcoder.attention import Documents
from codeflow.loopcoder.config import Compute, ModelConfig, preset
from codeflow.train import metrics
from codeflow.train import recipe as recipes
from codeflow.train.exact import compute_exactly
from codeflow.train.state.memory import memory_bytes
from codeflow.train.state.optim import Optimizer
from codeflow.train.state.parallel import World, make_model

TOY = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
TWELFTH = preset("base", {"hidden_size": 768, "num_hidden_layers": 10, "num_attention_heads": 6})
SIZES = {"1.5B": preset("1b"), "260M": preset("base"), "0.1B": TWELFTH}
PREDICTED = {  # (eager, compiled) MFU of the loop at 8 x 4,096 tokens on an H200
    "0.1B": (0.22, 0.32),
    "260M": (0.26, 0.36),
    "1.5B": (0.39, 0.50),
}


def fact(name: str, measured: float | str, bound: str = "") -> Line:
    """What is measured and has no bound."""
    return {"name": name, "state": "PASS", "measured": measured, "bound": bound}


def skip(name: str, why: str) -> Line:
    return {"name": name, "state": "SKIP", "measured": why}


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], object], device: str, times: int = 3) -> float:
    work()
    found = []
    for _ in range(times):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


@dataclasses.dataclass
class Side:
    """A model that trains on one packed micro-batch."""

    config: ModelConfig
    tokens: int
    batch: int
    compute: Compute
    device: str

    def __post_init__(self) -> None:
        self.model = make_model(self.config, self.compute, World(device=self.device), 0)
        self.optimizer = Optimizer(self.model, recipes.Optimizer("adamw"))
        shape = (self.batch, self.tokens)
        chance = torch.Generator().manual_seed(0)
        ids = torch.randint(self.config.vocab_size, shape, generator=chance).to(self.device)
        document = min(2048, self.tokens // 2)
        lengths = (document,) * (self.tokens // document)
        self.documents = Documents((lengths,) * self.batch)
        self.inputs = (ids, self.documents, ids.roll(-1, 1), torch.ones(shape, device=self.device))

    def phases(self) -> dict[str, float]:
        """Seconds of the parts of a step."""
        marks = [time.perf_counter()]

        def mark() -> None:
            wait(self.device)
            marks.append(time.perf_counter())

        loss = self.model(*self.inputs).sum
        mark()
        (loss / self.inputs[3].sum()).backward()
        mark()
        self.optimizer.clip()
        self.optimizer.step(1e-5)
        self.optimizer.zero_grad()
        mark()
        spans = [b - a for a, b in itertools.pairwise(marks)]
        return dict(zip(("forward", "backward", "optimizer"), spans, strict=True))

    @property
    def recipe(self) -> recipes.Recipe:
        return recipes.Recipe(
            model=recipes.Model("tiny", dataclasses.asdict(self.config)),
            compute=self.compute,
            data=recipes.Data({"random": 1}),
            batch=recipes.Batch(self.tokens, self.batch, self.batch),
        )


def sides(cpu: bool) -> dict[str, ModelConfig]:
    return {"toy": preset("tiny", TOY)} if cpu else SIZES


def memory(cpu: bool, out: Path) -> Iterator[Line]:
    device, tokens, batch = ("cpu", 128, 2) if cpu else ("cuda", 4096, 8)
    compute_exactly(device)
    for name, config in sides(cpu).items():
        for checkpointing in (True, False):
            about = f"{name}{'-checkpointing' * checkpointing}"
            compute = Compute("bfloat16", checkpointing, 4096 if not cpu else 64)
            side = Side(config, tokens, batch, compute, device)
            planned = sum(memory_bytes(side.recipe).values())
            if cpu:
                side.phases()
                yield skip(f"memory-{about}", f"{planned / 1e6:.1f} MB planned; a CPU counts none")
                continue
            try:
                torch.cuda.reset_peak_memory_stats()
                for _ in range(2):
                    side.phases()
                share = torch.cuda.max_memory_allocated() / planned
                good = abs(share - 1) <= 0.15
                yield {
                    "name": f"memory-{about}-of-{planned / 1e9:.1f}-GB",
                    "state": "PASS" if good else "FAIL",
                    "measured": share,
                    "bound": "0.85 to 1.15",
                }
            except torch.OutOfMemoryError:
                yield skip(f"memory-{about}", f"{planned / 1e9:.0f} GB planned do not fit")
            del side
            torch.cuda.empty_cache()


def speed(cpu: bool, out: Path) -> Iterator[Line]:
    """The loop compiled at 4,096 first: what the budget cuts off is worth less."""
    device = "cpu" if cpu else "cuda"
    compute_exactly(device)
    lengths = (128,) if cpu else (4096, 32768)
    for tokens in lengths:
        for compiled in (False,) if cpu else (True, False):
            for name, loop in sides(cpu).items():
                by_kind: dict[str, Any] = {}
                for kind, config in (("loop", loop), ("dense", loop.dense_twin("flops"))):
                    about = f"{name}-{kind}-T{tokens}{'-compiled' * compiled}"
                    compute = Compute("bfloat16", tokens > 4096, 4096, compiled)
                    batch = 2 if cpu else 32768 // tokens
                    torch.compiler.reset()
                    try:
                        side = Side(config, tokens, batch, compute, device)
                        yield from timed(side, about, by_kind, kind)
                        if kind == "loop" and tokens == 4096:
                            yield from predicted(name, compiled, by_kind["mfu"])
                        del side
                    except torch.OutOfMemoryError:
                        yield skip(f"speed-{about}", "out of memory")
                    if not cpu:
                        torch.cuda.empty_cache()
                if {"loop", "dense"} <= by_kind.keys() and not cpu:
                    ratio = by_kind["loop"] / by_kind["dense"]
                    yield line(f"loop-over-dense-{name}-T{tokens}", ratio, 0.97, at_least=True)


def timed(side: Side, about: str, found: dict[str, float], kind: str) -> Iterator[Line]:
    side.phases()
    runs = [side.phases() for _ in range(3)]
    phases = {k: statistics.median(run[k] for run in runs) for k in runs[0]}
    seconds = sum(phases.values())
    tokens = side.tokens * side.batch
    found[kind] = tokens / seconds
    window = side.config.loop_window_size
    pairs = side.documents.pairs(), side.documents.pairs(window)
    peak = metrics.peak_flops(side.device, "bfloat16")
    whole = metrics.mfu(metrics.step_flops(side.config, side.tokens, tokens), seconds, peak, 1)
    attended = metrics.attended_flops(side.config, tokens, *pairs)
    packed = metrics.mfu(attended, seconds, peak, 1)
    found["mfu"] = whole if isinstance(whole, float) else float("nan")
    ms = " ".join(f"{k} {v * 1e3:.0f}" for k, v in phases.items())
    shown = [f"{k:.1%}" if isinstance(k, float) else k for k in (whole, packed)]
    yield fact(
        f"speed-{about}",
        f"{tokens / seconds:,.0f} tokens/s, MFU {shown[0]}, attended {shown[1]}, ms {ms}",
    )


def predicted(name: str, compiled: bool, share: float) -> Iterator[Line]:
    expected = PREDICTED[name][compiled]
    if name == "1.5B" and compiled:
        yield line("mfu-1.5B-compiled", share, 0.45, at_least=True)
    yield fact(f"mfu-{name}{'-compiled' * compiled}", share, f"predicted {expected}")


def profile(cpu: bool, out: Path) -> Iterator[Line]:
    """One compiled step by operator; the trace is left in DIR."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiling

    device = "cpu" if cpu else "cuda"
    compute_exactly(device)
    config, tokens, batch = (preset("tiny", TOY), 128, 2) if cpu else (SIZES["1.5B"], 4096, 8)
    side = Side(config, tokens, batch, Compute("bfloat16", False, 4096, not cpu), device)
    for _ in range(2):
        side.phases()
    kinds = [ProfilerActivity.CPU, *([] if cpu else [ProfilerActivity.CUDA])]
    with profiling(activities=kinds) as found:
        side.phases()
    averages = found.key_averages()
    cost = "self_cpu_time_total" if cpu else "self_device_time_total"
    total = sum(getattr(k, cost) for k in averages) or 1
    launches = sum(k.count for k in averages if "LaunchKernel" in k.key)
    yield fact("launches-a-step", float(launches))
    for row in sorted(averages, key=lambda k: -getattr(k, cost))[:10]:
        share = getattr(row, cost) / total
        yield fact(f"operator-{row.key[:50]}", f"{share:.1%} in {row.count} calls")
    found.export_chrome_trace(str(out / "trace.json"))
