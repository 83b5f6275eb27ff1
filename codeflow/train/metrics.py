"""What a run says about itself: JSON lines, the same for other programs, one progress line.

**MFU convention.** Operations of the model over time and peak: 2 for a multiply-add, 3 times the
forward pass for a training step. Matrix products of both passes and of the head, and scores;
recomputation under activation checkpointing is not counted. Of scores, `mfu` counts those that
causal masks leave in whole rows of T tokens, what packing spares included, as most trainers do;
`mfu_attended` those within documents, which are all that has to be computed: a third of it for
documents of 2K in rows of 32K. Peak is the dense bfloat16 figure of the device's data sheet; for a
device that is not listed, or another dtype, both are "unknown".
**Tokens** are positions read, padding included, over all ranks; **target tokens** those that count
in the loss.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import torch

from codeflow.loopcoder.attention import Documents
from codeflow.loopcoder.config import ModelConfig
from codeflow.storage.files import replacing
from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import World
from codeflow.train.watch.sinks import Sink

UNKNOWN: Final = "unknown"
PEAK_BFLOAT16: Final[Mapping[str, float]] = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "L40S": 362e12,
}
"""Dense bfloat16 operations a second by a part of the device's name, from the data sheets."""


@dataclass(frozen=True)
class Work:
    """What a step has to compute, over all ranks: its tokens, the targets among them, and the pairs
    of a query and a key within its documents, of causal attention and of the window."""

    tokens: float = 0.0
    targets: float = 0.0
    causal: float = 0.0
    near: float = 0.0


def step_flops(config: ModelConfig, sequence_tokens: int, tokens: float) -> float:
    """Operations of one training step over `tokens` tokens in whole rows of T."""
    row = Documents.whole(1, sequence_tokens)
    causal, near = (row.pairs(w) / sequence_tokens for w in (None, config.loop_window_size))
    return attended_flops(config, tokens, causal * tokens, near * tokens)


def attended_flops(config: ModelConfig, tokens: float, causal: float, near: float) -> float:
    """The same with so many pairs of a query and a key; `near` are the window's."""
    c, d, heads = config.hidden_size, config.head_dim, config.num_attention_heads
    matrices: float = (
        c * d * (2 * heads + 2 * config.num_key_value_heads) + 3 * c * config.intermediate_size
    )
    scores = 2 * heads * d * causal * config.loop_num  # multiply-adds: scores, then values
    if config.loop_num == 2:
        scores += 2 * heads * d * near
        matrices += heads * d / 2  # the gate, in one of two passes
    layer = config.loop_num * matrices * tokens + scores
    return 3 * 2 * (config.num_hidden_layers * layer + c * config.vocab_size * tokens)


def rates(
    recipe: recipes.Recipe, work: Work, seconds: float, world: World
) -> dict[str, float | str]:
    """How fast a step of `seconds` was: tokens and target tokens a second, and both MFUs."""
    config, tokens = recipe.model.config, work.tokens
    peak = peak_flops(world.device, recipe.compute.dtype)
    whole = step_flops(config, recipe.batch.sequence_tokens, tokens)
    attended = attended_flops(config, tokens, work.causal, work.near)
    return {
        "tokens_per_s": tokens / seconds,
        "target_tokens_per_s": work.targets / seconds,
        "mfu": mfu(whole, seconds, peak, world.size),
        "mfu_attended": mfu(attended, seconds, peak, world.size),
    }


def peak_flops(device: str, dtype: str) -> float | None:
    """Of one device; None when it is not known for certain."""
    if not device.startswith("cuda") or dtype != "bfloat16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_BFLOAT16.items() if part in name), None)


def mfu(flops: float, seconds: float, peak: float | None, devices: int) -> float | str:
    """Share of the devices' peak, or "unknown"."""
    return flops / seconds / (peak * devices) if peak else UNKNOWN


class Log:
    """`metrics.jsonl` of a run, cut back to the step that is resumed from, and its sinks.

    A line is one event (`step`, `validation`, `diagnostics`, `fold`); `step` is of steps done.
    `resumed_at` are the events that are known of the step that is resumed from.
    """

    def __init__(self, folder: Path, resumed_step: int, into: Sequence[Sink] = ()) -> None:
        path = folder / "metrics.jsonl"
        self.resumed_at: set[str] = set()
        if path.exists():
            kept = [line for line in path.read_bytes().splitlines() if _until(line, resumed_step)]
            events = map(json.loads, kept)
            self.resumed_at = {e["event"] for e in events if e["step"] == resumed_step}
            with replacing(path) as temporary:
                temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        self._sinks = into

    def write(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """One line, flushed. Numbers that are not finite are written as text, to stay JSON."""
        line = {"event": event, "step": step, **values}
        self._file.write(json.dumps(_plain(line)) + "\n")
        self._file.flush()
        if self._sinks:
            numbers = dict(_flat(values, event))
            for sink in self._sinks:
                sink.write(step, numbers)

    def close(self) -> None:
        self._file.close()
        for sink in self._sinks:
            sink.close()


def _until(line: bytes, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False  # torn by a kill


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}/{key}")
        elif isinstance(value, (int, float)):
            yield f"{prefix}/{key}", value


def progress_line(step: int, steps: int, values: Mapping[str, Any]) -> str:
    """`step 10/100  loss 5.1  lr 1e-3  grad 1.2  3,456 tokens/s  MFU unknown  0:01:02 left`."""
    share = values["mfu"]
    minutes, seconds = divmod(int(values["time_left_s"]), 60)
    hours, minutes = divmod(minutes, 60)
    bad = f"  {values['bad_steps']} bad steps" if values["bad_steps"] else ""
    return (
        f"step {step}/{steps}  loss {values['loss']:.4f}  lr {values['lr']:.2e}  "
        f"grad {values['grad_norm']:.2f}  {values['tokens_per_s']:,.0f} tokens/s  "
        f"MFU {share if isinstance(share, str) else f'{share:.1%}'}  "
        f"{hours}:{minutes:02}:{seconds:02} left{bad}"
    )


def say(line: str, stream: TextIO = sys.stderr) -> None:
    """One line for people; nothing when nobody can read it any more."""
    with contextlib.suppress(BrokenPipeError):
        print(line, file=stream, flush=True)
