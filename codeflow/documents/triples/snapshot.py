"""The repository as it stands after the change, without the change: the baseline.

The same files that a diff would touch and the same neighbours, but nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator

from codeflow.documents import pieces as parts
from codeflow.documents.document import END_OF_TEXT, Document, Piece, Section
from codeflow.documents.options import Options
from codeflow.documents.privacy import scrub
from codeflow.documents.triples.context import around, changed_new, hidden_paths
from codeflow.triple import Triple


def render(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: repository, neighbours, the changed files as they are now.

    A triple that only deletes shows what is left; one that leaves nothing gives no document, and
    neither does one of generated and vendored files alone.
    """
    hidden = hidden_paths(triple.files)
    if all(change.path in hidden for change in triple.files):
        return
    new_repo = triple.new_repo
    new = [path for path in changed_new(triple) if path not in hidden]
    paths = [path for path in new if options.may_repeat(triple, path)]
    if new and not paths:
        return
    sections = tuple(
        Section(parts.file_pieces(path, scrub(new_repo[path].decode()), 1.0)) for path in paths
    )
    end = (Piece(END_OF_TEXT, 1.0, special=True),)
    near = [*paths, *(change.path for change in triple.files if change.new_path is None)]
    shown = frozenset({*new, *hidden})
    context = around(new_repo, triple.new_tree, paths, near, shown, clean=scrub)
    head = parts.head(triple, options.rest)
    yield Document(
        triple.id,
        triple.language,
        triple.kind,
        head,
        context,
        options.rest,
        (),
        sections,
        end,
        divisible=True,
    )
