"""What a LoopCoder is made of, and the sizes that have names.

The fields of `ModelConfig` carry the names of the released checkpoint's `config.json`, so that
export and import are a copy and not a translation. `7b`, `14b`, `40b` (dense) and `40b-loop` have
the released sizes; the smaller ones are this project's own, are loops, and keep the released
proportions where a small model allows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from codeflow.config import from_mapping
from codeflow.errors import UsageError

DTYPES: Final = ("float32", "bfloat16")
ATTENTIONS: Final = ("flex", "varlen")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a model: everything that decides its tensors and what they compute.

    `loop_num` is the number of passes over the layers: 2 is LoopCoder, 1 the plain dense model.
    `loop_window_size` counts the query's own position.

    Raises:
        UsageError: a size that is not positive, or sizes that do not fit each other.
    """

    vocab_size: int = 76800
    hidden_size: int = 5120
    intermediate_size: int = 27648
    num_hidden_layers: int = 80
    num_attention_heads: int = 40
    num_key_value_heads: int = 8
    head_dim: int = 128
    max_position_embeddings: int = 131072
    loop_num: int = 2
    loop_window_size: int = 64
    rope_theta: float = 500000.0
    rms_norm_eps: float = 1e-5
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value <= 0:
                raise UsageError(f"model: {name} = {value}: must be positive")
        if self.loop_num > 2:
            raise UsageError(
                f"model: loop_num = {self.loop_num}: 1 (dense) or 2 (LoopCoder); three and more "
                "passes are not defined by the released checkpoint"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise UsageError(
                f"model: num_attention_heads = {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads = {self.num_key_value_heads}"
            )
        if self.head_dim % 2:
            raise UsageError(f"model: head_dim = {self.head_dim}: must be even for RoPE")

    def dense_twin(self, equal: str = "parameters") -> ModelConfig:
        """The dense model to compare a loop with.

        Args:
            equal: `parameters` gives the same layers without a second pass, `flops` twice the
                layers, untied (attention apart: the loop's window adds its 64 keys a token).
        """
        if equal not in ("parameters", "flops"):
            raise UsageError(f"dense twin of equal {equal!r}: choose parameters or flops")
        layers = self.num_hidden_layers * (self.loop_num if equal == "flops" else 1)
        return dataclasses.replace(self, loop_num=1, num_hidden_layers=layers)


@dataclass(frozen=True)
class Compute:
    """How a forward pass is computed; nothing here changes what the model is.

    `dtype = "bfloat16"` runs matrix products in bfloat16 over float32 parameters; the
    residual stream, norms, RoPE, softmax of the loss and the loss stay in float32.
    `activation_checkpointing` keeps one hidden state per layer and pass, and K1, V1, and computes
    the rest of the layer again in the backward pass. `loss_chunk_tokens` bounds the logits that
    exist at a time, in rows of the vocabulary's width. `compile` fuses what lies between the matrix
    products of a layer and of the loss (`torch.compile`), which rounds otherwise. `attention =
    "varlen"` takes torch's FlashAttention over lengths in place of FlexAttention, on a GPU, in
    bfloat16.
    """

    dtype: str = "float32"
    activation_checkpointing: bool = False
    loss_chunk_tokens: int = 1024
    compile: bool = False
    attention: str = "flex"

    def __post_init__(self) -> None:
        if self.attention not in ATTENTIONS:
            known = ", ".join(ATTENTIONS)
            raise UsageError(f"compute: attention {self.attention!r}: choose one of {known}")
        if self.attention == "varlen" and self.dtype != "bfloat16":
            raise UsageError('compute: attention = "varlen" needs dtype = "bfloat16"')
        if self.dtype not in DTYPES:
            raise UsageError(f"compute: dtype {self.dtype!r}: choose one of {', '.join(DTYPES)}")
        if self.loss_chunk_tokens < 1:
            raise UsageError(f"compute: loss_chunk_tokens = {self.loss_chunk_tokens}: at least 1")


def _small(
    hidden: int, layers: int, heads: int, key_value_heads: int, head_dim: int
) -> ModelConfig:
    return ModelConfig(
        vocab_size=8192,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        head_dim=head_dim,
    )


_LOOP_40B = ModelConfig()

PRESETS: Final[Mapping[str, ModelConfig]] = {
    "tiny": _small(128, 4, 4, 2, 32),
    "mini": _small(256, 6, 4, 2, 64),
    "small": _small(512, 8, 8, 2, 64),
    "base": dataclasses.replace(_small(1024, 16, 8, 2, 128), vocab_size=32768),
    "1b": dataclasses.replace(
        _small(2048, 20, 16, 4, 128), vocab_size=76800, intermediate_size=8192
    ),
    "7b": dataclasses.replace(_LOOP_40B, num_hidden_layers=14, loop_num=1),
    "14b": dataclasses.replace(_LOOP_40B, num_hidden_layers=28, loop_num=1),
    "40b": dataclasses.replace(_LOOP_40B, loop_num=1),
    "40b-loop": _LOOP_40B,
}


def preset(name: str, overrides: Mapping[str, Any] | None = None) -> ModelConfig:
    """A named size, with some of its fields replaced (`vocab_size` by the tokenizer's, say).

    Raises:
        UsageError: names the unknown preset or field, or the value that has the wrong type.
    """
    if name not in PRESETS:
        raise UsageError(f"model preset {name!r}: choose one of {', '.join(PRESETS)}")
    values = dataclasses.asdict(PRESETS[name]) | dict(overrides or {})
    return from_mapping(ModelConfig, values, f"model preset {name}")
