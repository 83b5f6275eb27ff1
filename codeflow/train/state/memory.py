"""The memory of one rank, counted by what holds it. An estimate: no GPU has confirmed it.

Parts that do not live at the same moment (a layer's working memory, the loss) are added up all the
same. Left out are the allocator's waste, NCCL's buffers and the CUDA context, some 10% more.

- **Weights** are float32; under FSDP2 each rank holds its share of them, of their gradients and of
  the optimiser's state, over all ranks, those that share rows included.
- **FSDP2 gathers** the root's parameters (embedding, head, norm, gates) for the whole step, with
  their gradients; of the layers two, one more being received, and in the backward pass one's
  gradients, all in the dtype of `compute`, and two float32 buffers to reduce them in.
- **Both passes** give a layer's weights gradients. Autograd adds them up before anybody sees them,
  so those of pass 2 wait, whole, for pass 1's; under FSDP2 with activation checkpointing they do
  not (`model.gradients_by_pass`).
- **Activations** are of a rank's part of its rows. Recomputed, a layer leaves its float32 input in
  each pass, and K1, V1 of pass 1; their gradients take their place as pass 2's inputs are let go.
"""

from __future__ import annotations

from typing import Final

from codeflow.loopcoder.config import ModelConfig
from codeflow.loopcoder.model import build
from codeflow.train import recipe as recipes
from codeflow.train.state.optim import STACK_ELEMENTS, is_layer_matrix

FLOAT32: Final = 4
_GATHERED: Final = 3 + 1  # layers: weights; gradients
_REDUCED: Final = 2  # buffers of a layer's gradients


def memory_bytes(recipe: recipes.Recipe) -> dict[str, float]:
    """Bytes on one rank by what they hold; parts of nothing are left out."""
    config, compute, how = recipe.model.config, recipe.compute, recipe.parallel
    named = list(build(config).named_parameters())
    total = sum(p.numel() for _, p in named)
    by_muon = sum(p.numel() for n, p in named if is_layer_matrix(n, p))
    muon = by_muon if recipe.optimizer.name == "muon" else 0
    outside = sum(p.numel() for n, p in named if ".layers." not in n)
    layer = (total - outside) / config.num_hidden_layers
    fsdp2, recomputed = how.mode == "fsdp2", compute.activation_checkpointing
    spread = how.ranks // how.replicas if fsdp2 else 1
    gathered = spread > 1
    waiting = config.loop_num == 2 and not (fsdp2 and recomputed)
    width = 2 if compute.dtype == "bfloat16" else FLOAT32
    of_a_gradient = width if gathered else FLOAT32
    rows = recipe.batch.micro_batch_rows
    row_tokens = rows * recipe.batch.sequence_tokens
    tokens = row_tokens / how.context
    optimiser = FLOAT32 * (2 * (total - muon) + muon) / spread
    key_value = 2 * config.num_key_value_heads * config.head_dim * width  # of a token in a layer
    hidden = config.num_hidden_layers * config.loop_num * config.hidden_size * FLOAT32
    working = working_bytes(config, width)
    head = config.vocab_size * config.hidden_size
    chunk = min(tokens, compute.loss_chunk_tokens) * config.vocab_size
    layers = config.num_hidden_layers
    parts = {
        "parameters": FLOAT32 * total / spread,
        "gradients": FLOAT32 * total / spread,
        "optimiser state": optimiser,
        "a copy of these, to take a step twice": (FLOAT32 * total / spread + optimiser)
        * bool(recipe.guard.recompute_every_steps),
        "gathered: the root's parameters and gradients": gathered * FLOAT32 * 2 * outside,
        "gathered: layers, their gradients and buffers": gathered
        * (width * _GATHERED + FLOAT32 * _REDUCED)
        * layer,
        "gradients of pass 2 that wait for pass 1's": of_a_gradient * layers * layer * waiting,
        "kept: the input of each layer in each pass": tokens * hidden,
        "kept: K1, V1 of all layers": tokens * layers * key_value,
        "kept: what one layer computes": tokens * working * recomputed,
        # each use casts its weight anew; compiled, the backward pass casts it again instead, and
        # what FSDP2 gathers is bfloat16 already, and gathered again
        "kept: weights in bfloat16, of both passes": width
        * layers
        * layer
        * config.loop_num
        * (width == 2 and not recomputed and not compute.compile and not gathered),
        "kept: what all layers compute": tokens
        * working
        * layers
        * config.loop_num
        * (not recomputed),
        # received and put in order; the same for their gradients
        "K, V of whole rows, of one layer": 4 * row_tokens * key_value * (how.context > 1),
        # autograd keeps what was gathered, unless a layer is computed again
        "kept: K, V of whole rows, of all layers": row_tokens
        * key_value
        * layers
        * config.loop_num
        * (how.context > 1 and not recomputed),
        # gradients with momentum; in bfloat16 their stack, two states of it; updates
        "Muon: matrices that are orthogonalised together": min(muon, STACK_ELEMENTS)
        * (2 * FLOAT32 + 3 * 2),
        # logits and their slope; the head in bfloat16, its gradient there and twice in float32
        "loss: a chunk of logits, the head's gradient": 2 * FLOAT32 * chunk
        + head * (2 * FLOAT32 + 2 * width * (width == 2)),
    }
    return {name: size for name, size in parts.items() if size}


def working_bytes(config: ModelConfig, width: int) -> float:
    """Bytes a token that one layer holds at most between its forward and backward pass.

    Of the hidden size: in float32 both norms' outputs, the stream in between and behind, and two
    gradients; narrower the linear layers' inputs (three for q, k, v, two for gate and up) and two
    outputs. Of the heads: q, both attentions' outputs, their mix, that laid out for `o_proj`, three
    gradients. Of the MLP: gate, up, the activation and the product, three gradients.
    """
    c, i = config.hidden_size, config.intermediate_size
    heads = config.num_attention_heads * config.head_dim
    return FLOAT32 * 6 * c + width * (7 * c + 8 * heads + 7 * i)
