"""The `tokenize` stage: a dataset folder's triples to `tokens/NAME`, in one pass.

    triples in order -> renderings -> ids, fitted to T -> rows -> shards

Everything is a generator, so memory is one window of the packer, the contents and ids that are
kept, and one bucket of triples. The folder gets its name when all of it is written; asked for the
same again, it is left alone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from codeflow.dataset import reader as datasets
from codeflow.dataset.order import OrderedTriples
from codeflow.dataset.reader import Dataset
from codeflow.documents.chat.render import QWEN3_CODER
from codeflow.documents.chat.template import template
from codeflow.documents.document import END_OF_TEXT, NAMED, Document
from codeflow.documents.options import Options, rest_weight
from codeflow.documents.triples import Rendering
from codeflow.errors import DataError, UsageError
from codeflow.execution.progress import Progress
from codeflow.plugins.renderings import Named, rendering_of
from codeflow.shards.format import Description
from codeflow.shards.writer import write_shards
from codeflow.storage import files
from codeflow.storage.layout import CHAT_TEMPLATE, SPLITS, TOKENIZER, TOKENS
from codeflow.tokens.config import VOCABULARY, TokenizeConfig
from codeflow.tokens.fit import Fitter
from codeflow.tokens.pack import pack
from codeflow.tokens.sample import sample
from codeflow.tokens.tokenizer import Encoder, require_tokenizers, train
from codeflow.triple import Triple

RECORD = "tokens.json"
TRAINED = "tokenizer.trained.json"
"""What was asked for when it was trained: little text gives a smaller vocabulary than that."""
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
    config: TokenizeConfig | None = None,
    *,
    fast: bool = True,
    progress: Progress | None = None,
) -> tuple[Tokenized, ...]:
    """Renders, encodes and packs a dataset into `DIR/tokens/NAME`, a folder for each rendering.

    Args:
        config: what to make, by default `TokenizeConfig()`.
        fast: whether to encode with gigatoken where that is possible; the ids are the same.
        progress: is told how many triples are rendered.

    Raises:
        UsageError: an argument that does not do, or the extra `train` is missing.
        DataError: no dataset, a damaged one, or no room to write.
    """
    require_tokenizers()
    config = config or TokenizeConfig()
    dataset = datasets.open(dataset_dir)
    if progress is not None:
        progress.stage("tokenizer", None)
    encoder = _encoder(dataset, config, fast)
    return tuple(_rendered(dataset, name, config, encoder, progress) for name in config.renderings)


def _rendered(
    dataset: Dataset,
    rendering: str,
    config: TokenizeConfig,
    encoder: Encoder,
    progress: Progress | None,
) -> Tokenized:
    """One folder, written or found as it is asked for."""
    named = rendering_of(rendering)
    settings = {
        "rendering": named.name,
        **named.identity,
        "length": config.length,
        "loss": config.loss_of(rendering),
        "long": config.long,
        "validation": config.validation,
        "seed": config.seed,
        "tokenizer": encoder.hash,
        "dataset": str(dataset.manifest["sha256"])[:16],
    }
    folder = dataset.folder / TOKENS / config.folder(rendering)
    part = folder.with_name(f".{folder.name}{files.TEMPORARY}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    done = files.read_json(folder / RECORD)
    if done is None or done["settings"] != settings:
        try:
            done = _write(dataset, part, named, encoder, settings, progress)
            (folder / RECORD).unlink(missing_ok=True)  # first: without it a folder is not whole
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error}; nothing was changed") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    counts = {field: done[field] for field in ("rows", "tokens", "fill", "documents", "triples")}
    return Tokenized(folder, **counts, slow_because=encoder.slow_because)


def _encoder(dataset: Dataset, config: TokenizeConfig, fast: bool) -> Encoder:
    """The tokenizer asked for, checked on texts of the dataset; trained when there is none.

    Raises:
        UsageError: it is of another size than asked for, or does not do.
    """
    path, vocab_size = Path(config.tokenizer), config.vocab_size
    needs = {token for name in config.renderings for token in rendering_of(name).rendering.needs}
    if not config.tokenizer:
        path = dataset.folder / TOKENS / TOKENIZER
        if not path.exists():
            _train(dataset, path, vocab_size or VOCABULARY)
        elif vocab_size and vocab_size != (trained := _trained_size(path)):
            raise UsageError(
                f"{path}: is there, with a vocabulary of {trained}, not {vocab_size}; leave that "
                "out to use it, or remove the file to have another trained"
            )
        lacks = [name for name in NAMED if f'"content": "{name}"' not in path.read_text("utf-8")]
        if lacks and _asked_size(path) is not None:
            raise UsageError(
                f"{path}: was trained before there were the tokens {', '.join(lacks)}; remove it "
                "to have another trained, and train models anew"
            )
    texts = islice(sample(dataset), _CHECKED_TEXTS)
    return Encoder.open(path, [text[:_CHECKED_CHARS] for text in texts], fast=fast, needs=needs)


def _train(dataset: Dataset, path: Path, vocab_size: int) -> None:
    text = train(sample(dataset), vocab_size)
    asked = {"vocab_size": vocab_size, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    try:
        files.write_json(path.with_name(TRAINED), asked)
        files.write_bytes(path.with_name(CHAT_TEMPLATE), template(QWEN3_CODER).encode())
        files.write_bytes(path, text.encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}") from None


def _trained_size(path: Path) -> int:
    """The vocabulary that was asked for when a tokenizer was trained; else the one it has."""
    return _asked_size(path) or Encoder.open(path, fast=False, needs=()).vocab_size


def _asked_size(path: Path) -> int | None:
    """What was asked for where the tokenizer is the one that was trained there; else None."""
    asked = files.read_json(path.with_name(TRAINED))
    if asked is None or asked["sha256"] != files.sha256(path):
        return None
    return int(asked["vocab_size"])


def _write(
    dataset: Dataset,
    folder: Path,
    named: Named,
    encoder: Encoder,
    settings: dict[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    """Writes the folder's files; the record of what is in them."""
    options = Options(settings["length"], rest_weight(settings["loss"]))
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
        documents = render_all(triples, named.rendering, options, settings["seed"])
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
    (folder / CHAT_TEMPLATE).write_text(template(QWEN3_CODER), encoding="utf-8")
    files.write_json(folder / RECORD, record)
    return record


def _counted(triples: Iterable[Triple], progress: Progress | None) -> Iterator[Triple]:
    for triple in triples:
        yield triple
        if progress is not None:
            progress.add(units=1)


def render_all(
    triples: Iterable[Triple], rendering: Rendering, options: Options, seed: int
) -> Iterator[Document]:
    """The documents of all triples, each triple as often as its weight says."""
    for triple in triples:
        for copy in range(copies(triple.weight, triple.id, seed)):
            yield from rendering.render(triple, options, f"{seed}:{triple.id}:{copy}")


def copies(weight: float, id: str, seed: int) -> int:
    """How often a triple is rendered: the weight, rounded down or up by its id.

    Over many triples the mean is the weight; a triple's own number never changes.
    """
    digest = hashlib.sha256(f"copies:{seed}:{id}".encode()).digest()
    chance = int.from_bytes(digest[:8], "big") / 2**64
    return int(weight) + (chance < weight - int(weight))
