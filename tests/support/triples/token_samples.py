"""A small dataset and a tokenizer trained on it, for the tests of tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeflow.dataset import reader as reading
from codeflow.dataset.reader import Dataset
from codeflow.documents.document import Document, Piece
from codeflow.text.quoting import unquote_path
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.sample import sample
from codeflow.tokens.stage import Tokenized, tokenize
from codeflow.tokens.tokenizer import Encoder, train
from codeflow.tokens.windows import lines_of
from tiny_dataset import SNAPSHOTS, Files, Git, build, history

_LINES = [f"def f{k}(x):\n    return x * {k} + g{k % 7}(x)\n\n" for k in range(60)]


def _module(*changed: int, tail: str = "") -> tuple[str, bytes]:
    lines = [line.replace("*", "-") if k in changed else line for k, line in enumerate(_LINES)]
    return "100644", ("".join(lines) + tail).encode()


_RST = b"Title\n=======\n\n<<<<<<<< ours\n>>>>>>> theirs\nwrite to ann.lee@corp.io\n"
LARGE: list[Files] = [
    {"pkg/a.py": _module(), "pkg/b.py": ("100644", b"from pkg.a import f1\nprint(f1(2))\n"),
     "doc.rst": ("100644", _RST), "same": ("100644", b"x\n" * 50), "pkg/sub/c.py": _module(3)},
    {"pkg/a.py": _module(2, 30), "pkg/b.py": ("100644", b"from pkg.a import f2\nprint(f2(2))\n"),
     "doc.rst": ("100644", _RST.replace(b"Title", b"Titles") + b"======== more\nbob@corp.io\n"),
     "same": ("100644", b"x\n" * 20 + b"y\n" + b"x\n" * 30), "pkg/sub/c.py": _module(3)},
    {"pkg/a.py": _module(2, 30, 31, 33, tail="end"), "pkg/b.py": ("100755", b"import pkg.a\n"),
     "moved.rst": ("100644", _RST.replace(b"Title", b"Titles") + b"======== more\nat 8.8.8.8\n"),
     "same": ("100644", b"x\n" * 20 + b"y\n" + b"x\n" * 31 + b"y"), "pkg/sub/c.py": _module()},
    {"pkg/a.py": _module(2, tail="end"), "moved.rst": ("120000", b"pkg/a.py"),
     "same": ("100644", b"x\n" * 40 + b"y\n" + b"x\n" * 31), "new é\tx.py": _module(5)},
]  # fmt: skip
"""Overlapping hunks, marks of search/replace blocks in text, texts without an end, addresses."""


MARK = re.compile(r"@@ (\d+)-(\d+) of (\d+) @@\n")


def make(folder: Path) -> tuple[Path, Mapping[str, tuple[Git, Sequence[str]]]]:
    """The dataset's folder and the repositories it is from."""
    repos = {}
    for name, snapshots in (("one", SNAPSHOTS), ("two", LARGE + LARGE[::-1])):
        git = Git(folder / f"{name}.git")
        repos[name] = (git, history(git, snapshots))
    return build(folder / "data", repos), repos


def tokenized(
    folder: Path, name: str, rendering: str, length: int, *, fast: bool = True, **settings: Any
) -> Tokenized:
    """One token folder of the dataset."""
    config = TokenizeConfig(renderings=(rendering,), length=length, name=name, **settings)
    [made] = tokenize(folder, config, fast=fast)
    return made


def encoder_for(folder: Path, *, fast: bool = True) -> Encoder:
    """A tokenizer trained on the dataset."""
    return Encoder(train(sample(opened(folder)), 600), fast=fast)


def opened(folder: Path) -> Dataset:
    return reading.open(folder)


def plain(pieces: Sequence[Piece]) -> str:
    """The text of pieces, special tokens by their names."""
    return "".join(piece.text for piece in pieces)


def reply(document: Document, name: str) -> str:
    """What stands between `<|im_start|>NAME` and the last `<|im_end|>`."""
    _, _, text = plain(document.written).rpartition(f"<|im_start|>{name}\n")
    assert text.endswith("<|im_end|>")
    return text.removesuffix("<|im_end|>")


def read_shown(text: str) -> dict[str, dict[int, str]]:
    """By path, the shown lines by their number from 1; checks every mark on the way."""
    found: dict[str, dict[int, str]] = {}
    for part in text.split("<|file_sep|>")[1:]:
        name, _, content = part.partition("\n")
        lines = found.setdefault(unquote_path(name.encode()).decode(), {})
        if not MARK.match(content):
            lines.update(enumerate(lines_of(content), 1))
            continue
        pieces = MARK.split(content)[1:]
        for first, last, total, body in zip(
            pieces[::4], pieces[1::4], pieces[2::4], pieces[3::4], strict=True
        ):
            held = lines_of(body)
            assert len(held) == int(last) - int(first) + 1
            assert int(last) <= int(total)
            lines.update(enumerate(held, int(first)))
    return found
