"""The document around a reply of sections, one a changed file: what `blocks` and `files` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codeflow.documents import pieces as parts
from codeflow.documents.document import IM_END, Document, Piece, Section
from codeflow.documents.options import Options
from codeflow.documents.triples.context import around, changed_old, hidden_paths
from codeflow.triple import Triple


def reply_document(
    triple: Triple, options: Options, rendering: str, sections: Sequence[Section]
) -> Iterator[Document]:
    """Repository, old files, messages, and the sections as what is asked for; none without any."""
    if not sections:
        return
    rest = options.rest
    body = (*parts.request(triple, rest, options.length // 2), *parts.reply_start(rendering, rest))
    end = (Piece(IM_END, 1.0, special=True),)
    paths = changed_old(triple)
    hidden = hidden_paths(triple.files)
    first = [path for path in paths if path not in hidden]
    context = around(triple.old_repo, triple.old_tree, first, shown=frozenset(paths))
    head = parts.head(triple, rest)
    yield Document(
        triple.id, triple.language, triple.kind, head, context, rest, body, tuple(sections), end
    )
