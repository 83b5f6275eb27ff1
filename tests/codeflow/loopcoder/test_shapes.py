"""Names, shapes and counts of the released checkpoint; strict configuration; import boundaries."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

import codeflow.loopcoder
from codeflow.errors import UsageError
from codeflow.loopcoder import Compute, ModelConfig, create, fold, from_preset, preset
from loopcoder_models import random_model


def released_tensors() -> dict[str, tuple[int, ...]]:
    """The released checkpoint, written out."""
    hidden, intermediate, vocab, heads, kv_heads, head_dim = 5120, 27648, 76800, 40, 8, 128
    tensors: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocab, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (vocab, hidden),
    }
    for i in range(80):
        layer = f"model.layers.{i}."
        tensors |= {
            layer + "self_attn.q_proj.weight": (heads * head_dim, hidden),
            layer + "self_attn.k_proj.weight": (kv_heads * head_dim, hidden),
            layer + "self_attn.v_proj.weight": (kv_heads * head_dim, hidden),
            layer + "self_attn.o_proj.weight": (hidden, heads * head_dim),
            layer + "mlp.gate_proj.weight": (intermediate, hidden),
            layer + "mlp.up_proj.weight": (intermediate, hidden),
            layer + "mlp.down_proj.weight": (hidden, intermediate),
            layer + "input_layernorm.weight": (hidden,),
            layer + "post_attention_layernorm.weight": (hidden,),
            f"model.gate_projections.{i}.weight": (heads, head_dim),
            f"model.gate_projections.{i}.bias": (heads,),
        }
    return tensors


def test_40b_loop_has_the_released_tensors() -> None:
    model = from_preset("40b-loop", device="meta")
    state = model.state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == released_tensors()
    assert len(state) == 883
    assert sum(p.numel() for p in model.parameters()) == 39_794_696_320
    assert all(t.is_meta for t in state.values())


@pytest.mark.parametrize(("name", "layers"), [("7b", 14), ("14b", 28), ("40b", 80)])
def test_the_dense_presets_are_the_loop_without_gates_and_with_fewer_layers(
    name: str, layers: int
) -> None:
    expected = {
        tensor: shape
        for tensor, shape in released_tensors().items()
        if "gate_projections" not in tensor
        and not (".layers." in tensor and int(tensor.split(".")[2]) >= layers)
    }
    state = from_preset(name, device="meta").state_dict()
    assert {tensor: tuple(t.shape) for tensor, t in state.items()} == expected


@pytest.mark.parametrize("name", codeflow.loopcoder.PRESETS)
def test_every_preset_builds(name: str) -> None:
    assert from_preset(name, device="meta").config == preset(name)


def test_initial_gates_are_the_released_ones_and_the_seed_decides_the_rest() -> None:
    model, same, other = (from_preset("tiny", seed=seed, vocab_size=64) for seed in (1, 1, 2))
    gates: Any = model.model.gate_projections
    for gate in gates:
        assert gate.weight.eq(0).all()
        assert gate.bias.eq(2).all()
    for (name, a), b, c in zip(
        model.named_parameters(), same.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b), name
        assert a.ndim == 1 or "gate" in name or not torch.equal(a, c), name
        assert a.isfinite().all(), name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loop_nums": 2}, "did you mean 'loop_num'"),
        ({"hidden_size": "128"}, "hidden_size"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"loop_num": 3}, "loop_num = 3"),
        ({"num_key_value_heads": 3}, "num_key_value_heads = 3"),
        ({"head_dim": 15}, "head_dim = 15"),
    ],
)
def test_a_wrong_size_is_named(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_preset("tiny", device="meta", **overrides)


def test_an_unknown_preset_or_dtype_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match="tiny, mini"):
        from_preset("huge")
    with pytest.raises(UsageError, match="bfloat16"):
        Compute(dtype="float16")


def test_dense_twins_have_equal_parameters_or_equal_layer_passes() -> None:
    loop = preset("tiny")

    def parameters(config: ModelConfig, without: str = "gate_projections") -> int:
        state = create(config, device="meta").state_dict()
        return sum(t.numel() for name, t in state.items() if without not in name)

    assert parameters(loop.dense_twin()) == parameters(loop)
    flops = loop.dense_twin(equal="flops")
    assert (flops.loop_num, flops.num_hidden_layers) == (1, 2 * loop.num_hidden_layers)
    with pytest.raises(UsageError, match="flops"):
        loop.dense_twin(equal="tokens")


def test_folding_keeps_the_weights_and_shares_no_memory() -> None:
    dense = random_model(loop_num=1)
    loop = fold(dense)
    folded = loop.state_dict()
    for name, tensor in dense.state_dict().items():
        assert torch.equal(folded.pop(name), tensor)
    assert {name.rsplit(".", 1)[1] for name in folded} == {"weight", "bias"}
    assert all(t.eq(2.0 if name.endswith("bias") else 0.0).all() for name, t in folded.items())
    with torch.no_grad():
        loop.lm_head.weight.zero_()
    assert dense.lm_head.weight.ne(0).any()
    with pytest.raises(ValueError, match="dense"):
        fold(loop)


def test_loopcoder_imports_nothing_of_mining() -> None:
    root = Path(codeflow.loopcoder.__file__).parent
    for file in sorted(root.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = name.split(".")[0]
                assert top not in ("codeflow_miners", "codeflow_filters", "pygit2"), (file, name)
                allowed = tuple(
                    f"codeflow.{name}"
                    for name in ("loopcoder", "errors", "config", "storage", "text")
                )
                assert top != "codeflow" or name.startswith(allowed), (file, name)
