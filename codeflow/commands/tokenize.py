"""`codeflow tokenize`: triples to token shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.errors import EXIT_OK, UsageError
from codeflow.storage.layout import TOKENIZER, TOKENS

if TYPE_CHECKING:
    from codeflow.tokens.config import TokensConfig
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
        required=True,
        metavar="RENDERING",
        help="diff, blocks, files, fim-file, fim-repo or snapshot",
    )
    tokenize.add_argument("--length", required=True, type=int, metavar="T", help="tokens of a row")
    tokenize.add_argument("--name", metavar="NAME", help="of the folder (RENDERING-T)")
    tokenize.add_argument("--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json")
    tokenize.add_argument(
        "--vocab", type=int, metavar="N", help="size of a tokenizer to train (32768)"
    )
    tokenize.add_argument("--loss", metavar="WHERE", help="patch, all, or the rest's weight")
    tokenize.add_argument("--long", choices=("cut", "drop"), default="drop", help="long documents")
    tokenize.add_argument(
        "--validation", type=float, default=0.05, metavar="SHARE", help="latest part to hold out"
    )
    tokenize.add_argument("--seed", type=int, default=0)
    tokenize.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )


def _tokenize(parsed: argparse.Namespace) -> int:
    name = parsed.name or f"{parsed.render}-{parsed.length}"
    if parsed.dry_run:
        return _preview(parsed, name)
    from codeflow.api.tokens import tokenize

    done = tokenize(
        parsed.dir,
        parsed.render,
        parsed.length,
        name=parsed.name,
        tokenizer=parsed.tokenizer,
        vocab=parsed.vocab,
        loss=parsed.loss,
        long=parsed.long,
        validation=parsed.validation,
        seed=parsed.seed,
        progress=True,
    )
    _show(done, parsed.length)
    return EXIT_OK


def _preview(parsed: argparse.Namespace, name: str) -> int:
    """Says what would be done: what is read, with which tokenizer, and what is there already."""
    from codeflow.api.tokens import tokens_stage

    tokens_stage()
    from codeflow.dataset import reader as dataset
    from codeflow.storage import files
    from codeflow.tokens.stage import RECORD, require_known

    loss = require_known(name, parsed.render, parsed.length, parsed.loss, parsed.long)
    opened = dataset.open(parsed.dir)
    count = opened.summary().triples.total()
    print(f"would render {count:,} triples as {parsed.render} in rows of {parsed.length:,} tokens")
    path = parsed.tokenizer or opened.folder / TOKENS / TOKENIZER
    if parsed.tokenizer is not None and not path.exists():
        raise UsageError(f"{path}: no such tokenizer")
    made = "is there" if path.exists() else f"would be trained, of {parsed.vocab:,} tokens"
    print(f"tokenizer: {path} {made}")
    folder = opened.folder / TOKENS / name
    record = files.read_json(folder / RECORD)
    if record is None:
        print(f"rows: {folder}, a new folder; loss {loss}")
    else:
        was = record["settings"]
        print(
            f"rows: {folder} holds {was['rendering']} in rows of {was['length']:,}; made again if"
        )
        print("  anything that decides them differs, and else left as it is")
    print("nothing was written")
    return EXIT_OK


def write_all(folder: Path, config: TokensConfig) -> None:
    """Writes the token folders that `[tokens]` asks for."""
    from codeflow.api.tokens import tokenize_all

    for done in tokenize_all(folder, config, progress=True):
        _show(done, config.length)


def _show(done: Tokenized, length: int) -> None:
    for split, rows in done.rows.items():
        tokens, fill = done.tokens[split], done.fill[split]
        print(f"{split}: {rows:,} rows of {length:,}, {tokens:,} tokens, {fill:.2%} full")
    counted = {**done.documents, "straddling": done.triples["straddling"]}
    print("documents: " + ", ".join(f"{n:,} {what}" for what, n in sorted(counted.items())))
    if done.slow_because is not None:
        print(f"encoded slowly: {done.slow_because}")
    print(f"in {done.folder}")
