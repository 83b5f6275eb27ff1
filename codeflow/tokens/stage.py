"""The `tokenize` stage: a dataset folder's triples to `tokens/NAME`, in one pass.

    triples in order -> renderings -> ids, fitted to T -> rows -> shards

Everything is a generator, so memory is one window of the packer, the contents and ids that are
kept, and one bucket of triples. The folder gets its name when all of it is written; asked for the
same again, it is left alone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from codeflow.dataset import reader as datasets
from codeflow.dataset.order import OrderedTriples
from codeflow.dataset.reader import Dataset
from codeflow.documents.chat.render import QWEN3_CODER
from codeflow.documents.document import Document
from codeflow.documents.options import Options, rest_weight
from codeflow.errors import UsageError
from codeflow.execution.progress import Progress
from codeflow.plugins.renderings import rendering_of
from codeflow.shards.format import Description
from codeflow.storage import files
from codeflow.storage.layout import SPLITS, TOKENS
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.fit import Fitter
from codeflow.tokens.folder import RECORD, made, write_rows, write_tokenizer
from codeflow.tokens.repeats import MOST, Repeats
from codeflow.tokens.sample import sample
from codeflow.tokens.tokenizer import Encoder, require_tokenizers
from codeflow.tokens.vocabulary import encoder_for
from codeflow.triple import Triple


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
    needs = {token for name in config.renderings for token in rendering_of(name).rendering.needs}
    encoder = encoder_for(dataset.folder, config, needs, lambda: sample(dataset), fast=fast)
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
    if rendering_of(rendering).rendering.whole:
        settings["most_repeats"] = MOST
    folder = dataset.folder / TOKENS / config.folder(rendering)
    write = partial(_write, dataset, rendering, encoder, settings, progress)
    done = made(folder, settings, write)
    counts = {field: done[field] for field in ("rows", "tokens", "fill", "documents", "triples")}
    return Tokenized(folder, **counts, slow_because=encoder.slow_because)


def _write(
    dataset: Dataset,
    rendering: str,
    encoder: Encoder,
    settings: dict[str, Any],
    progress: Progress | None,
    folder: Path,
) -> dict[str, Any]:
    """Writes the folder's files; the record of what is in them."""
    options = Options(settings["length"], rest_weight(settings["loss"]))
    if "most_repeats" in settings:
        seed = settings["seed"]
        repeats = Repeats(
            dataset.triples(columns=["files", "weight"]),
            seed,
            lambda triple: copies(triple.weight, triple.id, seed),
        )
        options = replace(options, may_repeat=repeats)
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
        documents = render_all(triples, rendering, options, settings["seed"], fitter.counts)
        write_rows(folder, split, fitter.encode(documents), encoder, description, record)
    if not record["rows"]["train"]:
        raise UsageError(
            f"{dataset.folder}: no document of {settings['rendering']} fits {options.length} "
            "tokens; give a greater length"
        )
    record["documents"] = dict(fitter.counts)
    record["triples"] = ordered.sizes
    shutil.rmtree(folder / "triples")
    write_tokenizer(folder, encoder, QWEN3_CODER)
    files.write_json(folder / RECORD, record)
    return record


def _counted(triples: Iterable[Triple], progress: Progress | None) -> Iterator[Triple]:
    for triple in triples:
        yield triple
        if progress is not None:
            progress.add(units=1)


def render_all(
    triples: Iterable[Triple], rendering: str, options: Options, seed: int, counts: Counter[str]
) -> Iterator[Document]:
    """The documents of all triples, each triple as often as its weight says.

    Args:
        counts: counts those of which nothing is left to write, as `nothing-to-write`.
    """
    render = rendering_of(rendering).rendering.render
    for triple in triples:
        for copy in range(copies(triple.weight, triple.id, seed)):
            made = 0
            for document in render(triple, options, f"{seed}:{triple.id}:{copy}"):
                made += 1
                yield document
            counts["nothing-to-write"] += not made


def copies(weight: float, id: str, seed: int) -> int:
    """How often a triple is rendered: the weight, rounded down or up by its id.

    Over many triples the mean is the weight; a triple's own number never changes.
    """
    digest = hashlib.sha256(f"copies:{seed}:{id}".encode()).digest()
    chance = int.from_bytes(digest[:8], "big") / 2**64
    return int(weight) + (chance < weight - int(weight))
