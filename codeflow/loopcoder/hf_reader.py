"""Reads a Hugging Face folder: one that `hf.export` wrote, a released checkpoint, or what
transformers saved of either after training it further.

Reading is strict: a missing, extra or misshapen tensor, a damaged file, or a configuration that
asks for something that this model does not compute is an error that names it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from codeflow.config import decode_text, from_mapping
from codeflow.errors import DataError, UsageError
from codeflow.loopcoder.config import Compute, ModelConfig
from codeflow.loopcoder.model import LoopCoder, build

CONFIG: Final = "config.json"
INDEX: Final = "model.safetensors.index.json"
SINGLE: Final = "model.safetensors"
"""The weights of a folder that has no index."""

LOOP_KEYS: Final = ("loop_num", "loop_window_size")
FIXED: Final[Mapping[str, Any]] = {
    "attention_bias": False,
    "hidden_act": "silu",
    "mlp_bias": False,
    "rope_scaling": None,
    "tie_word_embeddings": False,
}
"""What every model of this family has, and what a folder to read must not contradict."""
_OFF: Final[Mapping[str, Any]] = {"clip_qkv": None, "use_sliding_window": False}
"""What released configurations have beside it, switched off."""
_MODEL_TYPES: Final = {"iquestloopcoder": 2, "llama": 1, "iquestcoder": 1}  # to the default passes


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
    model = build(read_config(root), compute)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    with Weights.opened(root, device) as weights:
        weights.require(expected)
        for name in expected:
            tensor = weights.rows(name)
            state[name] = tensor if dtype is None else tensor.to(dtype)
    model.load_state_dict(state, assign=True)
    return model.eval()


class Weights:
    """The tensors of a folder, in whichever files they are; each is read when it is asked for."""

    def __init__(self, root: Path, files: Mapping[Path, Any]) -> None:
        self.path = root
        self._files = {name: (path, file) for path, file in files.items() for name in file.keys()}  # noqa: SIM118  (not a mapping)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, root: Path, device: str = "cpu") -> Iterator[Weights]:
        """Opens the files. Raises DataError naming one that is missing or damaged."""
        with contextlib.ExitStack() as stack:
            files: dict[Path, Any] = {}
            for path in (root / name for name in _weight_files(root)):
                try:
                    opened = safe_open(path, framework="pt", device=device)
                    files[path] = stack.enter_context(opened)
                except FileNotFoundError:
                    raise DataError(f"{path}: no such file; the folder is incomplete") from None
                except (SafetensorError, OSError) as error:
                    raise DataError(f"{path}: damaged: {error}") from None
            yield cls(root, files)

    def require(
        self,
        expected: Mapping[str, torch.Size],
        optional: tuple[str, ...] = (),
        who: str = "config.json",
    ) -> None:
        """Raises DataError unless there are these tensors, in these shapes, and no others.

        Args:
            optional: parts of names that may be missing.
            who: what asks for them.
        """
        for name, (path, _) in self._files.items():
            if name not in expected:
                raise DataError(f"{path}: tensor {name} is not one of this model's")
            if self.shape(name) != tuple(expected[name]):
                raise DataError(
                    f"{path}: tensor {name} is {self.shape(name)}, "
                    f"{who} asks for {tuple(expected[name])}"
                )
        missing = [name for name in expected if name not in self._files]
        missing = [name for name in missing if not any(part in name for part in optional)]
        if missing:
            count = len(missing)
            raise DataError(f"{self.path}: {count} tensors are missing, among them {missing[0]}")

    @property
    def names(self) -> list[str]:
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""
        return tuple(self._files[name][1].get_slice(name).get_shape())

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """A tensor, or rows `start` to `stop - 1` of it."""
        path, file = self._files[name]
        try:
            part = file.get_tensor(name) if stop is None else file.get_slice(name)[start:stop]
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: damaged: {error}") from None
        tensor: Tensor = part
        return tensor


def read_config(root: Path) -> ModelConfig:
    """The model's shape from a folder's `config.json`."""
    path = root / CONFIG
    values = _read_json(path)
    model_type = values.get("model_type")
    if model_type not in _MODEL_TYPES:
        raise DataError(
            f"{path}: model_type {model_type!r} cannot be read; known: {', '.join(_MODEL_TYPES)}"
        )
    values |= _rope(path, values)
    for key, value in {**FIXED, **_OFF}.items():
        if values.get(key, value) != value:
            raise DataError(f"{path}: {key} = {values[key]!r} is not supported, only {value!r}")
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    shape = {key: value for key, value in values.items() if key in known}
    shape.setdefault("loop_num", _MODEL_TYPES[model_type])
    required = known - {*LOOP_KEYS, "initializer_range", "rms_norm_eps"}
    absent = sorted(required - shape.keys())
    if absent:
        raise DataError(f"{path}: key {absent[0]!r} is missing")
    try:
        return from_mapping(ModelConfig, shape, str(path))
    except UsageError as error:
        raise DataError(str(error)) from None


def _rope(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """`rope_theta` from `rope_parameters`, where transformers from 5.0 on writes it."""
    rope = values.get("rope_parameters")
    if rope is None:
        return {}
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
        raise DataError(f"{path}: rope_parameters = {rope!r} is not supported, only plain RoPE")
    found: dict[str, Any] = {"rope_scaling": None}  # transformers' other name for the same
    if "rope_theta" in rope:
        found["rope_theta"] = rope["rope_theta"]
    return found


def _weight_files(root: Path) -> list[str]:
    if not (root / INDEX).exists():
        return [SINGLE]
    weight_map = _read_json(root / INDEX).get("weight_map")
    if not isinstance(weight_map, dict):
        raise DataError(f"{root / INDEX}: no weight_map")
    files = sorted({str(file) for file in weight_map.values()})
    outside = [file for file in files if Path(file).name != file]
    if outside:
        raise DataError(f"{root / INDEX}: {outside[0]!r} is not a file of this folder")
    return files


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
