"""The patch as a unified diff, after the old files and the commits' messages.

The `index` lines are left out: two hashes a file that no model can predict and `git apply` does not
need, about 80 tokens, 30% of the median patch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codeflow.documents import pieces as parts
from codeflow.documents.document import IM_END, Document, Piece
from codeflow.documents.options import Options
from codeflow.documents.triples.context import around, changed_old, first_lines
from codeflow.git.patch import parse_patch
from codeflow.text.privacy import scrub_patch
from codeflow.triple import Triple

_INDEX = re.compile(r"^index [0-9a-f]+\.\.[0-9a-f]+(?: \d{6})?\n", re.MULTILINE)


def render(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: repository, old files, messages, `<|im_start|>diff`, the patch."""
    rest = options.rest
    body = (
        *parts.request(triple, rest, options.length // 2),
        *parts.reply_start("diff", rest),
        Piece(_INDEX.sub("", scrub_patch(triple.patch)), 1.0),
        Piece(IM_END, 1.0, special=True),
    )
    lines = first_lines(parse_patch(triple.patch.encode()))
    context = around(triple.old_repo, triple.old_tree, changed_old(triple), lines=lines)
    head = parts.head(triple, rest)
    yield Document(triple.id, triple.language, triple.kind, head, context, rest, body)
