"""`codeflow export`: a checkpoint as a Hugging Face folder, or as torch's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from codeflow.loopcoder.config import ModelConfig
    from codeflow.tokens.tokenizer import Encoder
    from codeflow.train.state.trained import Trained

_DTYPES = ("bfloat16", "float32")


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
    export.add_argument(
        "--dtype",
        choices=_DTYPES,
        help="round the weights, bfloat16 as engines serve them (default: as they are)",
    )
    export.add_argument(
        "--remote-code",
        action="store_true",
        help="with the Python files that transformers, vLLM and SGLang need for a loop",
    )


def _export(parsed: argparse.Namespace) -> int:
    need_torch()
    import torch

    from codeflow.documents.document import END_OF_TEXT, IM_END
    from codeflow.loopcoder.hf import export
    from codeflow.train.state import dcp
    from codeflow.train.state.card import model_card
    from codeflow.train.state.trained import find

    found = find(parsed.checkpoint, parsed.tokenizer)
    encoder = encoder_of(found)
    model = found.model()
    tensors = list(model.state_dict().values())
    parameters = sum(tensor.numel() for tensor in tensors)
    dtype = getattr(torch, parsed.dtype) if parsed.dtype else tensors[0].dtype
    template = found.chat_template
    stored = str(dtype).removeprefix("torch.")
    if parsed.dcp:
        dcp.write(model.to(dtype), parsed.to, found.about, found.tokenizer)
    else:
        export(
            model,
            parsed.to,
            tokenizer=found.tokenizer,
            eos_token_ids=[encoder.special[name] for name in (IM_END, END_OF_TEXT)],
            pad_token_id=encoder.special[END_OF_TEXT],
            chat_template=template,
            about=found.about,
            card=model_card(found.about, model.config, parameters, stored, template is not None),
            dtype=dtype,
            remote_code=parsed.remote_code,
        )
    print(f"{len(tensors):,} tensors, {parameters:,} parameters as {stored}, from {found.path}")
    for line in () if parsed.dcp else _remarks(model.config, parsed.remote_code):
        print(line)
    print(f"in {parsed.to}")
    return EXIT_OK


def _remarks(config: ModelConfig, remote_code: bool) -> list[str]:
    """What one would otherwise find out from an engine's error."""
    remarks = []
    loop = config.loop_num == 2
    if loop and not remote_code:
        remarks.append("no Python files: with --remote-code transformers, vLLM, SGLang open it too")
    if remote_code and not loop:
        remarks.append("a dense model needs no Python files: it opens as Llama")
    if loop and config.head_dim * config.num_attention_heads != config.hidden_size:
        remarks.append(
            f"vLLM and SGLang take hidden_size / num_attention_heads for head_dim, which is "
            f"{config.head_dim} here: they cannot open it"
        )
    return remarks


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
