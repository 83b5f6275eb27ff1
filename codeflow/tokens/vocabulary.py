"""Which tokenizer a folder's rows are made with: the one that is asked for, or that of the dataset,
which is trained on its texts when there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from pathlib import Path

from codeflow.documents.chat.render import QWEN3_CODER
from codeflow.documents.chat.template import template
from codeflow.documents.document import NAMED
from codeflow.errors import DataError, UsageError
from codeflow.storage import files
from codeflow.storage.layout import CHAT_TEMPLATE, TOKENIZER, TOKENS
from codeflow.tokens.config import VOCABULARY, TokenizeConfig
from codeflow.tokens.tokenizer import Encoder, train

TRAINED = "tokenizer.trained.json"
"""What was asked for when it was trained: little text gives a smaller vocabulary than that."""
_CHECKED_TEXTS = 256
_CHECKED_CHARS = 1 << 12


def encoder_for(
    dataset: Path,
    config: TokenizeConfig,
    needs: Collection[str],
    texts: Callable[[], Iterable[str]],
    *,
    fast: bool,
) -> Encoder:
    """The tokenizer asked for, checked on texts of the dataset; trained when there is none.

    Args:
        needs: the tokens that it has to have.
        texts: the texts to train and to check it on.

    Raises:
        UsageError: it is of another size than asked for, or does not do.
    """
    path, vocab_size = Path(config.tokenizer), config.vocab_size
    if not config.tokenizer:
        path = dataset / TOKENS / TOKENIZER
        if not path.exists():
            _train(texts(), path, vocab_size or VOCABULARY)
        elif vocab_size and vocab_size != (trained := _trained_size(path)):
            raise UsageError(
                f"{path}: is there, with a vocabulary of {trained}, not {vocab_size}; leave that "
                "out to use it, or remove the file to have another trained"
            )
        lacks = [name for name in NAMED if f'"content": "{name}"' not in path.read_text("utf-8")]
        if lacks and _asked_size(path) is not None:
            raise UsageError(
                f"{path}: was trained before there were the tokens {', '.join(lacks)}; remove it "
                "to have another trained, and train models anew"
            )
    some = [text[:_CHECKED_CHARS] for text in islice(texts(), _CHECKED_TEXTS)]
    return Encoder.open(path, some, fast=fast, needs=needs)


def _train(texts: Iterable[str], path: Path, vocab_size: int) -> None:
    text = train(texts, vocab_size)
    asked = {"vocab_size": vocab_size, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    try:
        files.write_json(path.with_name(TRAINED), asked)
        files.write_bytes(path.with_name(CHAT_TEMPLATE), template(QWEN3_CODER).encode())
        files.write_bytes(path, text.encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}") from None


def _trained_size(path: Path) -> int:
    """The vocabulary that was asked for when a tokenizer was trained; else the one it has."""
    return _asked_size(path) or Encoder.open(path, fast=False, needs=()).vocab_size


def _asked_size(path: Path) -> int | None:
    """What was asked for where the tokenizer is the one that was trained there; else None."""
    asked = files.read_json(path.with_name(TRAINED))
    if asked is None or asked["sha256"] != files.sha256(path):
        return None
    return int(asked["vocab_size"])
