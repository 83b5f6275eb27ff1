"""The Hugging Face folder: what is in it, read back to the bit, and damage named in one line."""

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import codeflow.loopcoder
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.loopcoder import export, load
from loopcoder_models import SMALL, random_ids, random_model


@pytest.mark.parametrize("loop_num", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_written_is_read_back_to_the_bit(
    tmp_path: Path, loop_num: int, dtype: torch.dtype
) -> None:
    model = random_model(loop_num=loop_num).to(dtype)
    folder = export(model, tmp_path / "out", shard_bytes=20_000)
    back = load(folder)
    assert back.config == model.config
    assert not back.training
    assert list(back.state_dict()) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert back.state_dict()[name].dtype == dtype
        assert torch.equal(back.state_dict()[name], tensor), name
    ids = random_ids(2, 100)
    with torch.no_grad():
        assert torch.equal(back(ids), model(ids))
    assert load(folder, dtype=torch.float32).lm_head.weight.dtype == torch.float32


def test_the_folder_is_the_released_checkpoints(tmp_path: Path) -> None:
    model = random_model()
    tokenizer = tmp_path / "tok.json"
    tokenizer.write_text('{"version": "1.0"}')
    folder = export(
        model, tmp_path / "a" / "b", tokenizer=tokenizer, eos_token_ids=[3], shard_bytes=20_000
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["IQuestLoopCoderForCausalLM"]
    assert config["model_type"] == "iquestloopcoder"
    assert (config["loop_num"], config["loop_window_size"]) == (2, 64)
    assert (config["rope_theta"], config["rope_scaling"]) == (500000.0, None)
    assert config["rms_norm_eps"] == 1e-5
    assert (config["num_key_value_heads"], config["head_dim"]) == (2, 16)
    assert config["tie_word_embeddings"] is False
    assert config["torch_dtype"] == "float32"
    assert config["eos_token_id"] == [3]
    assert (folder / "tokenizer.json").read_bytes() == tokenizer.read_bytes()

    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = sorted(folder.glob("*.safetensors"))
    count = len(shards)
    assert count > 2
    assert [s.name for s in shards] == [
        f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)
    ]
    stored = {name: (s.name, t) for s in shards for name, t in load_file(s).items()}
    assert index["weight_map"] == {name: file for name, (file, _) in stored.items()}
    assert index["metadata"]["total_size"] == sum(t.nbytes for _, t in stored.values())
    assert set(stored) == set(model.state_dict())
    largest = max(t.nbytes for _, t in stored.values())
    sizes = {s.name: sum(t.nbytes for t in load_file(s).values()) for s in shards}
    assert max(sizes.values()) <= max(20_000, largest)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["b"]  # no temporary folder left


def test_a_dense_model_is_written_as_llama(tmp_path: Path) -> None:
    folder = export(random_model(loop_num=1), tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("llama", ["LlamaForCausalLM"])
    assert "loop_num" not in config


def test_the_tokenizer_says_what_ends_and_what_pads(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tok.json"
    added = [{"id": 7, "content": "<|end|>"}, {"id": 3, "content": "<|pad|>"}]
    tokenizer.write_text(json.dumps({"added_tokens": added}))
    folder = export(
        random_model(),
        tmp_path / "out",
        tokenizer=tokenizer,
        eos_token_ids=[7, 3],
        pad_token_id=3,
        chat_template="{{ 'ü' }}\n",
        card="# A model\n",
    )
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": SMALL.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
    }
    ends = {"bos_token_id": None, "eos_token_id": [7, 3], "pad_token_id": 3}
    assert json.loads((folder / "generation_config.json").read_text()) == ends
    assert ends.items() <= json.loads((folder / "config.json").read_text()).items()
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == "{{ 'ü' }}\n"
    assert (folder / "README.md").read_text() == "# A model\n"
    tokenizer.write_text("[")
    with pytest.raises(DataError, match=r"tok\.json: not a tokenizer"):
        export(random_model(), tmp_path / "bad", tokenizer=tokenizer, eos_token_ids=[7])
    assert not (tmp_path / "bad").exists()


def test_remote_code_is_what_stands_here_word_for_word(tmp_path: Path) -> None:
    here = Path(codeflow.loopcoder.__file__).parent / "remote"
    names = {"configuration_iquestloopcoder.py", "modeling_iquestloopcoder.py"}
    folder = export(random_model(), tmp_path / "out", remote_code=True)
    assert {path.name for path in folder.glob("*.py")} == names
    for name in names:
        assert (folder / name).read_bytes() == (here / name).read_bytes()
        tree = ast.parse((folder / name).read_text())
        roots = {
            (node.module or "").split(".")[0] if node.level == 0 else "."
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        plain = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
        roots |= {alias.name.split(".")[0] for node in plain for alias in node.names}
        assert roots <= {"torch", "transformers", "dataclasses", "."}
    auto = json.loads((folder / "config.json").read_text())["auto_map"]
    for place in auto.values():
        file, _, name = place.partition(".")
        assert f"class {name}(" in (folder / f"{file}.py").read_text()
    assert not list(export(random_model(), tmp_path / "bare").glob("*.py"))
    dense = export(random_model(loop_num=1), tmp_path / "dense", remote_code=True)
    assert not list(dense.glob("*.py"))
    assert "auto_map" not in json.loads((dense / "config.json").read_text())


def test_another_dtype_is_each_weight_rounded_once(tmp_path: Path) -> None:
    model = random_model()
    folder = export(model, tmp_path / "out", dtype=torch.bfloat16, shard_bytes=20_000)
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    elements = sum(tensor.numel() for tensor in model.state_dict().values())
    assert index["metadata"]["total_size"] == 2 * elements
    for name, tensor in load(folder).state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].bfloat16()), name
    assert model.lm_head.weight.dtype == torch.float32


def test_a_single_unindexed_file_is_read_too(tmp_path: Path) -> None:
    model = random_model()
    folder = export(model, tmp_path / "out")
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00001-of-00001.safetensors").rename(folder / "model.safetensors")
    assert torch.equal(load(folder).lm_head.weight, model.lm_head.weight)


def test_a_loaded_model_trains_and_leaves_its_files_alone(tmp_path: Path) -> None:
    folder = export(random_model(), tmp_path / "out")
    model, ids = load(folder), random_ids(1, 20)
    model(ids, None, ids, torch.ones(1, 20)).mean.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.sub_(parameter.grad)
    again = load(folder).state_dict()
    assert all(torch.equal(t, again[name]) for name, t in random_model().state_dict().items())


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(random_model(), tmp_path / "out")  # empty: taken
    with pytest.raises(UsageError, match="not an empty folder"):
        export(random_model(), tmp_path / "out")
    with pytest.raises(UsageError, match="no such tokenizer"):
        export(random_model(), tmp_path / "other", tokenizer=tmp_path / "none.json")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_is_written_is_readable_as_the_umask_has_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    before = os.umask(0o026)
    try:
        folder = export(random_model(), tmp_path / "out", tokenizer=tmp_path / "tokenizer.json")
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o751
    assert {p.name: p.stat().st_mode & 0o777 for p in folder.iterdir()} == {
        "config.json": 0o640,
        "model-00001-of-00001.safetensors": 0o640,
        "model.safetensors.index.json": 0o640,
        "tokenizer.json": 0o640,
        "tokenizer_config.json": 0o640,
    }


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codeflow.loopcoder.hf.save_file", full_disk)
    with pytest.raises(CodeflowError, match=r"export failed, nothing was written.*No space"):
        export(random_model(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "absent"}))


def test_damage_and_other_architectures_are_named(tmp_path: Path) -> None:
    def fresh(number: int) -> Path:
        return export(random_model(), tmp_path / str(number), shard_bytes=20_000)

    with pytest.raises(DataError, match=r"config\.json: no such file"):
        load(tmp_path / "nowhere")
    cases: dict[str, dict[str, Any]] = {
        "model_type 'gpt2'": {"model_type": "gpt2"},
        "rope_scaling": {"rope_scaling": {"type": "linear"}},
        "tie_word_embeddings": {"tie_word_embeddings": True},
        "'hidden_size' is missing": {"hidden_size": "absent"},
        "num_hidden_layers": {"num_hidden_layers": "two"},
        "tensors are missing": {"num_hidden_layers": 3},
        "not one of this model's": {"num_hidden_layers": 1},
        r"asks for \(62, 40\)": {"vocab_size": SMALL.vocab_size + 1},
        "loop_num = 3": {"loop_num": 3},
        "only plain RoPE": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}},
        "clip_qkv = 8": {"clip_qkv": 8},
        "use_sliding_window = True": {"use_sliding_window": True},
    }
    for number, (message, values) in enumerate(cases.items()):
        folder = fresh(number)
        change(folder, **values)
        with pytest.raises(DataError, match=message):
            load(folder)

    folder = fresh(100)
    shard = sorted(folder.glob("*.safetensors"))[1]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{shard.name}: damaged"):
        load(folder)
    shard.unlink()
    with pytest.raises(DataError, match=f"{shard.name}: no such file"):
        load(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../x.safetensors"}}))
    with pytest.raises(DataError, match="not a file of this folder"):
        load(folder)
    index.write_text("{")
    with pytest.raises(DataError, match=r"index\.json"):
        load(folder)


def test_an_extra_tensor_is_named(tmp_path: Path) -> None:
    folder = export(random_model(), tmp_path / "out")
    shard = folder / "model-00001-of-00001.safetensors"
    save_file(load_file(shard) | {"model.extra": torch.zeros(1)}, shard)
    with pytest.raises(DataError, match=r"model\.extra is not one"):
        load(folder)
