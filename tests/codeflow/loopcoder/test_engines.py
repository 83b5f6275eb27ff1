"""What vLLM and SGLang ask of a folder, key by key and name by name; neither runs here.

The tables are read from their own files: `vllm/model_executor/models/iquest_loopcoder.py` at commit
045d7575500e01e0f4a7ff84e039a9f7f7dc3bd0, `python/sglang/srt/models/iquest_loopcoder.py` at commit
0ba3cdd474639a50317df43db246ca3351fbeecf. Both build their parameters from the configuration, fuse
the projections, and rename what they read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors import safe_open

from codeflow.loopcoder import export
from loopcoder_models import random_model

FUSED = (
    ("qkv_proj", "q_proj"),
    ("qkv_proj", "k_proj"),
    ("qkv_proj", "v_proj"),
    ("gate_up_proj", "gate_proj"),
    ("gate_up_proj", "up_proj"),
)
WITHOUT_DEFAULT = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "vocab_size",
    "rms_norm_eps",
    "hidden_act",
    "tie_word_embeddings",
)
"""Read as `config.KEY` by both. With a default: `loop_num` 2, `loop_window_size` 64; and
`rope_parameters`, which transformers makes of `rope_theta`, or `rope_theta` itself."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_model(hidden_size=64)  # 4 heads of 16, as both engines will have it
    return export(model, tmp_path_factory.mktemp("engines") / "loop", remote_code=True)


def stored(folder: Path) -> dict[str, tuple[int, ...]]:
    names: dict[str, tuple[int, ...]] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            names |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return names


def parameters(config: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Those that both engines build, under their own names."""
    c, f, v = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    d = c // heads  # whatever head_dim says
    made = {
        "model.embed_tokens.weight": (v, c),
        "model.norm.weight": (c,),
        "lm_head.weight": (v, c),
    }
    for n in range(config["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        made |= {
            f"{layer}.self_attn.qkv_proj.weight": ((heads + 2 * groups) * d, c),
            f"{layer}.self_attn.o_proj.weight": (c, heads * d),
            f"{layer}.mlp.gate_up_proj.weight": (2 * f, c),
            f"{layer}.mlp.down_proj.weight": (c, f),
            f"{layer}.input_layernorm.weight": (c,),
            f"{layer}.post_attention_layernorm.weight": (c,),
            f"model.gate_projections.{n}.gate_proj.weight": (heads, d),
            f"model.gate_projections.{n}.gate_proj.bias": (heads,),
        }
    return made


def in_vllm(name: str) -> str:
    """Where vLLM puts a stored tensor: `model.` is taken off before its model sees the name."""
    inner = name.removeprefix("model.")
    if "gate_projections" not in inner:
        for fused, part in FUSED:
            if part in inner:
                return "model." + inner.replace(part, fused)
    if inner.startswith("gate_projections."):
        inner = re.sub(r"\.(weight|bias)$", r".gate_proj.\1", inner)
    return name[: len(name) - len(name.removeprefix("model."))] + inner


def in_sglang(name: str) -> str:
    """Where SGLang puts it: the name is whole, and gates are looked for at its start."""
    if name.startswith("gate_projections."):
        return re.sub(r"\.(weight|bias)$", r".gate_proj.\1", name)
    for fused, part in FUSED:
        if part in name:
            return name.replace(part, fused)
    return name


def test_the_configuration_has_every_key_that_is_read(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["IQuestLoopCoderForCausalLM"]
    for key in (*WITHOUT_DEFAULT, "rope_theta", "loop_num", "loop_window_size", "torch_dtype"):
        assert config[key] is not None, key
    # AutoConfig knows no such type: the class has to come along
    file, _, name = config["auto_map"]["AutoConfig"].partition(".")
    assert f"class {name}(PretrainedConfig)" in (folder / f"{file}.py").read_text()


def test_vllm_finds_every_tensor_and_no_other(folder: Path) -> None:
    names, made = stored(folder), parameters(json.loads((folder / "config.json").read_text()))
    rows: dict[str, int] = {}
    for name, shape in names.items():
        rows[in_vllm(name)] = rows.get(in_vllm(name), 0) + shape[0]
    assert rows == {name: shape[0] for name, shape in made.items()}
    for name, shape in names.items():
        assert shape[1:] == made[in_vllm(name)][1:], name


def test_sglang_finds_every_tensor_but_the_gates(folder: Path) -> None:
    """`model.gate_projections.0.weight` does not start with `gate_projections.`: at this commit no
    folder's gates are read, the released one's neither."""
    names, made = stored(folder), parameters(json.loads((folder / "config.json").read_text()))
    lost = {name for name in names if in_sglang(name) not in made}
    assert lost == {name for name in names if "gate_projections" in name}
    rows: dict[str, int] = {}
    for name in names.keys() - lost:
        rows[in_sglang(name)] = rows.get(in_sglang(name), 0) + names[name][0]
    gates = {name for name in made if "gate_projections" in name}
    assert rows == {name: shape[0] for name, shape in made.items() if name not in gates}


@pytest.mark.slow
@pytest.mark.usefixtures("transformers_offline")
def test_the_configuration_class_gives_what_vllm_reads(folder: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    written = json.loads((folder / "config.json").read_text())
    for key in (*WITHOUT_DEFAULT, "loop_num", "loop_window_size", "rope_theta"):
        assert getattr(config, key) == written[key], key
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": written["rope_theta"]}
