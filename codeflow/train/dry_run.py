"""What a recipe would do, without doing it: sizes, memory, tokens, operations, missing data.

Memory is an estimate for one rank (`codeflow.train.state.memory`), every part of it shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeflow.errors import CodeflowError
from codeflow.loopcoder.model import build
from codeflow.train import metrics
from codeflow.train import recipe as recipes
from codeflow.train.data import missing, open_sources, sources_of
from codeflow.train.state import ancestor
from codeflow.train.state.memory import memory_bytes
from codeflow.train.watch import sinks

_LATER_LAYER = re.compile(r"\.[1-9]\d*\.")  # in the names of what layers and gates have
_GPU_BYTES = 80e9  # of the GPUs that most clusters have


@dataclass(frozen=True)
class DryRun:
    """The report's lines, and the problems that would stop the run, each one line."""

    lines: tuple[str, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        trouble = [f"missing: {problem}" for problem in self.problems]
        return "\n".join([*self.lines, *(trouble or ["nothing is missing"])])


def dry_run(recipe: recipes.Recipe, data: Path, out: Path | None) -> DryRun:
    """Reads the footers of shards and builds the model without values; trains nothing."""
    config, batch = recipe.model.config, recipe.batch
    shapes = {name: tuple(p.shape) for name, p in build(config).named_parameters()}
    parameters = sum(math.prod(shape) for shape in shapes.values())
    memory = memory_bytes(recipe)
    per_step = batch.rows_per_step * batch.sequence_tokens
    flops = metrics.step_flops(config, batch.sequence_tokens, recipe.tokens)
    layers = [f"  {n}  {list(s)}" for n, s in shapes.items() if not _LATER_LAYER.search(n)]
    how = recipe.parallel
    hidden = [batch.micro_batch_rows, batch.sequence_tokens // how.context, config.hidden_size]
    lines = [
        f"{recipe.name}: {recipe.about}" if recipe.about else recipe.name,
        f"model: {len(shapes)} tensors, {parameters:,} parameters, {config.loop_num} pass(es); "
        f"those of layer 0 of {config.num_hidden_layers} and outside the layers:",
        *layers,
        f"hidden state of a micro-batch: {hidden}",
        f"steps: {recipe.schedule.steps:,} of {batch.rows_per_step:,} rows x "
        f"{batch.sequence_tokens:,} tokens = {per_step:,} tokens",
        f"tokens: {recipe.tokens:,}",
        f"operations: {flops:.3e} ({flops / recipe.tokens:.3e} a token, forward and backward)",
        *([f"context: a row is split over {how.context} ranks"] if how.context > 1 else []),
        f"memory a GPU, {how.mode} on {how.ranks:,}: "
        f"{sum(memory.values()) / 1e9:.1f} GB (estimate)",
        *(f"  {name}: {size / 1e9:.2f} GB" for name, size in memory.items()),
        *_too_much(sum(memory.values())),
        f"recipe hash: {recipe.hash}",
    ]
    problems: list[str] = []
    try:
        sinks.require(recipe.run.sinks)
    except CodeflowError as error:
        problems.append(str(error))
    if uneven := recipe.uneven(how.ranks // how.context, how.context):
        problems.append(uneven)
    lines += _data(recipe, data, problems)
    if recipe.parent.run and not ancestor.is_there(_beside(out, recipe.parent.run)):
        problems.append(f"parent run {recipe.parent.run!r}: no checkpoint beside the output folder")
    return DryRun(tuple(lines), tuple(problems))


def _too_much(total: float) -> list[str]:
    """What to expect of a recipe that takes more than a GPU has."""
    if total <= _GPU_BYTES:
        return []
    return [
        f"  more than the {_GPU_BYTES / 1e9:.0f} GB of a usual GPU: a larger parallel.context "
        "splits rows further, fewer micro_batch_rows and activation checkpointing keep less"
    ]


def _data(recipe: recipes.Recipe, data: Path, problems: list[str]) -> list[str]:
    """A line a source: its share, and how often the run reads it."""
    if recipe.rl.prompts:
        return _rollouts(recipe, data, problems)
    sources: Mapping[str, Any] = recipe.data.sources
    total = sum(sources.values())
    absent = missing(data, tuple(sources))
    lines = ["data:"]
    for name, share in sources.items():
        tokens = recipe.tokens * share / total
        line = f"  {name}: {share / total:.1%}, {tokens:,.0f} tokens"
        if name in absent:
            problems.append(f"token folder {data / 'tokens' / name}")
            lines.append(line)
            continue
        try:
            length, tokenizer = recipe.batch.sequence_tokens, recipe.data.tokenizer
            (source,) = open_sources(data, (name,), "train", length, tokenizer)
            held = len(source) * length
            line = f"{line}, {tokens / held:.2f} epochs of {held:,}"
        except CodeflowError as error:
            problems.append(str(error))
        lines.append(line)
    if not absent and not problems:
        try:
            sources_of(recipe, data)
        except CodeflowError as error:
            problems.append(str(error))
    return lines


def _rollouts(recipe: recipes.Recipe, data: Path, problems: list[str]) -> list[str]:
    rl = recipe.rl
    if not (data / rl.prompts).is_file():
        problems.append(f"prompts {data / rl.prompts}")
    batches = -(-recipe.schedule.steps // rl.updates)
    most = batches * rl.groups * rl.samples * rl.max_rounds
    return [
        f"rollouts: {batches:,} batches of {rl.groups:,} prompts x {rl.samples:,} replies of up to "
        f"{rl.max_new_tokens:,} tokens; {most:,} replies at most"
    ]


def _beside(out: Path | None, run: str) -> Path:
    return (out.parent if out is not None else Path()) / run
