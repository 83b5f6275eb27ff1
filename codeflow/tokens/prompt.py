"""A triple's old side as a prompt: what a training document shows before the reply.

The head, the context and the messages are those of training, so the context starts with the files
that the commit is known to change; finding them is no part of the task. The rest of the row is
left for the reply.
"""

from __future__ import annotations

from dataclasses import replace

from codeflow.documents.document import Section
from codeflow.documents.options import Options
from codeflow.documents.triples import RENDERINGS
from codeflow.errors import UsageError
from codeflow.tokens.fit import Fitter
from codeflow.tokens.tokenizer import Encoder, Ids
from codeflow.triple import Triple

REPLIES = ("diff", "blocks", "files")
"""Renderings in which the model answers a request with a change."""


def prompt_of(
    triple: Triple, rendering: str, encoder: Encoder, row_tokens: int, reply_tokens: int
) -> Ids:
    """The ids of a document up to its reply, with as much context as there is room for.

    Args:
        rendering: one of `REPLIES`.
        row_tokens: T of the rows that were trained on.
        reply_tokens: room to leave for the reply.

    Raises:
        UsageError: nothing is to be written, or what has to be shown takes more than
            `row_tokens - reply_tokens`.
    """
    options = Options(row_tokens, rest=1.0)
    rendered = list(RENDERINGS[rendering].render(triple, options, triple.id))
    if not rendered:
        raise UsageError(
            f"triple {triple.id[:12]}: changes generated and vendored files only; give another"
        )
    [document] = rendered
    fitter = Fitter(encoder, row_tokens - reply_tokens, cut=False)
    asked = tuple(Section((), section.seen) for section in document.sections)
    found = list(fitter.encode([replace(document, sections=asked, end=())]))
    if not found:
        raise UsageError(
            f"triple {triple.id[:12]}: its messages and what goes with them take more than "
            f"{row_tokens - reply_tokens} tokens, the {row_tokens} of a row without "
            f"{reply_tokens} for the reply; give a smaller --max-tokens"
        )
    return found[0].ids
