"""The Hugging Face folder of the released checkpoint: written, and read back.

    config.json                            the released keys; the architecture's name
    model-00001-of-0000N.safetensors ...   the released tensor names, in the model's order
    model.safetensors.index.json           which tensor is in which file
    tokenizer.json                         copied, when given
    codeflow.json                          what it was trained on, when known

A loop is written as `IQuestLoopCoderForCausalLM`. A dense model computes exactly what Llama does
and is written as `LlamaForCausalLM`, so that it loads everywhere without anyone's own code.
Writing goes to a temporary folder beside the target, renamed at the end; one file's tensors are
in memory at a time besides the model.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codeflow.config import decode_text, from_mapping
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.loopcoder.config import Compute, ModelConfig
from codeflow.loopcoder.model import LoopCoder, build
from codeflow.storage.files import usual_mode

INDEX: Final = "model.safetensors.index.json"
ABOUT: Final = "codeflow.json"
SHARD_BYTES: Final = 5_000_000_000

_LOOP: Final = ("iquestloopcoder", "IQuestLoopCoderForCausalLM")
_DENSE: Final = ("llama", "LlamaForCausalLM")
_LOOP_KEYS: Final = ("loop_num", "loop_window_size")
_MODEL_TYPES: Final = {"iquestloopcoder": 2, "llama": 1, "iquestcoder": 1}  # to the default passes
_FIXED: Final[Mapping[str, Any]] = {
    "attention_bias": False,
    "hidden_act": "silu",
    "mlp_bias": False,
    "rope_scaling": None,
    "tie_word_embeddings": False,
}
"""What every model of this family has, and what a folder to read must not contradict."""


def export(
    model: LoopCoder,
    folder: Path | str,
    *,
    tokenizer: Path | str | None = None,
    eos_token_ids: Sequence[int] = (),
    about: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Writes the model as a Hugging Face folder, in the dtype its parameters have.

    Args:
        tokenizer: a `tokenizer.json` to copy.
        eos_token_ids: tokens that end a text, for the configuration.
        about: the description of the checkpoint, as plain JSON values.
        shard_bytes: bound on a file, exceeded only by a single larger tensor.

    Raises:
        UsageError: the folder exists and is not empty, or there is no such tokenizer.
        CodeflowError: the disk is full, or refuses to be written.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: exists and is not an empty folder; choose another for export")
    if tokenizer is not None and not Path(tokenizer).is_file():
        raise UsageError(f"{tokenizer}: no such tokenizer file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise CodeflowError(f"{target}: cannot be written: {error}") from None
    part = outer / "files"  # made by mkdir, so that the umask decides its mode
    try:
        part.mkdir()
        _write_tensors(model, part, shard_bytes)
        _write_json(part / "config.json", _hf_config(model, eos_token_ids))
        if tokenizer is not None:
            shutil.copyfile(tokenizer, part / "tokenizer.json")
            _write_json(
                part / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}
            )
        if about:
            _write_json(part / ABOUT, about)
        os.replace(part, target)
    except (OSError, SafetensorError) as error:
        raise CodeflowError(f"{target}: export failed, nothing was written: {error}") from None
    finally:
        shutil.rmtree(outer, ignore_errors=True)
    return target


def _hf_config(model: LoopCoder, eos_token_ids: Sequence[int]) -> dict[str, Any]:
    loop = model.config.loop_num == 2
    model_type, architecture = _LOOP if loop else _DENSE
    fields = dataclasses.asdict(model.config)
    if not loop:
        fields = {key: value for key, value in fields.items() if key not in _LOOP_KEYS}
    dtype = str(model.lm_head.weight.dtype).removeprefix("torch.")
    ends = {"eos_token_id": list(eos_token_ids)} if eos_token_ids else {}
    return {
        "architectures": [architecture],
        "model_type": model_type,
        **fields,
        **_FIXED,
        **ends,
        "torch_dtype": dtype,
        "use_cache": True,
    }


def _write_tensors(model: LoopCoder, folder: Path, shard_bytes: int) -> None:
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    shards = list(_shards(tensors, shard_bytes))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        content = {name: tensors[name].contiguous().cpu() for name in names}
        with usual_mode(folder / file):
            save_file(content, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _shards(tensors: Mapping[str, Tensor], shard_bytes: int) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        tensor_bytes = tensor.numel() * tensor.element_size()
        if names and size + tensor_bytes > shard_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += tensor_bytes
    yield names


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load(
    folder: Path | str,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    compute: Compute | None = None,
) -> LoopCoder:
    """Reads a folder that `export` wrote, or a released checkpoint.

    Args:
        dtype: to convert the parameters to; None keeps what is stored.

    Returns:
        A model in evaluation mode: token ids (B, T) to logits (B, T, V).

    Raises:
        DataError: a file is missing or damaged, the architecture is another one, or the tensors
            are not exactly the ones that the configuration asks for.
    """
    root = Path(folder)
    config = read_config(root)
    model = build(config, compute)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    for file in _weight_files(root):
        state |= _read_tensors(root / file, expected, device, dtype)
    missing = [name for name in expected if name not in state]
    if missing:
        raise DataError(f"{root}: {len(missing)} tensors are missing, among them {missing[0]}")
    model.load_state_dict(state, assign=True)
    return model.eval()


def read_config(root: Path) -> ModelConfig:
    """The model's shape from a folder's `config.json`."""
    path = root / "config.json"
    values = _read_json(path)
    model_type = values.get("model_type")
    if model_type not in _MODEL_TYPES:
        raise DataError(
            f"{path}: model_type {model_type!r} cannot be read; known: {', '.join(_MODEL_TYPES)}"
        )
    for key, value in _FIXED.items():
        if values.get(key, value) != value:
            raise DataError(f"{path}: {key} = {values[key]!r} is not supported, only {value!r}")
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    shape = {key: value for key, value in values.items() if key in known}
    shape.setdefault("loop_num", _MODEL_TYPES[model_type])
    required = known - {*_LOOP_KEYS, "initializer_range", "rms_norm_eps"}
    absent = sorted(required - shape.keys())
    if absent:
        raise DataError(f"{path}: key {absent[0]!r} is missing")
    try:
        return from_mapping(ModelConfig, shape, str(path))
    except UsageError as error:
        raise DataError(str(error)) from None


def _weight_files(root: Path) -> list[str]:
    if not (root / INDEX).exists():
        return ["model.safetensors"]
    weight_map = _read_json(root / INDEX).get("weight_map")
    if not isinstance(weight_map, dict):
        raise DataError(f"{root / INDEX}: no weight_map")
    files = sorted({str(file) for file in weight_map.values()})
    outside = [file for file in files if Path(file).name != file]
    if outside:
        raise DataError(f"{root / INDEX}: {outside[0]!r} is not a file of this folder")
    return files


def _read_tensors(
    path: Path, expected: Mapping[str, torch.Size], device: str, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt", device=device) as file:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                shape = torch.Size(file.get_slice(name).get_shape())
                if name not in expected:
                    raise DataError(f"{path}: tensor {name} is not one of this model's")
                if shape != expected[name]:
                    raise DataError(
                        f"{path}: tensor {name} is {tuple(shape)}, "
                        f"config.json asks for {tuple(expected[name])}"
                    )
                tensor = file.get_tensor(name)
                tensors[name] = tensor if dtype is None else tensor.to(dtype)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; the folder is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: damaged: {error}") from None
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(decode_text(path.read_bytes()))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a JSON object")
    return content
