"""What a renderer makes of a triple: pieces of text, each with the weight of its loss.

A document is laid out as

    head, context files from the least to the most important, files that have to be seen,
    body, sections, end

so that what matters most stands next to the body, and giving up lines for room starts at the far
end. Context is read and encoded only as far as it fits; a renderer just says in which order. A
section is the answer for one file, and names what of the old file has to be seen to give it: there
is no loss on an answer whose question is not on the page.
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

THINK = "<think>"
THINK_END = "</think>"
TOOL_CALL = "<tool_call>"
TOOL_CALL_END = "</tool_call>"
TOOL_RESPONSE = "<tool_response>"
TOOL_RESPONSE_END = "</tool_response>"
MARKERS = (
    THINK,
    THINK_END,
    TOOL_CALL,
    TOOL_CALL_END,
    TOOL_RESPONSE,
    TOOL_RESPONSE_END,
)
"""What engines look up as single entries to find reasoning and calls in a reply. They are not
special to a decoder: skipping special tokens keeps their text, which is what a parser reads."""
NAMED = (*SPECIAL, *MARKERS)
"""All that stand for themselves; no text of anyone's becomes one of them."""


class Piece(NamedTuple):
    """A stretch of a document.

    `text` is ordinary text, or with `special` one of `NAMED`. `weight` is the
    weight of the loss of its tokens when they are predicted.
    """

    text: str
    weight: float
    special: bool = False


class ContextFile(NamedTuple):
    """A file that may be shown before the body, if there is room.

    `blob` identifies the content, `read` fetches it. When only a part fits, it is the beginning.
    """

    path: str
    blob: str
    read: Callable[[], str]


class Window(NamedTuple):
    """Lines `start` to `stop - 1` of a file, counted from 0."""

    start: int
    stop: int


class SeenFile(NamedTuple):
    """A file of which `windows`, in order, have to be seen, and more where there is room."""

    path: str
    blob: str
    read: Callable[[], str]
    windows: tuple[Window, ...]


class Section(NamedTuple):
    """What a model is to write about one file; `seen` is what it cannot know otherwise."""

    pieces: tuple[Piece, ...]
    seen: SeenFile | None = None


@dataclass(frozen=True)
class Document:
    """One training document before it is encoded.

    Attributes:
        context: in order of importance.
        body: never cut; a document that is too long goes, but one with a hole loses what lies far
            from it.
        sections: may be parted into several documents, each with the head, the body and the end.
        divisible: whether it always is where it is too long, and its files at line ends, too.
        halves: what to make of it where it is too long and may be parted, for one whose sections
            need those before them; None where they do not.
    """

    triple_id: str
    language: str | None
    kind: str
    head: tuple[Piece, ...]
    context: Iterator[ContextFile]
    context_weight: float
    body: tuple[Piece, ...]
    sections: tuple[Section, ...] = ()
    end: tuple[Piece, ...] = ()
    divisible: bool = False
    halves: Callable[[], Iterator[Document]] | None = None

    @property
    def written(self) -> tuple[Piece, ...]:
        """Everything behind what is shown, when it is in one part."""
        answers = (piece for section in self.sections for piece in section.pieces)
        return (*self.body, *answers, *self.end)
