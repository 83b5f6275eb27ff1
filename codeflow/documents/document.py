"""What a renderer makes of a triple: pieces of text, each with the weight of its loss.

A document is laid out as

    head, context files from the least to the most important, body

so that what matters most stands next to the body, and cutting for room starts at the far end.
Context is read and encoded only as far as it fits; a renderer just says in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

END_OF_TEXT = "<|endoftext|>"
FIM_PREFIX = "<|fim_prefix|>"
FIM_SUFFIX = "<|fim_suffix|>"
FIM_MIDDLE = "<|fim_middle|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
REPO_NAME = "<|repo_name|>"
FILE_SEP = "<|file_sep|>"
SPECIAL = (
    END_OF_TEXT,
    FIM_PREFIX,
    FIM_SUFFIX,
    FIM_MIDDLE,
    IM_START,
    IM_END,
    REPO_NAME,
    FILE_SEP,
)
"""`<|im_end|>` ends what the model is to write: a reply, a middle. `<|endoftext|>` ends text that
answers nothing, and pads rows: padding is a document of its own without loss, so it needs no token
of its own, and a model that never saw one would have a useless row in its embedding."""


class Piece(NamedTuple):
    """A stretch of a document.

    `text` is ordinary text, or with `special` the name of one special token. `weight` is the
    weight of the loss of its tokens when they are predicted.
    """

    text: str
    weight: float
    special: bool = False


class ContextFile(NamedTuple):
    """A file that may be shown before the body, if there is room.

    `blob` identifies the content, `read` fetches it. When only a part fits, it is the part around
    `line` (counted from 0).
    """

    path: str
    blob: str
    read: Callable[[], str]
    line: int = 0


@dataclass(frozen=True)
class Document:
    """One training document before it is encoded.

    `context` is in order of importance. `whole` forbids cutting the body in parts: a
    fill-in-the-middle document makes no sense so, and loses what lies far from its hole instead.
    """

    triple_id: str
    language: str | None
    kind: str
    head: tuple[Piece, ...]
    context: Iterator[ContextFile]
    context_weight: float
    body: tuple[Piece, ...]
    whole: bool = False
