"""The `tokenize` stage: a dataset folder's triples to `tokens/NAME`, in one pass.

    triples in order -> renderings -> ids, fitted to T -> rows -> shards

Everything is a generator, so memory is one window of the packer, the contents and ids that are
kept, and one bucket of triples. The folder gets its name when all of it is written; asked for the
same again, it is left alone.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from codeflow.dataset import reader as datasets
from codeflow.dataset.order import OrderedTriples
from codeflow.dataset.reader import Dataset
from codeflow.documents.document import END_OF_TEXT, Document
from codeflow.documents.options import Options, rest_weight
from codeflow.documents.triples import RENDERINGS
from codeflow.errors import DataError, UsageError
from codeflow.execution.progress import Progress
from codeflow.shards.writer import SPLITS, Description, write_shards
from codeflow.storage import files
from codeflow.storage.layout import TOKENIZER, TOKENS
from codeflow.tokens.config import LEAST_LENGTH
from codeflow.tokens.fit import Fitter
from codeflow.tokens.pack import pack
from codeflow.tokens.sample import sample
from codeflow.tokens.tokenizer import Encoder, train
from codeflow.triple import Triple

RECORD = "tokens.json"
TRAINED = "tokenizer.trained.json"
"""What was asked for when it was trained: little text gives a smaller vocabulary than that."""
VOCABULARY = 32768
_CHECKED_TEXTS = 256
_CHECKED_CHARS = 1 << 12


class Tokenized(NamedTuple):
    """What a token folder holds. `rows` and `tokens` are by split, `tokens` without padding."""

    folder: Path
    rows: dict[str, int]
    tokens: dict[str, int]
    fill: dict[str, float]
    documents: dict[str, int]  # by what became of them, see `Fitter.counts`
    triples: dict[str, int]  # by split, see `OrderedTriples.sizes`
    slow_because: str | None  # why gigatoken was not used


def tokenize(
    dataset_dir: Path | str,
    name: str,
    rendering: str,
    length: int,
    *,
    tokenizer: Path | str | None = None,
    vocab_size: int | None = None,
    loss: str | None = None,
    long: str = "drop",
    validation: float = 0.05,
    seed: int = 0,
    fast: bool = True,
    progress: Progress | None = None,
) -> Tokenized:
    """Renders, encodes and packs a dataset into `DIR/tokens/NAME`.

    Args:
        rendering: one of `RENDERINGS`.
        length: tokens of a row.
        tokenizer: a `tokenizer.json`; by default `DIR/tokens/tokenizer.json`, which is trained on
            the dataset when it is not there.
        vocab_size: of a tokenizer that is trained, 32768 by default; one that is there has to be
            of that size.
        loss: where the loss is: `patch`, `all`, or the weight of what is not the patch; the
            rendering's own by default.
        long: what to do with a document of more than `length` tokens: `drop` it, or `cut` it
            between files, each part with the head, the request and the lines that it changes.
        validation: share of every repository to hold out, see `OrderedTriples`.
        fast: whether to encode with gigatoken where that is possible; the ids are the same.
        progress: is told how many triples are rendered.

    Raises:
        UsageError: an argument that does not do.
        DataError: no dataset, a damaged one, or no room to write.
    """
    loss = require_known(name, rendering, length, loss, long)
    options = Options(length, rest_weight(loss))
    dataset = datasets.open(dataset_dir)
    if progress is not None:
        progress.stage("tokenizer", None)
    encoder = _encoder(dataset, Path(tokenizer) if tokenizer else None, vocab_size, fast)
    settings = {
        "rendering": rendering,
        "length": length,
        "loss": loss,
        "long": long,
        "validation": validation,
        "seed": seed,
        "tokenizer": encoder.hash,
        "dataset": str(dataset.manifest["sha256"])[:16],
    }
    folder = dataset.folder / TOKENS / name
    part = folder.with_name(f".{name}{files.TEMPORARY}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    done = files.read_json(folder / RECORD)
    if done is None or done["settings"] != settings:
        try:
            done = _write(dataset, part, encoder, options, settings, progress)
            (folder / RECORD).unlink(missing_ok=True)  # first: without it a folder is not whole
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error}; nothing was changed") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    counts = {field: done[field] for field in ("rows", "tokens", "fill", "documents", "triples")}
    return Tokenized(folder, **counts, slow_because=encoder.slow_because)


def require_known(name: str, rendering: str, length: int, loss: str | None, long: str) -> str:
    """The loss that is meant. Raises UsageError for an argument of `tokenize` that does not do."""
    if rendering not in RENDERINGS:
        raise UsageError(f"rendering {rendering!r}: choose one of {', '.join(RENDERINGS)}")
    if length < LEAST_LENGTH:
        raise UsageError(f"length {length}: give {LEAST_LENGTH} tokens or more")
    if long not in ("cut", "drop"):
        raise UsageError(f"long {long!r}: choose cut or drop")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UsageError(f"name {name!r}: use letters, digits, `.`, `_` and `-`")
    loss = loss if loss is not None else RENDERINGS[rendering].loss
    rest_weight(loss)
    return loss


def _encoder(dataset: Dataset, path: Path | None, vocab_size: int | None, fast: bool) -> Encoder:
    """The tokenizer asked for, checked on texts of the dataset; trained when there is none.

    Raises:
        UsageError: it is of another size than asked for, or does not do.
    """
    if path is not None and vocab_size is not None:
        raise UsageError(
            f"{path}: is trained already; leave the vocabulary of {vocab_size} out, or the "
            "tokenizer, to have one trained"
        )
    if path is None:
        path = dataset.folder / TOKENS / TOKENIZER
        if not path.exists():
            _train(dataset, path, vocab_size or VOCABULARY)
        elif vocab_size is not None and vocab_size != (trained := _trained_size(path)):
            raise UsageError(
                f"{path}: is there, with a vocabulary of {trained}, not {vocab_size}; leave that "
                "out to use it, or remove the file to have another trained"
            )
    texts = islice(sample(dataset), _CHECKED_TEXTS)
    return Encoder.open(path, [text[:_CHECKED_CHARS] for text in texts], fast=fast)


def _train(dataset: Dataset, path: Path, vocab_size: int) -> None:
    text = train(sample(dataset), vocab_size)
    asked = {"vocab_size": vocab_size, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    try:
        files.write_json(path.with_name(TRAINED), asked)
        files.write_bytes(path, text.encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}") from None


def _trained_size(path: Path) -> int:
    """The vocabulary that was asked for when a tokenizer was trained; else the one it has."""
    asked = files.read_json(path.with_name(TRAINED))
    if asked is not None and asked["sha256"] == files.sha256(path):
        return int(asked["vocab_size"])
    return Encoder.open(path, fast=False).vocab_size


def _write(
    dataset: Dataset,
    folder: Path,
    encoder: Encoder,
    options: Options,
    settings: dict[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    """Writes the folder's files; the record of what is in them."""
    ordered = OrderedTriples(dataset, settings["validation"], folder / "triples")
    description = Description(
        options.length,
        encoder.hash,
        encoder.vocab_size,
        settings["rendering"],
        settings["dataset"],
    )
    fitter = Fitter(encoder, options.length, settings["long"] == "cut")
    record: dict[str, Any] = {"settings": settings, "rows": {}, "tokens": {}, "fill": {}}
    if progress is not None:
        progress.stage("tokens", sum(ordered.sizes[split] for split in SPLITS))
    for split in SPLITS:
        triples = _counted(ordered.triples(split), progress)
        documents = render_all(triples, settings["rendering"], options, settings["seed"])
        rows = pack(fitter.encode(documents), options.length, encoder.special[END_OF_TEXT])
        count = tokens = 0
        for row in write_shards(folder, split, rows, description):
            count += 1
            tokens += options.length - (int(row.doc_lengths[-1]) if row.triple_ids[-1] == "" else 0)
        record["rows"][split] = count
        record["tokens"][split] = tokens
        record["fill"][split] = round(tokens / (count * options.length), 6) if count else 0.0
    if not record["rows"]["train"]:
        raise UsageError(
            f"{dataset.folder}: no document of {settings['rendering']} fits {options.length} "
            "tokens; give a greater length"
        )
    record["documents"] = dict(fitter.counts)
    record["triples"] = ordered.sizes
    shutil.rmtree(folder / "triples")
    (folder / TOKENIZER).write_text(encoder.text, encoding="utf-8")
    files.write_json(folder / RECORD, record)
    return record


def _counted(triples: Iterable[Triple], progress: Progress | None) -> Iterator[Triple]:
    for triple in triples:
        yield triple
        if progress is not None:
            progress.add(units=1)


def render_all(
    triples: Iterable[Triple], rendering: str, options: Options, seed: int
) -> Iterator[Document]:
    """The documents of all triples, each triple as often as its weight says."""
    render = RENDERINGS[rendering].render
    for triple in triples:
        for copy in range(copies(triple.weight, triple.id, seed)):
            yield from render(triple, options, f"{seed}:{triple.id}:{copy}")


def copies(weight: float, id: str, seed: int) -> int:
    """How often a triple is rendered: the weight, rounded down or up by its id.

    Over many triples the mean is the weight; a triple's own number never changes.
    """
    digest = hashlib.sha256(f"copies:{seed}:{id}".encode()).digest()
    chance = int.from_bytes(digest[:8], "big") / 2**64
    return int(weight) + (chance < weight - int(weight))
