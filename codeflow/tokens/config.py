"""What `--until tokens` makes of a dataset: the `[tokens]` table."""

from __future__ import annotations

from dataclasses import dataclass

from codeflow.errors import UsageError


@dataclass(frozen=True)
class TokensConfig:
    """Token folders to write after publishing; each is named RENDERING-LENGTH.

    Attributes:
        renderings: see `codeflow.tokens.render.RENDERINGS`.
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
