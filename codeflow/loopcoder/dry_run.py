"""What a recipe would do, without doing it: sizes, memory, tokens, operations, missing data.

Memory is an estimate for one rank, from counting what is held: parameters, gradients and optimiser
state (its share under FSDP2), what one gathered layer needs, activations of a micro-batch, one
chunk of logits. It leaves out the allocator's waste, communication buffers and the CUDA context,
some 10% more; no GPU has confirmed it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeflow.errors import CodeflowError
from codeflow.loopcoder import metrics
from codeflow.loopcoder import recipe as recipes
from codeflow.loopcoder.checkpoint import latest
from codeflow.loopcoder.config import ModelConfig
from codeflow.loopcoder.data import sources_of
from codeflow.loopcoder.model import build
from codeflow.loopcoder.optim import is_layer_matrix
from codeflow.loopcoder.shards import missing, open_sources

_FLOAT32 = 4
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
    hidden = [batch.micro_batch_rows, batch.sequence_tokens, config.hidden_size]
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
        f"memory a GPU, {recipe.parallel.mode} on {recipe.parallel.ranks:,}: "
        f"{sum(memory.values()) / 1e9:.1f} GB (estimate)",
        *(f"  {name}: {size / 1e9:.2f} GB" for name, size in memory.items()),
        *_too_much(sum(memory.values()), batch.sequence_tokens),
        f"recipe hash: {recipe.hash}",
    ]
    problems: list[str] = []
    ranks = recipe.parallel.ranks
    if batch.rows_per_step % (ranks * batch.micro_batch_rows):
        problems.append(
            f"batch.rows_per_step = {batch.rows_per_step} is not a multiple of {ranks} ranks x "
            f"micro_batch_rows = {batch.micro_batch_rows}"
        )
    lines += _data(recipe, data, problems)
    if recipe.parent.run and latest(_beside(out, recipe.parent.run) / "checkpoints") is None:
        problems.append(f"parent run {recipe.parent.run!r}: no checkpoint beside the output folder")
    return DryRun(tuple(lines), tuple(problems))


def _too_much(total: float, sequence_tokens: int) -> list[str]:
    """What to expect of a recipe that takes more than a GPU has."""
    if total <= _GPU_BYTES:
        return []
    return [
        f"  more than the {_GPU_BYTES / 1e9:.0f} GB of a usual GPU: a row of {sequence_tokens:,} "
        "tokens stays on one GPU here, since context parallelism (rows split over GPUs) is not "
        "built; more ranks do not help with activations, larger GPUs or shorter rows do"
    ]


def _data(recipe: recipes.Recipe, data: Path, problems: list[str]) -> list[str]:
    """A line a source: its share, and how often the run reads it."""
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


def _beside(out: Path | None, run: str) -> Path:
    return (out.parent if out is not None else Path()) / run


def memory_bytes(recipe: recipes.Recipe) -> dict[str, float]:
    """Bytes on one rank by what they hold."""
    config, compute = recipe.model.config, recipe.compute
    named = list(build(config).named_parameters())
    total = sum(p.numel() for _, p in named)
    by_muon = sum(p.numel() for n, p in named if is_layer_matrix(n, p))
    muon = by_muon if recipe.optimizer.name == "muon" else 0
    spread = recipe.parallel.ranks if recipe.parallel.mode == "fsdp2" else 1
    outside = sum(p.numel() for n, p in named if ".layers." not in n)
    layer = (total - outside) / config.num_hidden_layers
    gathered = _FLOAT32 * (outside + 2 * 2 * layer) if spread > 1 else 0.0
    width = 2 if compute.dtype == "bfloat16" else _FLOAT32
    tokens = recipe.batch.micro_batch_rows * recipe.batch.sequence_tokens
    return {
        "parameters": _FLOAT32 * total / spread,
        "gradients": _FLOAT32 * total / spread,
        "optimiser state": _FLOAT32 * (2 * (total - muon) + muon) / spread,
        "gathered: the root's, two layers and their gradients": gathered,
        "activations": tokens * _activations(config, compute.activation_checkpointing, width),
        "logits": min(tokens, compute.loss_chunk_tokens) * config.vocab_size * _FLOAT32 * 2.0
        + _FLOAT32 * config.vocab_size * config.hidden_size,
    }


def _activations(config: ModelConfig, recomputed: bool, width: int) -> float:
    """Bytes a token that a forward pass leaves for the backward pass."""
    c, d = config.hidden_size, config.head_dim
    kept = c * _FLOAT32 + 2 * config.num_key_value_heads * d * width
    working = (
        3 * c * _FLOAT32  # residual stream and the norms' input
        + width * (2 * c + 4 * config.num_attention_heads * d + 4 * config.intermediate_size)
    )
    uses = config.num_hidden_layers * config.loop_num
    return uses * kept + working if recomputed else uses * (kept + working)
