"""`codeflow generate`: text from a trained model, or a change proposed for a triple's old side.

The text goes to standard output, what is said about it to standard error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.commands.export import encoder_of, need_torch
from codeflow.errors import EXIT_INCOMPLETE, EXIT_OK, DataError, UsageError
from codeflow.terminal.progress import encodable

if TYPE_CHECKING:
    from codeflow.tokens.tokenizer import Encoder
    from codeflow.train.state.trained import Trained
    from codeflow.triple import Triple

_ROW_TOKENS = 4096  # of a model that does not say what it was trained on
_MOST_NEW = 512

_EPILOG = """\
  codeflow generate data/runs/tiny --data data --triple 3f2a --check
  codeflow generate data/runs/tiny --prompt 'def main(' --temperature 0.8 --top-p 0.95

A triple is shown as in training: repository, files (the changed ones are known and come first),
messages. --check applies the proposal to the old side, exactly and without repairs; the exit
status is 1 when it does not apply."""


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "continue a text, or propose a patch for a triple's old side"
    generate = commands.add_parser(
        "generate", help=text, description=sentence(text), epilog=_EPILOG
    )
    generate.set_defaults(command=_generate)
    generate.add_argument(
        "checkpoint",
        type=Path,
        metavar="CKPT",
        help="a run (its last checkpoint), a checkpoint, or a Hugging Face folder",
    )
    what = generate.add_argument_group("what is continued (one of these)")
    one = what.add_mutually_exclusive_group(required=True)
    one.add_argument("--prompt", metavar="TEXT")
    one.add_argument("--prompt-file", type=Path, metavar="FILE")
    one.add_argument("--triple", metavar="ID", help="of --data: its id, or the beginning of it")
    what.add_argument("--data", metavar="DIR", help="dataset folder of the triple, or a URL")
    what.add_argument(
        "--render",
        choices=("diff", "blocks", "files"),
        help="how the change is asked for (default: as trained)",
    )
    what.add_argument(
        "--check", action="store_true", help="say whether the proposal applies to the old side"
    )
    how = generate.add_argument_group("how")
    how.add_argument(
        "--max-tokens", type=int, metavar="N", help=f"new ones ({_MOST_NEW}, or half a row)"
    )
    how.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="0 takes the likeliest (0)"
    )
    how.add_argument("--top-p", type=float, default=1.0, metavar="P", help="share to draw from (1)")
    how.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    how.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TOKEN",
        help="also ends the text; may be repeated (<|im_end|> and <|endoftext|> always do)",
    )
    how.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json (default: the model's)"
    )


def _generate(parsed: argparse.Namespace) -> int:
    if (parsed.triple is None) != (parsed.data is None):
        raise UsageError("--triple and --data go together")
    if parsed.triple is None and (parsed.check or parsed.render):
        raise UsageError("--check and --render are for --triple")
    if parsed.max_tokens is not None and parsed.max_tokens < 1:
        raise UsageError(f"--max-tokens {parsed.max_tokens}: give 1 or more")
    need_torch()
    import torch

    from codeflow.loopcoder.decode import Sampling, generate
    from codeflow.train.state.trained import find

    sampling = Sampling(parsed.temperature, parsed.top_p, parsed.seed)
    found = find(parsed.checkpoint, parsed.tokenizer)
    encoder = encoder_of(found)
    stops = _stops(encoder, parsed.stop)
    most, triple, rendering = parsed.max_tokens or _MOST_NEW, None, ""
    if parsed.triple is None:
        prompt = _text_prompt(parsed, encoder)
    else:
        from codeflow.dataset import reader as dataset
        from codeflow.tokens.prompt import prompt_of

        rendering = _rendering(found, parsed.render)
        row = found.sequence_tokens or _ROW_TOKENS
        most = parsed.max_tokens or min(_MOST_NEW, row // 2)
        if most >= row:
            raise UsageError(f"--max-tokens {most}: leaves no room for a prompt in {row} tokens")
        triple = dataset.open(parsed.data).triple(parsed.triple)
        prompt = prompt_of(triple, rendering, encoder, row, most).tolist()
    model = found.model("cuda" if torch.cuda.is_available() else "cpu")
    (new,) = generate(model, [prompt], most, sampling, stops)
    text = encoder.decode(new)
    sys.stdout.write(encodable(sys.stdout, text if text.endswith("\n") else f"{text}\n"))
    if len(new) == most:
        print(f"stopped after {most} tokens, before its end", file=sys.stderr)
    if triple is not None and parsed.check:
        return _check(rendering, new, encoder, triple)
    return EXIT_OK


def _stops(encoder: Encoder, names: list[str]) -> set[int]:
    from codeflow.documents.document import END_OF_TEXT, IM_END

    stops = {encoder.special[END_OF_TEXT], encoder.special[IM_END]}
    for name in names:
        ids = [encoder.special[name]] if name in encoder.special else encoder.encode([name])[0]
        if len(ids) != 1:
            raise UsageError(f"--stop {name!r}: is {len(ids)} tokens; give one token")
        stops.add(int(ids[0]))
    return stops


def _text_prompt(parsed: argparse.Namespace, encoder: Encoder) -> list[int]:
    from codeflow.config import read_text

    text = parsed.prompt
    if text is None:
        text = read_text(parsed.prompt_file, "prompt")
    elif any("\ud800" <= c <= "\udfff" for c in text):  # what Python makes of other bytes
        raise UsageError("--prompt is not UTF-8; give text that is")
    if not text:
        raise UsageError("the prompt is empty; give at least one character")
    ids: list[int] = encoder.encode([text])[0].tolist()
    return ids


def _rendering(found: Trained, asked: str | None) -> str:
    """How to ask for a change: as the user says, or as the model was trained."""
    from codeflow.tokens.prompt import REPLIES

    if asked is not None:
        return asked
    fit = [name for name in found.renderings if name in REPLIES]
    if not fit:
        known = ", ".join(found.renderings) or "nothing that is known"
        raise UsageError(
            f"{found.path}: trained on {known}, which asks for no change; "
            f"choose --render {', '.join(REPLIES)}"
        )
    return fit[0]


def _check(rendering: str, new: list[int], encoder: Encoder, triple: Triple) -> int:
    """Says whether the proposal applies, and to what it leads."""
    from codeflow.documents.document import FILE_SEP
    from codeflow.documents.reply import apply_reply

    parts: list[list[int]] = [[]]
    for token in new:
        if token == encoder.special[FILE_SEP]:
            parts.append([])
        else:
            parts[-1].append(token)
    try:
        applied = apply_reply(rendering, [encoder.decode(part) for part in parts], triple)
    except DataError as error:
        print(f"does not apply: {error}", file=sys.stderr)
        return EXIT_INCOMPLETE
    same = " and gives the new side exactly" if applied.tree == triple.new_tree else ""
    print(f"applies: {len(applied.files)} paths change{same}", file=sys.stderr)
    return EXIT_OK
