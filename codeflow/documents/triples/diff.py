"""The patch as a unified diff, a section a file, after the old files and the commits' messages.

The `index` lines are left out: two hashes a file that no model can predict and `git apply` does not
need, about 80 tokens, 30% of the median patch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codeflow.documents import pieces as parts
from codeflow.documents.document import IM_END, Document, Piece, Section
from codeflow.documents.options import Options
from codeflow.documents.privacy import scrub_patch
from codeflow.documents.triples.context import (
    around,
    changed_old,
    hidden_paths,
    hunk_windows,
    is_hidden,
    seen_file,
)
from codeflow.git.patch import parse_patch
from codeflow.triple import Triple

_HEADER = re.compile(r"^(?=diff --git )", re.MULTILINE)
_INDEX = re.compile(r"^index [0-9a-f]+\.\.[0-9a-f]+(?: \d{6})?\n", re.MULTILINE)


def render(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: repository, old files, messages, `<|im_start|>diff`, the patch."""
    rest = options.rest
    body = (*parts.request(triple, rest, options.length // 2), *parts.reply_start("diff", rest))
    text = _INDEX.sub("", scrub_patch(triple.patch))
    hidden = hidden_paths(triple.files)
    sections = tuple(
        Section((Piece(written, 1.0),), seen_file(triple, patch, hunk_windows(patch)))
        for patch, written in zip(parse_patch(triple.patch.encode()), _by_file(text), strict=True)
        if not is_hidden(patch, hidden)
    )
    if not sections:
        return
    end = (Piece(IM_END, 1.0, special=True),)
    old = changed_old(triple)
    first = [path for path in old if path not in hidden]
    context = around(triple.old_repo, triple.old_tree, first, shown=frozenset(old))
    head = parts.head(triple, rest)
    yield Document(
        triple.id, triple.language, triple.kind, head, context, rest, body, sections, end
    )


def _by_file(patch: str) -> list[str]:
    """The text of each file of a patch; a line of a hunk never starts as a header does."""
    return [part for part in _HEADER.split(patch) if part]
