"""`codeflow tokenize`: triples, or documents of others, to token shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.errors import EXIT_OK, UsageError
from codeflow.storage.layout import TOKENIZER, TOKENS
from codeflow.text.escape import visible

if TYPE_CHECKING:
    from codeflow.curation.documents.config import DocumentsConfig
    from codeflow.tokens.config import TokenizeConfig
    from codeflow.tokens.stage import Tokenized


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    tokenize = commands.add_parser("tokenize", help="render and pack triples into token shards")
    tokenize.set_defaults(command=_tokenize)
    tokenize.add_argument(
        "dir", metavar="DIR", help="dataset folder, or a URL of fsspec: then the folder is its copy"
    )
    tokenize.add_argument(
        "--render",
        metavar="RENDERING",
        help="flow, plan, diff, blocks, files, fim-file, fim-repo, snapshot, or file.py:function",
    )
    tokenize.add_argument("--length", type=int, metavar="T", help="tokens of a row (4096)")
    tokenize.add_argument("--name", metavar="NAME", help="of the folder (RENDERING-T, KIND-T)")
    tokenize.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json")
    tokenize.add_argument(
        "--vocab",
        type=int,
        metavar="N",
        help="size of a tokenizer to train (32768)",
    )
    tokenize.add_argument("--loss", metavar="WHERE", help="patch, reply, all, or the rest's weight")
    tokenize.add_argument("--long", choices=("cut", "drop", "windows"), help="long documents")
    tokenize.add_argument(
        "--validation", type=float, metavar="SHARE", help="latest part to hold out"
    )
    tokenize.add_argument("--seed", type=int)
    _add_documents(tokenize)
    tokenize.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )


def _add_documents(tokenize: Any) -> None:
    tokenize.add_argument(
        "--from",
        dest="sources",
        action="extend",
        nargs="+",
        metavar="FILES",
        help="documents of others: JSON lines, JSON, Parquet, folders, URLs; DIR may hold nothing",
    )
    tokenize.add_argument(
        "--as", dest="kind", choices=("text", "qa", "chat", "trajectory"), help="what they are"
    )
    tokenize.add_argument("--schema", metavar="NAME", help="of the documents (by their columns)")
    tokenize.add_argument(
        "--columns", action="extend", nargs="+", metavar="OURS=THEIRS", help="what columns mean"
    )
    tokenize.add_argument(
        "--history",
        choices=("keep", "strip"),
        help="reasoning of earlier turns; strip makes a document of each turn",
    )
    tokenize.add_argument(
        "--calls", choices=("qwen3_coder", "hermes"), help="how tool calls are written"
    )
    tokenize.add_argument("--near", choices=("on", "off"), help="drop near-duplicates (on)")
    tokenize.add_argument(
        "--decontaminate",
        action="extend",
        nargs="+",
        metavar="JSONL",
        help="leave out documents that these benchmark instances are in",
    )


def _tokenize(parsed: argparse.Namespace) -> int:
    from codeflow.api.tokens import config_of, documents_of, refuse_of_documents
    from codeflow.tokens.tokenizer import require_tokenizers

    require_tokenizers()
    names = ["kind", "schema", "columns", "history", "calls", "near", "decontaminate"]
    of_documents = {name: getattr(parsed, name) for name in names}
    if parsed.sources is not None:
        names = [
            "render",
            "seed",
            "length",
            "name",
            "loss",
            "tokenizer",
            "vocab",
            "long",
            "validation",
        ]
        given = {name: getattr(parsed, name) for name in names}
        return _documents(parsed, documents_of(parsed.sources, **of_documents, **given))
    refuse_of_documents(parsed.render, parsed.long, **of_documents)
    config = config_of(
        parsed.render,
        length=parsed.length,
        name=parsed.name,
        tokenizer=parsed.tokenizer,
        vocab_size=parsed.vocab,
        loss=parsed.loss,
        long=parsed.long,
        validation=parsed.validation,
        seed=parsed.seed,
    )
    if parsed.dry_run:
        return _preview(parsed.dir, config)
    write_all(parsed.dir, config)
    return EXIT_OK


def _documents(parsed: argparse.Namespace, config: DocumentsConfig) -> int:
    """Writes the rows of documents, and says what became of them."""
    from codeflow.api.tokens import tokenize_sources
    from codeflow.documents.read.files import find_files

    if parsed.dry_run:
        found = find_files(config.files)
        shown = ", ".join(file.name for file in found[:5])
        print(f"would read {len(found):,} files as {config.kind}: {shown}")
        print(f"rows of {config.length:,} tokens: {Path(parsed.dir) / TOKENS / config.folder}")
        print("nothing was written")
        return EXIT_OK
    done = tokenize_sources(parsed.dir, config, progress=True)
    for split, rows in done.rows.items():
        tokens, fill = done.tokens[split], done.fill[split]
        print(f"{split}: {rows:,} rows of {config.length:,}, {tokens:,} tokens, {fill:.2%} full")
    print("documents: " + ", ".join(f"{n:,} {what}" for what, n in sorted(done.documents.items())))
    for reason, (count, example) in sorted(done.dropped.items(), key=lambda d: (-d[1][0], d[0])):
        print(f"dropped: {count:,} {reason}, as {visible(example)}")
    for origin, share in done.trained.items():
        print(f"trained: {share:.1%} of the tokens" + (f" of {visible(origin)}" if origin else ""))
    if done.slow_because is not None:
        print(f"encoded slowly: {done.slow_because}")
    print(f"in {done.folder}")
    return EXIT_OK


def _preview(dir: str, config: TokenizeConfig) -> int:
    """Says what would be done: what is read, with which tokenizer, and what is there already."""
    from codeflow.dataset import reader as dataset
    from codeflow.storage import files
    from codeflow.tokens.config import VOCABULARY
    from codeflow.tokens.folder import RECORD

    [rendering] = config.renderings
    opened = dataset.open(dir)
    count = opened.statistics().triples.total()
    print(f"would render {count:,} triples as {rendering} in rows of {config.length:,} tokens")
    path = Path(config.tokenizer) if config.tokenizer else opened.folder / TOKENS / TOKENIZER
    if config.tokenizer and not path.exists():
        raise UsageError(f"{path}: no such tokenizer")
    size = config.vocab_size or VOCABULARY
    made = "is there" if path.exists() else f"would be trained, of {size:,} tokens"
    print(f"tokenizer: {path} {made}")
    folder = opened.folder / TOKENS / config.folder(rendering)
    record = files.read_json(folder / RECORD)
    if record is None:
        print(f"rows: {folder}, a new folder; loss {config.loss_of(rendering)}")
    else:
        was = record["settings"]
        print(
            f"rows: {folder} holds {was['rendering']} in rows of {was['length']:,}; made again if"
        )
        print("  anything that decides them differs, and else left as it is")
    print("nothing was written")
    return EXIT_OK


def write_all(folder: Path | str, config: TokenizeConfig) -> None:
    """Writes the token folders that are asked for, and says of each what is in it."""
    from codeflow.api.tokens import tokenize_all

    for done in tokenize_all(folder, config, progress=True):
        _show(done, config.length)


def _show(done: Tokenized, length: int) -> None:
    from codeflow.tokens.fit import DROPPED, KEPT

    for split, rows in done.rows.items():
        tokens, fill = done.tokens[split], done.fill[split]
        print(f"{split}: {rows:,} rows of {length:,}, {tokens:,} tokens, {fill:.2%} full")
    counted = {**done.documents, "straddling": done.triples["straddling"]}
    print("documents: " + ", ".join(f"{n:,} {what}" for what, n in sorted(counted.items())))
    shown, dropped = (sum(done.documents.get(k, 0) for k in names) for names in (KEPT, DROPPED))
    if shown + dropped:
        share = shown / (shown + dropped)
        print(
            f"all that they ask for is on the page in {shown:,} ({share:.1%}); the rest is dropped"
        )
    if done.slow_because is not None:
        print(f"encoded slowly: {done.slow_because}")
    print(f"in {done.folder}")
