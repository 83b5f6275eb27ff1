"""Pieces that several renderings share: the head, the request, and the name of a file."""

from __future__ import annotations

from collections.abc import Sequence

from codeflow.documents.document import FILE_SEP, IM_END, IM_START, REPO_NAME, Piece
from codeflow.documents.privacy import scrub
from codeflow.git.patch import FilePatch
from codeflow.text.messages import instruction
from codeflow.text.quoting import quote_path
from codeflow.triple import Triple


def head(triple: Triple, weight: float) -> tuple[Piece, ...]:
    """`<|repo_name|>NAME` and a line end."""
    return Piece(REPO_NAME, weight, special=True), Piece(f"{triple.repo}\n", weight)


def request(triple: Triple, weight: float, limit_chars: int) -> tuple[Piece, ...]:
    """What is to be done: what the commits' messages say, as the reply's counterpart.

    Messages that take more than `limit_chars` are cut to their subjects, then to whole lines.
    """
    return asked(triple.messages, weight, limit_chars)


def asked(messages: Sequence[Sequence[str]], weight: float, limit_chars: int) -> tuple[Piece, ...]:
    """The same of some messages."""
    text = instruction(messages)
    if len(text) > limit_chars:
        told = (instruction([message]) for message in messages)
        text = "\n".join(one.split("\n", 1)[0] for one in told if one)
    if len(text) > limit_chars:
        text = text[:limit_chars].rpartition("\n")[0]
    return (
        Piece(IM_START, weight, special=True),
        Piece(f"message\n{scrub(text)}", weight),
        Piece(IM_END, weight, special=True),
        Piece("\n", weight),
    )


def reply_start(name: str, weight: float) -> tuple[Piece, ...]:
    """What a prompt ends with: `<|im_start|>NAME` and a line end."""
    return Piece(IM_START, weight, special=True), Piece(f"{name}\n", weight)


def file_name(path: str) -> str:
    """A path on a line of its own, quoted as git quotes it if it could not stand there."""
    return quote_path(path.encode()).decode()


def file_pieces(path: str, content: str, weight: float) -> tuple[Piece, ...]:
    """`<|file_sep|>PATH`, a line end, and the content."""
    return (
        Piece(FILE_SEP, weight, special=True),
        Piece(f"{file_name(path)}\n", weight),
        Piece(content, weight),
    )


def change_line(patch: FilePatch) -> str:
    """The line that names a file in a reply, with what happens to it beside its text.

    Fields are set apart by tabs, which a quoted path does not have: the path, then one of `new`,
    `deleted` or `from PATH`, then `mode MODE` where it is not the one expected.
    """
    fields = [file_name(patch.path)]
    if patch.old_path is None:
        fields.append("new")
    elif patch.new_path is None:
        fields.append("deleted")
    elif patch.old_path != patch.new_path:
        fields.append(f"from {file_name(patch.old_path)}")
    expected = patch.old_mode if patch.old_path is not None else "100644"
    if patch.new_path is not None and patch.new_mode != expected:
        fields.append(f"mode {patch.new_mode}")
    return "\t".join(fields) + "\n"
