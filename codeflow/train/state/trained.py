"""A trained model where it lies: a run, a checkpoint of it or of torch's, a Hugging Face folder.

Beside the weights one needs the tokenizer and to know what the model was trained on. A run keeps
its tokenizer in `RUN/tokenizer.json`, and a checkpoint's `meta.json` describes it; an exported
folder has the tokenizer, and the description in `codeflow.json`. Folders made elsewhere have no
description. Opening reads small files alone; `model` reads the weights once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from codeflow.config import from_mapping
from codeflow.errors import DataError, UsageError
from codeflow.loopcoder import hf, hf_reader
from codeflow.loopcoder.config import ModelConfig
from codeflow.loopcoder.model import LoopCoder, build
from codeflow.storage.files import read_json, write_bytes
from codeflow.storage.layout import CHAT_TEMPLATE, TOKENIZER
from codeflow.train.state import checkpoint, dcp
from codeflow.train.state.parallel import World

_DESCRIBED: Final = "name about step tokens recipe recipe_hash data data_hash tokenizer parent"


@dataclass(frozen=True)
class Trained:
    """A model on disk.

    `about` is its description (`name`, `step`, `recipe`, `data`, `tokenizer`, ...; empty when
    nothing is known), `tokenizer` the file beside it, if there is one.
    """

    path: Path
    about: Mapping[str, Any]
    tokenizer: Path | None

    @property
    def renderings(self) -> tuple[str, ...]:
        """What it was trained on, in the recipe's order."""
        data: Mapping[str, Any] = self.about.get("data", {})
        return tuple(dict.fromkeys(source["rendering"] for source in data.values()))

    @property
    def sequence_tokens(self) -> int | None:
        """T of the rows it was trained on."""
        batch: Mapping[str, int] = self.about.get("recipe", {}).get("batch", {})
        return batch.get("sequence_tokens")

    @property
    def chat_template(self) -> str | None:
        """How a conversation is written, from the file beside the tokenizer."""
        path = self.tokenizer.parent / CHAT_TEMPLATE if self.tokenizer is not None else None
        if path is None or not path.is_file():
            return None
        try:
            return path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: {error}") from None

    def model(self, device: str = "cpu") -> LoopCoder:
        """The model, in evaluation mode. Raises DataError when files are missing or damaged."""
        if (self.path / dcp.MARK).is_file():
            return dcp.load(self.path, self.about, device)
        if not (self.path / checkpoint.META).is_file():
            return hf_reader.load(self.path, device=device)
        meta = checkpoint.read_meta(self.path)
        try:
            config = from_mapping(ModelConfig, meta["model"], str(self.path / checkpoint.META))
        except (KeyError, UsageError) as error:
            raise DataError(f"{self.path / checkpoint.META}: no model to read: {error}") from None
        checkpoint.check_files(self.path, meta, World())
        model = build(config).to_empty(device=device)
        with checkpoint.opened(self.path, meta) as reader:
            checkpoint.load_model(reader, model)
        return model.eval()


def find(path: Path, tokenizer: Path | None = None) -> Trained:
    """Finds out what lies at a path.

    Args:
        path: a checkpoint, a run (its last checkpoint is taken), a Hugging Face folder, or one of
            torch's distributed checkpoints (`codeflow.train.state.dcp`).
        tokenizer: to be used instead of the one beside it.

    Raises:
        UsageError: it is none of these.
    """
    if tokenizer is not None and not tokenizer.is_file():
        raise UsageError(f"{tokenizer}: no such tokenizer file")
    if (path / "checkpoints").is_dir():
        last = checkpoint.latest(path / "checkpoints")
        if last is None:
            raise UsageError(f"{path}: a run without a complete checkpoint; train it first")
        path = last
    if (path / checkpoint.META).is_file():
        meta = checkpoint.read_meta(path)
        about = {key: meta[key] for key in _DESCRIBED.split() if key in meta}
        beside = path.resolve().parent.parent / TOKENIZER
    elif (path / "config.json").is_file() or (path / dcp.MARK).is_file():
        about = described(path / hf.ABOUT)
        beside = path / TOKENIZER
    elif path.exists():
        raise UsageError(
            f"{path}: neither a run (checkpoints/), a complete checkpoint (meta.json), a "
            "Hugging Face folder (config.json) nor one of torch's distributed checkpoints "
            "(.metadata); name one of these"
        )
    else:
        raise UsageError(f"{path}: no such folder; give a run, a checkpoint or an exported folder")
    return Trained(path, about, tokenizer or (beside if beside.is_file() else None))


def described(path: Path) -> dict[str, Any]:
    """What a folder says it was trained on; empty when it does not."""
    try:
        about = read_json(path) or {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    if not isinstance(about, dict):
        raise DataError(f"{path}: not a JSON object")
    return about


def keep_tokenizer(shards: Path, run: Path) -> None:
    """Puts the tokenizer of a shard folder beside a run's checkpoints, so that they can be used
    without the shards; and its chat template."""
    for name in (TOKENIZER, CHAT_TEMPLATE):
        if (shards / name).is_file():
            write_bytes(run / name, (shards / name).read_bytes())
