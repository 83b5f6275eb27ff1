"""Texts and conversations cut to rows: each turn and each token once, nothing within a message."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.documents.chat.conversation import Conversation, Message
from codeflow.documents.chat.render import NEEDS, QWEN3_CODER, render
from codeflow.documents.document import Piece
from codeflow.documents.source import Source
from codeflow.tokens.tokenizer import Encoder, train
from codeflow.tokens.trim import Encoded
from codeflow.tokens.turns import Turns, windows
from conversations import conversation


@functools.cache
def encoder() -> Encoder:
    return Encoder(train(["user assistant words and more\n\u4f60\u597d" * 40], 400), needs=NEEDS)


def encoded(said: Conversation | str, length: int, long: str, rest: float = 0.0) -> list[Encoded]:
    kind = "text" if isinstance(said, str) else "chat"
    turns = Turns(encoder(), length, long, QWEN3_CODER, rest)
    return list(turns.encode([Source("0" * 32, kind, said)]))


def text_of(made: Encoded) -> str:
    return encoder().decode(made.ids)


def trained(made: Encoded) -> str:
    return encoder().decode(made.ids[made.weights > 0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=25), st.integers(1, 30))
def test_windows_hold_every_reply_that_fits_once(
    messages: list[tuple[int, bool]], length: int
) -> None:
    sizes = [size for size, _ in messages]
    replies = [number for number, (_, reply) in enumerate(messages) if reply]
    found, lost = windows(sizes, replies, length)
    head = sum(sizes[: replies[0]]) if replies else 0
    assert lost == [k for k in replies if head + sizes[k] > length]
    seen = Counter(k for w in found for k in w.shown if k in replies and k >= w.first)
    assert seen == Counter({k: 1 for k in replies if k not in lost})
    for window in found:
        assert sum(sizes[k] for k in window.shown) <= length
        assert window.shown[-1] in replies
        assert list(window.shown[: len(range(replies[0]))]) == list(range(replies[0]))
        behind = window.shown[replies[0] :]
        assert list(behind) == list(range(behind[0], behind[-1] + 1)), "no hole"
        assert behind[0] in replies, "no answer without its call"


@pytest.mark.parametrize("seed", range(12))
def test_documents_are_whole_messages_of_the_conversation(seed: int) -> None:
    said = conversation(seed)
    pieces = render(said, QWEN3_CODER, 0.0)
    texts = ["".join(p.text for p in message) for message in pieces]
    if not said.trained:
        return
    [whole] = encoded(said, 1 << 20, "drop")
    for length in (64, 200, 500):
        beginnings = encoded(said, length, "cut")
        assert [len(made.ids) <= length for made in beginnings] in ([], [True])
        for made in beginnings:
            assert any(text_of(made) == "".join(texts[:n]) for n in range(len(texts) + 1))
            assert text_of(made).endswith("<|im_end|>\n")
            assert np.array_equal(made.ids, whole.ids[: len(made.ids)])
            assert np.array_equal(made.weights, whole.weights[: len(made.ids)])
        parts = encoded(said, length, "windows")
        assert all(len(made.ids) <= length for made in parts)
        first = next(k for k, m in enumerate(said.messages) if m.role == "assistant")
        assert all(text_of(made).startswith("".join(texts[:first])) for made in parts)
        head = sum(map(size, pieces[:first]))
        told = "".join(map(trained, parts))
        fit = [
            "".join(piece.text for piece in message if piece.weight)
            for message in pieces
            if head + size(message) <= length
        ]
        assert told == "".join(fit)


def size(pieces: list[Piece]) -> int:
    return sum(1 if p.special else len(encoder().encode([p.text])[0]) for p in pieces)


def test_the_context_of_a_window_has_no_loss_whatever_the_rest() -> None:
    turns = [
        message
        for k in range(6)
        for message in (Message("user", f"words {k}"), Message("assistant", f"more {k}"))
    ]
    said = Conversation(tuple(turns))
    [whole] = encoded(said, 4096, "drop", rest=1.0)
    parts = encoded(said, len(whole.ids) * 2 // 3, "windows", rest=1.0)
    assert len(parts) > 1
    assert np.count_nonzero(parts[0].weights) == len(parts[0].ids) - 1
    for part in parts[1:]:
        assert part.weights[: len(part.ids) // 4].sum() == 0
    replies = "".join(map(trained, parts))
    assert [replies.count(f"more {k}") for k in range(6)] == [1] * 6


def test_a_text_keeps_every_token_once() -> None:
    text = "words and more\n" * 30 + "word" * 200 + "\n" + "\u4f60\u597d" * 100 + "more\n" * 9
    [whole] = encoded(text, 1 << 20, "cut")
    assert text_of(whole) == f"{text}<|endoftext|>"
    for length in (64, 100, 333):
        parts = encoded(text, length, "cut")
        assert np.array_equal(np.concatenate([made.ids for made in parts]), whole.ids)
        assert all(len(made.ids) <= length for made in parts)
        assert all((made.weights == [0] + [1] * (len(made.ids) - 1)).all() for made in parts)
        assert "\ufffd" not in "".join(map(text_of, parts))
    assert encoded(text, 64, "drop") == []
