"""What is made of a dataset's triples as tokens: the `[tokens]` table, the options of `codeflow
tokenize`, and the argument of `tokenize`, all one.

It is checked when it is read, since `--until tokens` comes to it after hours of mining.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields

from codeflow.documents.document import NAMED
from codeflow.documents.options import LOSSES, is_loss
from codeflow.documents.triples import RENDERINGS
from codeflow.errors import UsageError
from codeflow.plugins.renderings import rendering_of

LEAST_LENGTH = 64
LEAST_VOCABULARY = 256 + len(NAMED)
VOCABULARY = 32768
LONG = ("drop", "cut")
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


@dataclass(frozen=True)
class TokenizeConfig:
    """Token folders to write, one a rendering.

    Attributes:
        renderings: see `codeflow.documents.triples.RENDERINGS`, or of plug-ins, or one's own as
            `module:attr` or `file.py:attr`.
        length: tokens of a row.
        name: of the folder in `tokens/`; empty for RENDERING-LENGTH.
        tokenizer: a `tokenizer.json`; empty for `DIR/tokens/tokenizer.json`, which is trained on
            the dataset when it is not there.
        vocab_size: of a tokenizer that is trained, or was; 0 takes the one that is there, or
            trains one of 32,768 tokens.
        loss: where the loss is: `patch`, `all`, or the weight of what is not the patch; empty for
            the rendering's own.
        long: what to do with a document of more than `length` tokens: `drop` it, or `cut` it
            between files, each part with the head, the request and the lines that it changes.
        validation: share of every repository to hold out, where the dataset has no validation.
        seed: of the choice of copies and cut points.
    """

    renderings: tuple[str, ...] = ("flow",)
    length: int = 4096
    name: str = ""
    tokenizer: str = ""
    vocab_size: int = 0
    loss: str = ""
    long: str = "drop"
    validation: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.tokenizer, os.PathLike):
            object.__setattr__(self, "tokenizer", os.fspath(self.tokenizer))
        if type(self.validation) is int:
            object.__setattr__(self, "validation", float(self.validation))
        if isinstance(self.renderings, list):
            object.__setattr__(self, "renderings", tuple(self.renderings))
        for field in fields(self):
            value, wanted = getattr(self, field.name), type(field.default)
            _require(type(value) is wanted, field.name, value, f"expected {wanted.__name__}")
        for name in self.renderings:
            named = isinstance(name, str)
            _require(named, "renderings", name, f"choose of {', '.join(RENDERINGS)}")
            rendering_of(name)
        once = 0 < len(self.renderings) == len(set(self.renderings))
        _require(once, "renderings", self.renderings, "name one or more, each once")
        enough = self.length >= LEAST_LENGTH
        _require(enough, "length", self.length, f"give {LEAST_LENGTH} tokens or more")
        plain = not self.name or re.fullmatch(_NAME, self.name)
        _require(plain, "name", self.name, "use letters, digits, `.`, `_` and `-`")
        single = not self.name or len(self.renderings) == 1
        _require(single, "name", self.name, "is of one folder; give one rendering with it")
        if self.tokenizer and self.vocab_size:
            raise UsageError(
                f"{self.tokenizer}: is trained already; leave the vocabulary of "
                f"{self.vocab_size} out, or the tokenizer, to have one trained"
            )
        enough = self.vocab_size == 0 or self.vocab_size >= LEAST_VOCABULARY
        _require(enough, "vocab_size", self.vocab_size, f"give {LEAST_VOCABULARY} or more")
        known = not self.loss or is_loss(self.loss)
        _require(known, "loss", self.loss, f"give {LOSSES}")
        _require(self.long in LONG, "long", self.long, f"choose {' or '.join(LONG)}")
        share = 0 <= self.validation < 1
        _require(share, "validation", self.validation, "give a share from 0 up to but without 1")

    def folder(self, rendering: str) -> str:
        """The name of a rendering's folder."""
        return self.name or f"{rendering_of(rendering).name}-{self.length}"

    def loss_of(self, rendering: str) -> str:
        """Where a rendering's loss is."""
        return self.loss or rendering_of(rendering).rendering.loss


def _require(holds: object, name: str, value: object, remedy: str) -> None:
    if not holds:
        raise UsageError(f"tokens.{name} = {value!r}: {remedy}")
