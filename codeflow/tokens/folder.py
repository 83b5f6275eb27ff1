"""A token folder, written: rows, how many, and its name when all of it is there.

A folder whose record says what is asked for is left alone. Another takes its place when it is
whole; what a process that was killed left is removed first.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from codeflow.documents.chat.template import template
from codeflow.documents.document import END_OF_TEXT
from codeflow.errors import DataError
from codeflow.shards.format import Description
from codeflow.shards.writer import write_shards
from codeflow.storage import files
from codeflow.storage.layout import CHAT_TEMPLATE, TOKENIZER
from codeflow.tokens.pack import pack
from codeflow.tokens.tokenizer import Encoder
from codeflow.tokens.trim import Encoded

RECORD = "tokens.json"


def made(
    folder: Path, settings: Mapping[str, Any] | None, write: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """The record of a folder that is there as asked for, or is written now.

    Args:
        settings: those that a record has to have; None for one that is not looked at.
        write: fills a folder, with its record as the last file, and returns that.

    Raises:
        DataError: it cannot be written.
    """
    part = folder.with_name(f".{folder.name}{files.TEMPORARY}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    done = None if settings is None else files.read_json(folder / RECORD)
    if done is not None and done["settings"] == settings:
        return done
    try:
        done = write(part)
        (folder / RECORD).unlink(missing_ok=True)  # first: without it a folder is not whole
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error}; nothing was changed") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return done


def write_rows(
    folder: Path,
    split: str,
    documents: Iterable[Encoded],
    encoder: Encoder,
    description: Description,
    record: dict[str, Any],
) -> None:
    """Packs and writes a split, and enters its rows, tokens and fill in the record."""
    length = description.length
    rows = pack(documents, length, encoder.special[END_OF_TEXT])
    count = tokens = 0
    for row in write_shards(folder, split, rows, description):
        count += 1
        tokens += length - (int(row.doc_lengths[-1]) if row.triple_ids[-1] == "" else 0)
    for name, value in (
        ("rows", count),
        ("tokens", tokens),
        ("fill", round(tokens / (count * length), 6) if count else 0.0),
    ):
        record.setdefault(name, {})[split] = value


def write_tokenizer(folder: Path, encoder: Encoder, calls: str) -> None:
    """The tokenizer, and beside it how conversations are written with it."""
    (folder / TOKENIZER).write_text(encoder.text, encoding="utf-8")
    (folder / CHAT_TEMPLATE).write_text(template(calls), encoding="utf-8")
