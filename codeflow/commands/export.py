"""`codeflow export`: a checkpoint as a Hugging Face folder, or as torch's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from codeflow.tokens.tokenizer import Encoder
    from codeflow.train.state.trained import Trained


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "write a checkpoint as a Hugging Face folder, or as torch's, tokenizer included"
    export = commands.add_parser("export", help=text, description=sentence(text))
    export.set_defaults(command=_export)
    export.add_argument(
        "checkpoint",
        type=Path,
        metavar="CKPT",
        help="a run (its last checkpoint), a checkpoint, a Hugging Face folder, or one of torch's",
    )
    export.add_argument(
        "--dcp", action="store_true", help="in the format of torch.distributed.checkpoint"
    )
    export.add_argument("--to", required=True, type=Path, metavar="PATH", help="a new folder")
    export.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json (default: the run's)"
    )


def _export(parsed: argparse.Namespace) -> int:
    need_torch()
    from codeflow.documents.document import END_OF_TEXT, IM_END
    from codeflow.loopcoder.hf import export
    from codeflow.train.state import dcp
    from codeflow.train.state.trained import find

    found = find(parsed.checkpoint, parsed.tokenizer)
    encoder = encoder_of(found)
    model = found.model()
    ends = [encoder.special[name] for name in (END_OF_TEXT, IM_END)]
    if parsed.dcp:
        dcp.write(model, parsed.to, found.about, found.tokenizer)
    else:
        export(model, parsed.to, tokenizer=found.tokenizer, eos_token_ids=ends, about=found.about)
    tensors = list(model.state_dict().values())
    parameters = sum(tensor.numel() for tensor in tensors)
    print(f"{len(tensors):,} tensors, {parameters:,} parameters, from {found.path}")
    print(f"in {parsed.to}")
    return EXIT_OK


def encoder_of(found: Trained) -> Encoder:
    """The tokenizer that belongs to a model. Raises UsageError when there is none, or another."""
    from codeflow.documents.document import END_OF_TEXT, IM_END
    from codeflow.tokens.tokenizer import Encoder

    if found.tokenizer is None:
        raise UsageError(f"{found.path}: no tokenizer.json beside it; give --tokenizer FILE")
    encoder = Encoder.open(found.tokenizer, fast=False, needs=(END_OF_TEXT, IM_END))
    wanted = found.about.get("tokenizer", encoder.hash)
    if encoder.hash != wanted:
        raise UsageError(
            f"{found.tokenizer}: tokenizer {encoder.hash}, but {found.path} was trained with "
            f"{wanted}; give that one with --tokenizer"
        )
    return encoder


def need_torch() -> None:
    """Raises UsageError when the packages for training are not installed."""
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("tokenizers") is None:
        raise UsageError("this needs torch and tokenizers: pip install 'codeflow-kit[train]'")
