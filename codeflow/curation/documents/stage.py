"""The stage behind `codeflow tokenize --from`: files of documents to `tokens/NAME`.

    files -> rows -> sources -> judged, scrubbed -> spool -> ids of at most T -> rows -> shards

Files are read once: what is kept lies in a file beside the rows until near-duplicates are known and
a tokenizer is there. Memory is one window of the packer, some hundred bytes a document for where it
is and what it says, and what near-duplicates need. The bytes depend on the files and the options
alone. Every document that goes is counted by its reason, and each reason has an example.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from codeflow.curation.documents.clean import Judge, NearDuplicates, scrubbed, whole_text
from codeflow.curation.documents.config import DocumentsConfig
from codeflow.documents.chat.conversation import Conversation
from codeflow.documents.chat.render import NEEDS
from codeflow.documents.document import END_OF_TEXT
from codeflow.documents.read.files import Broken, InputFile, Row, find_files
from codeflow.documents.source import TEXT, Source
from codeflow.errors import DataError, UsageError
from codeflow.execution.progress import Progress, Quiet
from codeflow.shards.format import Description
from codeflow.storage import files
from codeflow.storage.layout import SPLITS, TOKENS
from codeflow.tokens.folder import RECORD, made, write_rows, write_tokenizer
from codeflow.tokens.sample import SAMPLE_BYTES
from codeflow.tokens.tokenizer import Encoder, require_tokenizers
from codeflow.tokens.turns import Turns
from codeflow.tokens.vocabulary import encoder_for

MOST_TRAINED: Final = 0.98
_EXAMPLE_CHARS: Final = 300


class Dropped(NamedTuple):
    """How many documents went for a reason, and the first of them: where it is, and why."""

    documents: int
    example: str


class TokenizedDocuments(NamedTuple):
    """What a token folder of documents holds; `rows`, `tokens` and `fill` by split.

    Attributes:
        documents: by what became of them, see `Turns.counts`.
        dropped: by reason, before they were encoded.
        trained: share of the tokens that are trained, by origin; "" where an input names none.
    """

    folder: Path
    rows: dict[str, int]
    tokens: dict[str, int]
    fill: dict[str, float]
    documents: dict[str, int]
    dropped: dict[str, Dropped]
    trained: dict[str, float]
    slow_because: str | None


def tokenize_documents(
    folder: Path,
    config: DocumentsConfig,
    *,
    fast: bool = True,
    progress: Progress | None = None,
) -> TokenizedDocuments:
    """Reads, cleans, encodes and packs documents into `folder/tokens/NAME`.

    `folder` need not hold anything. Asked for the same again, what is there is left as it is.

    Raises:
        UsageError: an argument that does not do, nothing that could be read, or a source of which
            nothing or all is trained.
        DataError: a file that cannot be read to its end, or no room to write.
    """
    require_tokenizers()
    inputs = find_files(config.files)
    judge = Judge(config.decontaminate)
    benchmarks = [files.sha256(Path(name)) for name in config.decontaminate]
    display = progress or Quiet()
    asked = {**asdict(config), "columns": dict(config.columns), "decontaminate": benchmarks}
    del asked["tokenizer"], asked["vocab_size"], asked["name"]
    asked["files"] = [[file.path.rpartition("/")[2], file.sha256()] for file in inputs]
    place = folder / TOKENS / config.folder
    found = files.read_json(place / RECORD)
    if found is not None and _still(found, asked, folder, config):
        return _result(place, found, None)
    slow: list[str | None] = []

    def write(part: Path) -> dict[str, Any]:
        part.mkdir(parents=True)
        display.stage("read", None)
        spool = Spool(part, config, judge)
        spool.take(inputs, display)
        encoder = encoder_for(folder, config.common, _needs(config), spool.sample, fast=fast)
        slow.append(encoder.slow_because)
        settings = {**asked, "tokenizer": encoder.hash, "rendering": config.kind}
        record = _write(part, spool, config, encoder, settings, display)
        spool.close()
        files.write_json(part / RECORD, record)
        return record

    return _result(place, made(place, None, write), slow[0] if slow else None)


def _needs(config: DocumentsConfig) -> Sequence[str]:
    return (END_OF_TEXT,) if config.kind == TEXT else NEEDS


def _still(
    found: Mapping[str, Any], asked: Mapping[str, Any], folder: Path, config: DocumentsConfig
) -> bool:
    """Whether a record is of what is asked for, with the tokenizer that would be used."""
    settings = dict(found["settings"])
    tokenizer = settings.pop("tokenizer", None)
    settings.pop("rendering", None)
    if settings != asked:
        return False
    beside = folder / TOKENS / "tokenizer.json"
    path = Path(config.tokenizer) if config.tokenizer else beside
    if not path.exists():
        return False
    encoder = encoder_for(folder, config.common, _needs(config), tuple, fast=False)
    return bool(encoder.hash == tokenizer)


def _result(place: Path, record: Mapping[str, Any], slow_because: str | None) -> TokenizedDocuments:
    fields = {name: record[name] for name in ("rows", "tokens", "fill", "documents", "trained")}
    dropped = {reason: Dropped(*told) for reason, told in record["dropped"].items()}
    return TokenizedDocuments(place, dropped=dropped, slow_because=slow_because, **fields)


class Spool:
    """What was kept of the files, in their order, in a file of its own.

    Attributes:
        dropped: by reason.
        digest: of the contents that were kept, in order.
    """

    def __init__(self, part: Path, config: DocumentsConfig, judge: Judge) -> None:
        self._path = part / "spool"
        self._config = config
        self._reading = config.reading
        self._judge = judge
        self._near = NearDuplicates(part / "shingles") if config.near else None
        self._seen: set[bytes] = set()
        self._chars = 0
        self._like = np.zeros(0, np.bool_)
        self.dropped: dict[str, Dropped] = {}
        self.digest = hashlib.sha256()

    def take(self, inputs: Sequence[InputFile], progress: Progress) -> None:
        """Reads all files. Raises UsageError where nothing is left of them."""
        places: list[str] = []
        with self._path.open("wb") as file:
            for input in inputs:
                for row in input.rows():
                    progress.add(units=1)
                    kept = self._kept(row)
                    if kept is None:
                        continue
                    text = whole_text(kept[0])
                    self._chars += len(text)
                    places.append(row.where)
                    file.write(kept[1])
                    if self._near is not None:
                        self._near.add(text)
        self._like = np.zeros(len(places), np.bool_)
        if self._near is not None:
            self._like = self._near.decide()
        for number in np.flatnonzero(self._like).tolist():
            self._drop("near-duplicate", f"{places[number]}: is like one before it")
        if not len(self):
            names = ", ".join(input.name for input in inputs[:3])
            raise UsageError(f"{names}: nothing to tokenize: {told(self.dropped) or 'no rows'}")
        for source in self.sources():
            self.digest.update(bytes.fromhex(source.id))

    def _kept(self, row: Row | Broken) -> tuple[Source, bytes] | None:
        try:
            if isinstance(row, Broken):
                raise DataError(f"{row.reason}: {row.detail}")
            source = self._reading.source(row)
            key = bytes.fromhex(source.id)
            if key in self._seen:
                raise DataError("duplicate: the same was said before")
            self._judge(source)
            clean = scrubbed(source)
            data = pickle.dumps(clean, pickle.HIGHEST_PROTOCOL)
        except RecursionError:
            self._drop("too-deep", f"{row.where}: values within values, hundreds of them")
            return None
        except DataError as error:
            reason, _, detail = str(error).partition(": ")
            self._drop(reason, f"{row.where}: {detail}")
            return None
        self._seen.add(key)
        return clean, data

    def _drop(self, reason: str, example: str) -> None:
        before = self.dropped.get(reason)
        count = before.documents if before else 0
        text = before.example if before else example[:_EXAMPLE_CHARS]
        self.dropped[reason] = Dropped(count + 1, text)

    def sources(self) -> Iterator[Source]:
        """What is kept of them all, in order."""
        with self._path.open("rb") as file:
            for like in self._like:
                source: Source = pickle.load(file)
                if not like:
                    yield source

    def split(self, split: str) -> Iterator[Source]:
        """Those of a split: decided by name, so that all about one task are in one."""
        share = self._config.validation
        for source in self.sources():
            digest = hashlib.sha256(f"validation:{source.name or source.id}".encode()).digest()
            held = int.from_bytes(digest[:8], "big") / 2**64 < share
            if held == (split == "validation"):
                yield source

    def sample(self) -> Iterator[str]:
        """Texts of about 16 MB to train a tokenizer on, chosen by their contents."""
        limit = min(0xFFFF_FFFF, SAMPLE_BYTES * (1 << 32) // max(1, self._chars))
        for source in self.sources():
            if int(source.id[:8], 16) <= limit:
                yield whole_text(source)

    def __len__(self) -> int:
        return int(np.count_nonzero(~self._like))

    def close(self) -> None:
        """Removes what it wrote."""
        self._path.unlink()


def _write(
    part: Path,
    spool: Spool,
    config: DocumentsConfig,
    encoder: Encoder,
    settings: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    description = Description(
        config.length,
        encoder.hash,
        encoder.vocab_size,
        config.kind,
        spool.digest.hexdigest()[:16],
    )
    turns = Turns(encoder, config.length, config.long, config.calls, config.rest)
    record: dict[str, Any] = {"settings": settings}
    progress.stage("tokens", len(spool))
    for split in SPLITS:
        sources = _counted(spool.split(split), progress)
        if config.history == "strip":
            sources = _stripped(sources)
        write_rows(part, split, turns.encode(sources), encoder, description, record)
    record["documents"] = {name: count for name, count in turns.counts.items() if count}
    record["trained"] = {
        origin or "": round(trained / total, 6)
        for origin, (total, trained) in sorted(turns.tokens.items(), key=lambda o: o[0] or "")
    }
    record["dropped"] = {reason: list(told) for reason, told in spool.dropped.items()}
    _check(config, record, turns)
    write_tokenizer(part, encoder, config.calls)
    return record


def _check(config: DocumentsConfig, record: Mapping[str, Any], turns: Turns) -> None:
    """That something is trained, and that a mask of all or nothing is what was asked for."""
    if not record["rows"]["train"]:
        raise UsageError(
            f"{config.files[0]}: no document fits {config.length} tokens, or all are held out "
            f"({dict(turns.counts)}); give a greater --length, or a smaller --validation"
        )
    if config.rest:
        return
    for origin, share in record["trained"].items():
        if share == 0 or share > MOST_TRAINED:
            raise UsageError(
                f"{origin or config.files[0]}: {share:.1%} of its tokens are trained, which says "
                "that roles or columns mean something else; give --schema or --columns, or a "
                "--loss if it is meant"
            )


def _stripped(sources: Iterator[Source]) -> Iterator[Source]:
    for source in sources:
        assert isinstance(source.said, Conversation), "texts have no history"
        for said in source.said.turns():
            yield replace(source, said=said)


def _counted(sources: Iterator[Source], progress: Progress) -> Iterator[Source]:
    for source in sources:
        yield source
        progress.add(units=1)


def told(dropped: Mapping[str, Dropped]) -> str:
    """Reasons with their counts, the most frequent first, and an example of each."""
    order = sorted(dropped.items(), key=lambda item: (-item[1].documents, item[0]))
    return "; ".join(f"{one.documents:,} {reason} ({one.example})" for reason, one in order)
