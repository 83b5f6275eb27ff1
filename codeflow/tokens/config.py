"""What `--until tokens` makes of a dataset: the `[tokens]` table.

It is checked when it is read, since the stage comes after hours of mining.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeflow.documents.document import SPECIAL
from codeflow.documents.triples import RENDERINGS
from codeflow.errors import UsageError

LEAST_LENGTH = 64
LEAST_VOCABULARY = 256 + len(SPECIAL)


@dataclass(frozen=True)
class TokensConfig:
    """Token folders to write after publishing; each is named RENDERING-LENGTH.

    Attributes:
        renderings: see `codeflow.documents.triples.RENDERINGS`.
        length: tokens of a row.
        vocab_size: of the tokenizer, which is trained where the folder has none.
        seed: of the choice of copies and cut points.
    """

    renderings: tuple[str, ...] = ("diff",)
    length: int = 4096
    vocab_size: int = 32768
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.renderings:
            raise UsageError("tokens.renderings: name one or more")
        for name in self.renderings:
            if name not in RENDERINGS:
                raise UsageError(f"tokens.renderings: {name!r}: choose of {', '.join(RENDERINGS)}")
        if self.length < LEAST_LENGTH:
            raise UsageError(f"tokens.length = {self.length}: give {LEAST_LENGTH} or more")
        if self.vocab_size < LEAST_VOCABULARY:
            raise UsageError(
                f"tokens.vocab_size = {self.vocab_size}: give {LEAST_VOCABULARY} or more"
            )
