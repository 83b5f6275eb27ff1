"""A training recipe: one TOML file, one frozen dataclass a concern, read strictly.

The tables that decide the weights (`RESULT`) make the recipe's hash; a checkpoint of another hash
is refused. How a run is watched, saved and spread over processes (`parallel`, `run`,
`validation`, `guard`) stays outside, so that it may change from one start to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from codeflow.config import as_mapping, from_mapping, override, read_toml, stage_hash
from codeflow.errors import UsageError
from codeflow.loopcoder.config import Compute, ModelConfig, preset
from codeflow.train.watch.sinks import SINKS

RESULT: Final = (
    *("seed", "model", "compute", "data", "batch", "optimizer", "schedule", "parent", "rl"),
)

_LARGEST: Final = 1e18  # also the product of two of them is a float32


def _positive(table: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UsageError(f"recipe: {table}.{name} = {value}: must be positive and finite")


def _not_negative(table: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise UsageError(f"recipe: {table}.{name} = {value}: must be 0 or more, and finite")


def _one_of(table: str, name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"recipe: {table}.{name} = {value!r}: choose one of {', '.join(known)}")


@dataclass(frozen=True)
class Model:
    """A preset and the fields of it to replace (`vocab_size` by the tokenizer's, say)."""

    preset: str = "tiny"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> ModelConfig:
        return preset(self.preset, self.overrides)


@dataclass(frozen=True)
class Data:
    """Shard folders below DIR/tokens and their shares; shares need not sum to 1. `loss_weights`
    makes targets of a source count more or less than others'; 1 where it says nothing.

    `order = "curriculum"` reads each source from easy to hard: in as many `phases` of the run as
    parts of its rows, at random within a phase.
    """

    sources: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = ""
    """The tokenizer hash that the shards must carry; empty takes theirs, if they agree."""
    order: str = "random"
    phases: int = 3
    loss_weights: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("data", "order", self.order, ("random", "curriculum"))
        _positive("data", phases=self.phases)
        for table in ("sources", "loss_weights"):
            for name, share in getattr(self, table).items():
                number = isinstance(share, (int, float)) and not isinstance(share, bool)
                if not number or not 0 < share < math.inf:
                    raise UsageError(
                        f"recipe: data.{table}.{name} = {share!r}: must be positive and finite"
                    )
        for name in self.loss_weights:
            _one_of("data", "loss_weights", name, tuple(self.sources))


@dataclass(frozen=True)
class Batch:
    """Rows of T tokens: of one optimiser step over all ranks, and of one forward pass on one."""

    sequence_tokens: int = 512
    rows_per_step: int = 8
    micro_batch_rows: int = 8

    def __post_init__(self) -> None:
        _positive("batch", **vars(self))


@dataclass(frozen=True)
class Optimizer:
    """`muon` takes the layers' matrices; the rest, and everything under `adamw`, is AdamW's."""

    name: str = "adamw"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    momentum: float = 0.95
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        _one_of("optimizer", "name", self.name, ("adamw", "muon"))
        _positive("optimizer", lr=self.lr, eps=self.eps, clip_norm=self.clip_norm)
        _not_negative("optimizer", weight_decay=self.weight_decay)
        for name in ("lr", "eps", "clip_norm", "weight_decay"):
            if getattr(self, name) > _LARGEST:
                raise UsageError(
                    f"recipe: optimizer.{name} = {getattr(self, name)}: at most {_LARGEST:g}, "
                    "since weights are float32"
                )
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"recipe: optimizer.{name} = {getattr(self, name)}: in [0, 1)")


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then `wsd` (flat, then linear decay) or `cosine`, down to a fraction of lr, at which
    a cosine's last `tail_steps` stay."""

    name: str = "wsd"
    steps: int = 100
    warmup_steps: int = 10
    decay_steps: int = 20
    final_lr_fraction: float = 0.0
    tail_steps: int = 0

    def __post_init__(self) -> None:
        _one_of("schedule", "name", self.name, ("wsd", "cosine"))
        _positive("schedule", steps=self.steps)
        _not_negative(
            "schedule",
            warmup_steps=self.warmup_steps,
            decay_steps=self.decay_steps,
            final_lr_fraction=self.final_lr_fraction,
            tail_steps=self.tail_steps,
        )
        if self.tail_steps and self.name != "cosine":
            raise UsageError("recipe: schedule.tail_steps is a cosine's")
        used = self.warmup_steps + (self.decay_steps if self.name == "wsd" else self.tail_steps)
        if used > self.steps:
            what = "decay" if self.name == "wsd" else "tail"
            raise UsageError(
                f"recipe: schedule: warm-up and {what} take {used} of {self.steps} steps"
            )


@dataclass(frozen=True)
class Parent:
    """The run whose last checkpoint this one starts from: a folder beside `--out`, or a path.
    It may be a Hugging Face folder, exported or released, as well.

    `optimizer` hands on the moments too (the same optimiser is needed); `fold` turns a dense
    parent into a loop.
    """

    run: str = ""
    optimizer: bool = False
    fold: bool = False


@dataclass(frozen=True)
class Rl:
    """Learning from replies to `prompts` (JSON lines below DIR) by `reward` (`file.py:function`).

    `samples` replies to each of `groups` prompts make a batch, which `updates` optimiser steps
    share; `max_rounds` bounds how often prompts are replaced whose replies are all worth the same.
    Cut replies are `penalised`, `left-out` or `graded` as others are; `overlong_tokens` before the
    limit cost, too. Of the objective are `clip_low`, `clip_high` and `dual_clip`. `batch_rows`
    replies are sampled at once.
    """

    prompts: str = ""
    reward: str = ""
    stop: tuple[Any, ...] = ("<|im_end|>", "<|endoftext|>")
    groups: int = 8
    samples: int = 8
    updates: int = 1
    max_rounds: int = 4
    max_new_tokens: int = 256
    batch_rows: int = 64
    overlong_tokens: int = 0
    truncated: str = "penalised"
    clip_low: float = 0.2
    clip_high: float = 0.28
    dual_clip: float = 3.0

    def __post_init__(self) -> None:
        counts = ["groups", "updates", "max_rounds", "max_new_tokens", "batch_rows", "clip_high"]
        _positive("rl", **{name: getattr(self, name) for name in counts})
        _not_negative("rl", overlong_tokens=self.overlong_tokens, clip_low=self.clip_low)
        _one_of("rl", "truncated", self.truncated, ("penalised", "left-out", "graded"))
        if self.samples < 2:
            raise UsageError(f"recipe: rl.samples = {self.samples}: at least 2, to compare them")
        if self.clip_low >= 1 or not 1 < self.dual_clip < math.inf:
            raise UsageError("recipe: rl: clip_low has to be below 1, dual_clip above 1")
        if self.overlong_tokens > self.max_new_tokens:
            raise UsageError("recipe: rl.overlong_tokens is more than rl.max_new_tokens")
        if self.groups % self.updates:
            raise UsageError(
                f"recipe: rl.groups = {self.groups} is not a multiple of rl.updates = "
                f"{self.updates}"
            )
        if bool(self.prompts) != bool(self.reward):
            raise UsageError("recipe: rl.prompts and rl.reward belong together")


@dataclass(frozen=True)
class Parallel:
    """`ddp` or `fsdp2` under torchrun. `ranks` is what the dry run plans for.

    `context` ranks share a row, each with its part of the tokens; 1 keeps rows whole. `replicas`
    groups of ranks hold all weights each, spread over theirs (HSDP); 1 spreads them over all ranks.
    """

    mode: str = "ddp"
    ranks: int = 1
    timeout_s: float = 600.0
    context: int = 1
    replicas: int = 1

    def __post_init__(self) -> None:
        _one_of("parallel", "mode", self.mode, ("ddp", "fsdp2"))
        _positive("parallel", **{k: v for k, v in vars(self).items() if k != "mode"})
        for name in ("context", "replicas"):
            if self.ranks % getattr(self, name):
                raise UsageError(
                    f"recipe: parallel.ranks = {self.ranks} is not a multiple of "
                    f"parallel.{name} = {getattr(self, name)}"
                )
        if self.replicas > 1 and self.mode != "fsdp2":
            raise UsageError(
                f'recipe: parallel.replicas = {self.replicas} needs parallel.mode = "fsdp2": '
                "under ddp every rank is one"
            )


@dataclass(frozen=True)
class Run:
    """Saving and reporting; 0 steps between two checkpoints saves at the end alone.

    `sinks` are the programs that get the metrics, too.
    """

    checkpoint_every_steps: int = 100
    keep_checkpoints: int = 2
    log_every_steps: int = 10
    diagnose_every_steps: int = 50
    data_workers: int = 1
    sinks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _positive(
            "run", keep_checkpoints=self.keep_checkpoints, log_every_steps=self.log_every_steps
        )
        _not_negative("run", **{k: v for k, v in vars(self).items() if k != "sinks"})
        for name in self.sinks:
            _one_of("run", "sinks", name, tuple(SINKS))


@dataclass(frozen=True)
class Validation:
    """Every so many steps, and at the end: the first `rows` validation rows of each source."""

    every_steps: int = 100
    rows: int = 32

    def __post_init__(self) -> None:
        _not_negative("validation", **vars(self))


@dataclass(frozen=True)
class Guard:
    """When to stop, and the checks for silent errors; 0 turns one off.

    `fingerprint_every_steps` sums the bits of weights and optimiser state after a step, compares
    them before the next, and between replicas; `recompute_every_steps` takes a step twice.
    """

    max_bad_steps: int = 10
    fingerprint_every_steps: int = 0
    recompute_every_steps: int = 0

    def __post_init__(self) -> None:
        _not_negative("guard", **vars(self))


@dataclass(frozen=True)
class Recipe:
    """Everything about a run except where its data and its output are."""

    name: str = "run"
    about: str = ""
    seed: int = 0
    model: Model = field(default_factory=Model)
    compute: Compute = field(default_factory=Compute)
    data: Data = field(default_factory=Data)
    batch: Batch = field(default_factory=Batch)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    parent: Parent = field(default_factory=Parent)
    rl: Rl = field(default_factory=Rl)
    parallel: Parallel = field(default_factory=Parallel)
    run: Run = field(default_factory=Run)
    validation: Validation = field(default_factory=Validation)
    guard: Guard = field(default_factory=Guard)

    def __post_init__(self) -> None:
        if not -(1 << 63) <= self.seed < 1 << 63:
            raise UsageError(f"recipe: seed = {self.seed}: must fit in 64 bits")
        if self.rl.prompts and self.data.sources:
            raise UsageError("recipe: with rl.prompts a run reads no shards: leave out [data]")
        if not self.data.sources and not self.rl.prompts:
            raise UsageError("recipe: data.sources is empty: name a folder of DIR/tokens")
        config = self.model.config
        if self.batch.sequence_tokens > config.max_position_embeddings:
            raise UsageError(
                f"recipe: batch.sequence_tokens = {self.batch.sequence_tokens} is more than the "
                f"model's {config.max_position_embeddings} positions"
            )
        if self.batch.rows_per_step % self.batch.micro_batch_rows:
            raise UsageError(
                f"recipe: batch.rows_per_step = {self.batch.rows_per_step} is not a multiple of "
                f"micro_batch_rows = {self.batch.micro_batch_rows}"
            )
        chunk, rest = divmod(self.batch.sequence_tokens, 2 * self.parallel.context)
        if self.parallel.context > 1 and (rest or chunk < config.loop_window_size):
            raise UsageError(
                f"recipe: parallel.context = {self.parallel.context} cuts a row into "
                f"{2 * self.parallel.context} chunks, which have to be equal and no shorter than "
                f"the window of {config.loop_window_size}: batch.sequence_tokens = "
                f"{self.batch.sequence_tokens} does not divide so"
            )
        if self.parent.fold and config.loop_num != 2:
            raise UsageError("recipe: parent.fold needs a model with loop_num = 2")
        if (self.parent.fold or self.parent.optimizer) and not self.parent.run:
            raise UsageError("recipe: parent.fold and parent.optimizer need parent.run")

    def uneven(self, readers: int, context: int) -> str:
        """Why a step's rows cannot be shared out to groups of `context` ranks, or nothing."""
        batch = self.batch
        if batch.rows_per_step % (readers * batch.micro_batch_rows) == 0:
            return ""
        who = f"groups of {context} ranks" if context > 1 else "ranks"
        return (
            f"batch.rows_per_step = {batch.rows_per_step} is not a multiple of {readers} {who} x "
            f"micro_batch_rows = {batch.micro_batch_rows}"
        )

    @property
    def result(self) -> dict[str, Any]:
        """The keys that decide the weights, as plain values."""
        return {key: value for key, value in as_mapping(self).items() if key in RESULT}

    @property
    def hash(self) -> str:
        return stage_hash(self.result)

    @property
    def tokens(self) -> int:
        """Tokens the whole run reads, padding included."""
        return self.schedule.steps * self.batch.rows_per_step * self.batch.sequence_tokens


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Reads a recipe file. Raises UsageError that names the file and the key.

    Args:
        settings: `KEY=VALUE`, values in place of the file's, as strict as these.
    """
    values = read_toml(path)
    override(values, settings)
    return from_mapping(Recipe, values, f"{path} (with --set)" if settings else str(path))
