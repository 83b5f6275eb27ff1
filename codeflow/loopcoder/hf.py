"""Writes the Hugging Face folder of the released checkpoint; `hf_reader` reads it back.

    config.json                            the released keys; the architecture's name
    model-00001-of-0000N.safetensors ...   the released tensor names, in the model's order
    model.safetensors.index.json           which tensor is in which file
    tokenizer.json, tokenizer_config.json  the tokenizer, when given, and which token ends and pads
    chat_template.jinja                    how a conversation is written, when given
    generation_config.json                 where a text ends, when known
    configuration_*.py, modeling_*.py      for transformers, when asked for (`remote/`)
    README.md, codeflow.json               what it was trained on, when known

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
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.loopcoder.hf_reader import CONFIG, FIXED, INDEX, LOOP_KEYS
from codeflow.loopcoder.model import LoopCoder
from codeflow.storage.files import usual_mode
from codeflow.storage.layout import CARD, CHAT_TEMPLATE, TOKENIZER

ABOUT: Final = "codeflow.json"
SHARD_BYTES: Final = 5_000_000_000

_LOOP: Final = ("iquestloopcoder", "IQuestLoopCoderForCausalLM")
_DENSE: Final = ("llama", "LlamaForCausalLM")
REMOTE_CODE: Final = ("configuration_iquestloopcoder.py", "modeling_iquestloopcoder.py")
_AUTO_MAP: Final = {
    "AutoConfig": "configuration_iquestloopcoder.IQuestLoopCoderConfig",
    "AutoModel": "modeling_iquestloopcoder.IQuestLoopCoderModel",
    "AutoModelForCausalLM": "modeling_iquestloopcoder.IQuestLoopCoderForCausalLM",
}


@dataclasses.dataclass(frozen=True)
class Words:
    """What goes with a model's weights into the folder, besides its shape.

    `tokenizer` is a `tokenizer.json` to copy. Of `eos_token_ids`, tokens that end a text, the first
    ends a reply. `chat_template` and `card` are texts, `about` is the description of the
    checkpoint as plain JSON values.
    """

    tokenizer: Path | str | None = None
    eos_token_ids: Sequence[int] = ()
    pad_token_id: int | None = None
    chat_template: str | None = None
    about: Mapping[str, Any] | None = None
    card: str | None = None


def export(
    model: LoopCoder,
    folder: Path | str,
    *,
    tokenizer: Path | str | None = None,
    eos_token_ids: Sequence[int] = (),
    pad_token_id: int | None = None,
    chat_template: str | None = None,
    about: Mapping[str, Any] | None = None,
    card: str | None = None,
    dtype: torch.dtype | None = None,
    remote_code: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Writes the model as a Hugging Face folder.

    Args:
        tokenizer: a `tokenizer.json` to copy.
        eos_token_ids: tokens that end a text; the first ends a reply.
        pad_token_id: the token that fills rows up.
        chat_template: how a conversation is written, as a Jinja template.
        about: the description of the checkpoint, as plain JSON values.
        card: the text of the folder's README.md.
        dtype: to convert the parameters to; None keeps what they have.
        remote_code: put the files beside it that transformers needs for a loop. A dense model
            needs none and gets none.
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
    words = Words(tokenizer, eos_token_ids, pad_token_id, chat_template, about, card)
    dtype = dtype or model.lm_head.weight.dtype
    remote_code = remote_code and model.config.loop_num == 2
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise CodeflowError(f"{target}: cannot be written: {error}") from None
    part = outer / "files"  # made by mkdir, so that the umask decides its mode
    try:
        part.mkdir()
        _write_tensors(model, part, dtype, shard_bytes)
        _write_json(part / CONFIG, _hf_config(model, dtype, words, remote_code))
        if remote_code:
            for name in REMOTE_CODE:
                source = files("codeflow.loopcoder.remote").joinpath(name)
                (part / name).write_bytes(source.read_bytes())
        _write_words(part, words, model.config.max_position_embeddings)
        os.replace(part, target)
    except (OSError, SafetensorError) as error:
        raise CodeflowError(f"{target}: export failed, nothing was written: {error}") from None
    finally:
        shutil.rmtree(outer, ignore_errors=True)
    return target


def _hf_config(
    model: LoopCoder, dtype: torch.dtype, words: Words, remote_code: bool
) -> dict[str, Any]:
    loop = model.config.loop_num == 2
    model_type, architecture = _LOOP if loop else _DENSE
    fields = dataclasses.asdict(model.config)
    if not loop:
        fields = {key: value for key, value in fields.items() if key not in LOOP_KEYS}
    return {
        "architectures": [architecture],
        **({"auto_map": _AUTO_MAP} if remote_code else {}),
        "model_type": model_type,
        **fields,
        **FIXED,
        **_ends(words),
        "torch_dtype": str(dtype).removeprefix("torch."),
        "use_cache": True,
    }


def _ends(words: Words) -> dict[str, Any]:
    """Said in two files: engines look into either. No text begins with a token of its own."""
    ends: dict[str, Any] = {"bos_token_id": None} if words.eos_token_ids else {}
    if words.eos_token_ids:
        ends["eos_token_id"] = list(words.eos_token_ids)
    if words.pad_token_id is not None:
        ends["pad_token_id"] = words.pad_token_id
    return ends


def _write_words(folder: Path, words: Words, positions: int) -> None:
    if words.tokenizer is not None:
        shutil.copyfile(words.tokenizer, folder / TOKENIZER)
        _write_json(folder / "tokenizer_config.json", _tokenizer_config(words, positions))
    if words.chat_template is not None:
        (folder / CHAT_TEMPLATE).write_bytes(words.chat_template.encode())
    if words.eos_token_ids:
        _write_json(folder / "generation_config.json", _ends(words))
    if words.about:
        _write_json(folder / ABOUT, words.about)
    if words.card is not None:
        (folder / CARD).write_bytes(words.card.encode())


def _tokenizer_config(words: Words, positions: int) -> dict[str, Any]:
    """Spellings of the tokens that end and pad, and that decoding leaves every space alone."""
    path = Path(words.tokenizer or "")
    wanted: dict[str, int] = {}
    if words.eos_token_ids:
        wanted["eos_token"] = words.eos_token_ids[0]
    if words.pad_token_id is not None:
        wanted["pad_token"] = words.pad_token_id
    spelled: dict[int, str] = {}
    if wanted:
        try:
            added = json.loads(path.read_text(encoding="utf-8")).get("added_tokens") or ()
            spelled = {token["id"]: token["content"] for token in added}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a tokenizer.json: {error!r}") from None
    lacking = [token for token in wanted.values() if token not in spelled]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": positions,
        "clean_up_tokenization_spaces": False,
        **({} if lacking else {key: spelled[token] for key, token in wanted.items()}),
    }


def _write_tensors(model: LoopCoder, folder: Path, dtype: torch.dtype, shard_bytes: int) -> None:
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    sizes = {name: tensor.numel() * dtype.itemsize for name, tensor in tensors.items()}
    shards = list(_shards(sizes, shard_bytes))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        content = {name: tensors[name].to(dtype).contiguous().cpu() for name in names}
        with usual_mode(folder / file):
            save_file(content, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    total = sum(sizes.values())
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _shards(sizes: Mapping[str, int], shard_bytes: int) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, tensor_bytes in sizes.items():
        if names and size + tensor_bytes > shard_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += tensor_bytes
    yield names


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
