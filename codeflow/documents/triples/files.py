"""Whole files: each changed file as it was, then each as it becomes."""

from __future__ import annotations

from collections.abc import Iterator

from codeflow.documents import pieces as parts
from codeflow.documents.document import FILE_SEP, Document, Piece, Section, Window
from codeflow.documents.options import Options
from codeflow.documents.privacy import scrub_added
from codeflow.documents.triples.context import changed_new, hidden_paths, is_hidden, seen_file
from codeflow.documents.triples.replies import reply_document
from codeflow.git.patch import parse_patch
from codeflow.triple import Triple


def render(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: context, old files, messages, `<|im_start|>files`, new files.

    A new file is `<|file_sep|>`, its line (`parts.change_line`), and its content; a deleted one
    has the line alone.
    """
    old_repo, new_repo = triple.old_repo, triple.new_repo
    sections = []
    hidden = hidden_paths(triple.files)
    written_whole = [path for path in changed_new(triple) if path not in hidden]
    if not all(options.may_repeat(triple, path) for path in written_whole):
        return
    for patch in parse_patch(triple.patch.encode()):
        if is_hidden(patch, hidden):
            continue
        written = [
            Piece(FILE_SEP, 1.0, special=True),
            Piece(parts.change_line(patch), 1.0),
        ]
        old = old_repo[patch.old_path].decode() if patch.old_path is not None else ""
        if patch.new_path is not None:
            written.append(Piece(scrub_added(new_repo[patch.new_path].decode(), old), 1.0))
        whole = (Window(0, old.count("\n") + 1),)
        sections.append(Section(tuple(written), seen_file(triple, patch, whole)))
    yield from reply_document(triple, options, "files", sections)
