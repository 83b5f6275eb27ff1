"""`codeflow export-data`: triples or token shards of a dataset folder in somebody else's form."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codeflow.errors import EXIT_OK, UsageError
from codeflow.storage.layout import SPLITS, TOKENIZER, TOKENS

_FORMS = ("text", "prompt-completion", "messages")
_DESCRIPTION = """\
Write a dataset folder in the form of another dataset or trainer.

commitpack: the ten columns of CommitPackFT, a row a commit that changes one file, from triples.
Triples of several commits or several files have no place there; what is left out is counted by
reason. The others take a token folder, --tokens NAME, and write what is trained on:
text, prompt-completion, messages: its documents as JSONL. parquet: its packed rows, all splits, for
load_dataset. megatron: its documents as PATH.bin and PATH.idx."""


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "write triples or token shards in the form of another dataset or trainer"
    export = commands.add_parser("export-data", help=text, description=_DESCRIPTION)
    export.set_defaults(command=_export_data)
    export.add_argument(
        "dir", metavar="DIR", help="dataset folder; for triples also a URL of fsspec"
    )
    export.add_argument(
        "--format",
        required=True,
        choices=("commitpack", *_FORMS, "parquet", "megatron"),
        help="whose form it is",
    )
    export.add_argument(
        "--to",
        required=True,
        type=Path,
        metavar="PATH",
        help="a new .jsonl or .parquet file, for parquet a folder, for megatron a prefix",
    )
    export.add_argument("--tokens", metavar="NAME", help="which folder of DIR/tokens to take")
    export.add_argument("--split", choices=SPLITS, default="train", help="(default: train)")


def _export_data(parsed: argparse.Namespace) -> int:
    if parsed.format == "commitpack":
        from codeflow.dataset.commitpack import export_commitpack

        if parsed.tokens:
            raise UsageError("--format commitpack takes triples; drop --tokens")
        _say(export_commitpack(parsed.dir, parsed.to, parsed.split), parsed.to)
        return EXIT_OK
    if not parsed.tokens:
        raise UsageError(f"--format {parsed.format} takes a token folder; give --tokens NAME")
    folder = Path(parsed.dir) / TOKENS / parsed.tokens
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; run codeflow tokenize first")
    if parsed.format == "parquet":
        from codeflow.shards.bridges import to_parquet

        splits = tuple(split for split in SPLITS if any(folder.glob(f"{split}-*.arrow")))
        for split, done in to_parquet(folder, parsed.to, splits).items():
            print(f"{split}: {done.rows:,} rows, {done.tokens:,} tokens in {parsed.to}")
            _say_halved(done.halved)
        return EXIT_OK
    from codeflow.shards.reader import TokenShards

    shards = TokenShards(folder, parsed.split)
    if parsed.format == "megatron":
        from codeflow.shards.bridges import to_megatron

        done = to_megatron(shards, parsed.to)
        print(f"{done.rows:,} documents, {done.tokens:,} tokens in {parsed.to}.bin and .idx")
        if done.unweighted:
            print(
                f"  {done.unweighted:,} tokens without a loss here have one there: Megatron's "
                "files hold none"
            )
        _say_halved(done.halved)
        return EXIT_OK
    from codeflow.tokens.texts import write_texts
    from codeflow.tokens.tokenizer import Encoder, require_tokenizers

    require_tokenizers()
    encoder = Encoder.open(folder / TOKENIZER, fast=False, needs=())
    _say(write_texts(shards, encoder, parsed.format, parsed.to), parsed.to)
    return EXIT_OK


def _say(done: Any, to: Path) -> None:
    print(f"{done.rows:,} rows in {to}")
    for reason, count in sorted(done.left_out.items()):
        print(f"  left out: {count:,} {reason}")


def _say_halved(count: int) -> None:
    if count:
        print(f"  {count:,} tokens of another weight than 0 and 1 count as 1 there")
