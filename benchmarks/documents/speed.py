"""Conversations and texts to packed rows on one core, against transformers in the same run.

    python benchmarks/documents/speed.py [--mb 40] [--length 32768]

Documents are cut from this checkout's sources: texts of 2 to 40 KB, conversations of 2 to 12 turns
with reasoning and calls. *Ours* renders, encodes and packs with masks; the *peer* is transformers'
`apply_chat_template` with our template and `tokenizers` on one thread, which gives ids and the same
mask and packs nothing. MB are of contents, seconds are of the processor, so that a busy machine
changes little; the two take turns, and the median of three counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from codeflow.documents.chat.conversation import Conversation, Message, ToolCall
from codeflow.documents.chat.render import NEEDS, QWEN3_CODER
from codeflow.documents.chat.template import template
from codeflow.documents.document import END_OF_TEXT
from codeflow.documents.source import CHAT, TEXT, Source
from codeflow.tokens.pack import pack
from codeflow.tokens.tokenizer import Encoder, train
from codeflow.tokens.turns import CUT, Turns

ROUNDS = 3


def corpus() -> str:
    root = Path(__file__).resolve().parents[2]
    paths = sorted([*root.glob("codeflow/**/*.py"), *root.glob("docs/*.md")])
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def texts(whole: str, limit: int) -> Iterator[Source]:
    random = Random(0)
    while limit > 0:
        size = random.randrange(2_000, 40_000)
        at = random.randrange(len(whole) - size)
        yield Source(f"{limit:032x}", TEXT, whole[at : at + size])
        limit -= size


def conversations(whole: str, limit: int) -> Iterator[Source]:
    random = Random(1)

    def some(most: int) -> str:
        size = random.randrange(50, most)
        at = random.randrange(len(whole) - size)
        return whole[at : at + size]

    while limit > 0:
        messages = [Message("system", some(800))]
        for _ in range(random.randrange(2, 12)):
            messages.append(Message("user", some(1500)))
            call = ToolCall("bash", {"cmd": some(300)})
            messages.append(Message("assistant", some(400), some(2000), (call,)))
            messages.append(Message("tool", some(3000)))
            messages.append(Message("assistant", some(1500)))
        yield Source(f"{limit:032x}", CHAT, Conversation(tuple(messages)))
        limit -= size_of(messages)


def size_of(messages: Sequence[Message]) -> int:
    return sum(
        len(m.content) + len(m.reasoning) + sum(len(str(c.arguments["cmd"])) for c in m.calls)
        for m in messages
    )


def ours(sources: Sequence[Source], encoder: Encoder, length: int) -> tuple[int, int]:
    """Rows, and tokens in them."""
    turns = Turns(encoder, length, CUT, QWEN3_CODER, 0.0)
    rows = tokens = 0
    for row in pack(turns.encode(sources), length, encoder.special[END_OF_TEXT]):
        rows += 1
        tokens += length - (int(row.doc_lengths[-1]) if not row.triple_ids[-1] else 0)
    return rows, tokens


def theirs(sources: Sequence[Source], tokenizer: Any) -> None:
    for source in sources:
        if isinstance(source.said, str):
            tokenizer(source.said)
        else:
            tokenizer.apply_chat_template(
                source.said.as_messages(), return_dict=True, return_assistant_tokens_mask=True
            )


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mb", type=int, default=40)
    parser.add_argument("--length", type=int, default=32768)
    parsed = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import PreTrainedTokenizerFast

    whole = corpus()
    text = train([whole], 8192)
    encoder = Encoder(text, needs=NEEDS)
    print(f"gigatoken: {'yes' if encoder.slow_because is None else encoder.slow_because}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(text, encoding="utf-8")
        peer = PreTrainedTokenizerFast(
            tokenizer_file=str(path), chat_template=template(QWEN3_CODER)
        )
        for name, made in (("texts", texts), ("conversations", conversations)):
            sources = list(made(whole, parsed.mb << 20))
            few = sources[: max(1, len(sources) // 10)]  # of the slow one, a tenth
            own, other = [], []
            for _ in range(ROUNDS):
                rows, tokens = ours(sources, encoder, parsed.length)
                own.append(parsed.mb / seconds(partial(ours, sources, encoder, parsed.length)))
                size = parsed.mb * len(few) / len(sources)
                other.append(size / seconds(partial(theirs, few, peer)))
            mine, others = statistics.median(own), statistics.median(other)
            print(
                f"{name}: {mine:.1f} MB/s, transformers {others:.2f} MB/s, {mine / others:.1f} x; "
                f"{rows:,} rows of {parsed.length:,}, {tokens / rows / parsed.length:.2%} full"
            )


if __name__ == "__main__":
    main()
