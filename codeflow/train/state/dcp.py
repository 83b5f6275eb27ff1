"""Models in the format of `torch.distributed.checkpoint` (DCP), which torchtitan and others use.

    PATH/.metadata   PATH/__0_0.distcp     tensors by the released names, and where they lie
    PATH/codeflow.json   PATH/tokenizer.json    as in an exported Hugging Face folder

Read are the names as they stand, or all behind `model.`, by however many processes they were
written, optimisers and whatever else left aside. `.metadata` is a pickle: it may name what such a
file consists of and nothing else, so that reading a stranger's runs nothing of his.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as read_tensors
from torch.distributed.checkpoint.state_dict_saver import save as write_tensors

from codeflow.config import as_mapping, from_mapping
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.loopcoder import hf
from codeflow.loopcoder.config import ModelConfig
from codeflow.loopcoder.hf_reader import read_config
from codeflow.loopcoder.model import LoopCoder, build
from codeflow.storage.layout import TOKENIZER

MARK: Final = ".metadata"
_PREFIX: Final = "model."
_METADATA: Final = "torch.distributed.checkpoint.metadata"
_NAMES: Final = {
    *((_METADATA, name) for name in ("Metadata", "MetadataIndex", "StorageMeta")),
    *((_METADATA, name) for name in ("TensorStorageMetadata", "BytesStorageMetadata")),
    *((_METADATA, name) for name in ("TensorProperties", "ChunkStorageMetadata")),
    (_METADATA, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    *((of, name) for of in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
    ("collections", "OrderedDict"),
}


def write(model: LoopCoder, target: Path, about: Mapping[str, Any], tokenizer: Path | None) -> None:
    """A new folder, whole or not at all.

    Raises:
        UsageError: there is something at `target`.
        CodeflowError: the disk is full, or refuses to be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: exists and is not an empty folder; choose another for export")
    outer = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        part = outer / "files"
        part.mkdir()
        tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            write_tensors(tensors, checkpoint_id=part, no_dist=True)
        described = json.dumps({**about, "model": as_mapping(model.config)}, indent=2)
        (part / hf.ABOUT).write_text(described + "\n", encoding="utf-8")
        if tokenizer is not None:
            shutil.copyfile(tokenizer, part / TOKENIZER)
        os.replace(part, target)
    except (OSError, CheckpointException) as error:
        raise CodeflowError(f"{target}: export failed, nothing was written: {error}") from None
    finally:
        if outer is not None:
            shutil.rmtree(outer, ignore_errors=True)


def load(path: Path, about: Mapping[str, Any], device: str = "cpu") -> LoopCoder:
    """The model of a folder, in evaluation mode, in the dtype that it is stored in.

    Args:
        about: its `codeflow.json`; where it says no `model`, a `config.json` has to be there.

    Raises:
        DataError: damaged, another model's tensors, or more than names and places in `.metadata`.
    """
    if "model" in about:
        try:
            config = from_mapping(ModelConfig, about["model"], str(path / hf.ABOUT))
        except UsageError as error:
            raise DataError(str(error)) from None
    elif (path / "config.json").is_file():
        config = read_config(path)
    else:
        raise UsageError(
            f"{path}: says nothing of the model's shape; put its config.json, as Hugging Face has "
            "it, beside .metadata"
        )
    reader = _Reader(path)
    stored = _tensors(reader.read_metadata(), path)
    model = build(config)
    prefix = "" if "lm_head.weight" in stored else _PREFIX
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        found = stored.get(prefix + name)
        if found is None:
            raise DataError(f"{path}: no tensor {name}: it is a checkpoint of another model")
        if found.size != parameter.shape:
            raise DataError(
                f"{path}: {name} is {tuple(found.size)}, the model's is {tuple(parameter.shape)}"
            )
        dtype = found.properties.dtype
        state[prefix + name] = torch.empty(found.size, dtype=dtype, device=device)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            read_tensors(state, storage_reader=reader, no_dist=True)
    except (CheckpointException, OSError, RuntimeError, ValueError, pickle.PickleError) as error:
        raise DataError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
    model.load_state_dict({n.removeprefix(prefix): t for n, t in state.items()}, assign=True)
    return model.eval()


def _tensors(metadata: Metadata, path: Path) -> dict[str, TensorStorageMetadata]:
    for place in (metadata.storage_data or {}).values():
        name = str(place.relative_path)
        if Path(name).name != name:
            raise DataError(f"{path / MARK}: {name!r} is not a file of this folder")
    entries = metadata.state_dict_metadata.items()
    return {name: of for name, of in entries if isinstance(of, TensorStorageMetadata)}


class _Reader(FileSystemReader):
    """The usual one, but for what `.metadata` may hold."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        file = Path(self.path) / MARK
        try:
            with file.open("rb") as stream:
                metadata = _Unpickler(stream).load()
        except DataError:
            raise
        except Exception as error:  # a pickle that is damaged may raise anything
            raise DataError(f"{file}: damaged: {type(error).__name__}: {error}") from None
        if not isinstance(metadata, Metadata):
            raise DataError(f"{file}: not the metadata of a checkpoint")
        return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if (module, name) not in _NAMES and not is_dtype:
            raise DataError(f"{MARK} names {module}.{name}, which has no place in a checkpoint")
        return super().find_class(module, name)
