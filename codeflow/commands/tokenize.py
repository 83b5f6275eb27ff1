"""`codeflow tokenize`: triples to token shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.errors import EXIT_OK, UsageError
from codeflow.storage.layout import TOKENIZER, TOKENS

if TYPE_CHECKING:
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
        required=True,
        metavar="RENDERING",
        help="diff, blocks, files, fim-file, fim-repo, snapshot, a plug-in's, or file.py:function",
    )
    tokenize.add_argument("--length", required=True, type=int, metavar="T", help="tokens of a row")
    tokenize.add_argument("--name", metavar="NAME", help="of the folder (RENDERING-T)")
    tokenize.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json")
    tokenize.add_argument(
        "--vocab",
        type=int,
        metavar="N",
        help="size of a tokenizer to train (32768)",
    )
    tokenize.add_argument("--loss", metavar="WHERE", help="patch, all, or the rest's weight")
    tokenize.add_argument("--long", choices=("cut", "drop"), help="long documents")
    tokenize.add_argument(
        "--validation", type=float, metavar="SHARE", help="latest part to hold out"
    )
    tokenize.add_argument("--seed", type=int)
    tokenize.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )


def _tokenize(parsed: argparse.Namespace) -> int:
    from codeflow.api.tokens import config_of
    from codeflow.tokens.tokenizer import require_tokenizers

    require_tokenizers()
    config = config_of(
        parsed.render,
        parsed.length,
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


def _preview(dir: str, config: TokenizeConfig) -> int:
    """Says what would be done: what is read, with which tokenizer, and what is there already."""
    from codeflow.dataset import reader as dataset
    from codeflow.storage import files
    from codeflow.tokens.config import VOCABULARY
    from codeflow.tokens.stage import RECORD

    [rendering] = config.renderings
    opened = dataset.open(dir)
    count = opened.summary().triples.total()
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
    for split, rows in done.rows.items():
        tokens, fill = done.tokens[split], done.fill[split]
        print(f"{split}: {rows:,} rows of {length:,}, {tokens:,} tokens, {fill:.2%} full")
    counted = {**done.documents, "straddling": done.triples["straddling"]}
    print("documents: " + ", ".join(f"{n:,} {what}" for what, n in sorted(counted.items())))
    if done.slow_because is not None:
        print(f"encoded slowly: {done.slow_because}")
    print(f"in {done.folder}")
