"""Documents as JSONL for other trainers: what is trained on, spelt out, by the form's own rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeflow.commands.export_data import _FORMS
from codeflow.documents.document import IM_END, IM_START
from codeflow.errors import UsageError
from codeflow.shards.documents import documents
from codeflow.shards.format import Description, Row
from codeflow.shards.reader import TokenShards
from codeflow.shards.writer import write_shards
from codeflow.tokens.texts import FORMS, write_texts
from codeflow.tokens.tokenizer import Encoder
from token_samples import make, tokenized


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = make(tmp_path_factory.mktemp("texts"))
    tokenized(folder, "d", "diff", 512, vocab_size=600, fast=False)
    tokenized(folder, "f", "fim-file", 512, fast=False)
    return folder


def written(folder: Path, form: str, to: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    encoder = Encoder.open(folder / "tokenizer.json", fast=False)
    done = write_texts(TokenShards(folder), encoder, form, to)
    lines = [json.loads(line) for line in to.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == done.rows
    return lines, done.left_out


def test_a_prompt_and_its_completion_are_the_document(data: Path, tmp_path: Path) -> None:
    folder = data / "tokens/d"
    encoder = Encoder.open(folder / "tokenizer.json", fast=False)
    whole, left = written(folder, "text", tmp_path / "text.jsonl")
    pairs, none = written(folder, "prompt-completion", tmp_path / "pairs.jsonl")
    chats, _ = written(folder, "messages", tmp_path / "chats.jsonl")
    assert (left, none) == ({}, {})
    own = list(documents(TokenShards(folder)))
    assert len(own) == len(whole) == len(pairs) == len(chats) > 3
    for document, text, pair, chat in zip(own, whole, pairs, chats, strict=True):
        assert text["text"] == encoder.decode(document.ids)
        assert pair["prompt"] + pair["completion"] == text["text"]
        assert pair["prompt"].endswith(f"{IM_START}diff\n")
        assert pair["completion"].endswith(IM_END)
        assert "".join(encoder.decode(document.ids[document.weights > 0])) == pair["completion"]
        user, assistant = chat["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert assistant["content"] + IM_END == pair["completion"]
        assert IM_START not in user["content"]
        assert IM_END not in user["content"]
        assert {document.triple_id} == {text["id"], pair["id"], chat["id"]}


def test_what_has_no_prompt_is_counted(data: Path, tmp_path: Path) -> None:
    folder = data / "tokens/f"
    pairs, left = written(folder, "prompt-completion", tmp_path / "p.jsonl")
    assert not pairs
    assert left == {"no-prompt": len(list(documents(TokenShards(folder))))}
    texts, left = written(folder, "text", tmp_path / "t.jsonl")
    assert (len(texts), left) == (len(list(documents(TokenShards(folder)))), {})


def packed(encoder: Encoder, pieces: Iterable[tuple[str, bool]]) -> Row:
    """A row of one document of pieces, each with or without a loss."""
    ids: list[int] = []
    weights: list[float] = []
    for text, kept in pieces:
        special = encoder.special.get(text)
        own = [special] if special is not None else encoder.encode([text])[0].tolist()
        ids += own
        weights += [float(kept)] * len(own)
    one = np.ones(len(ids), np.int32)
    lengths = np.array([len(ids)], np.int32)
    labels = (("x",), (None,), ("chat",), (None,))
    return Row(np.array(ids, np.uint32), lengths, one, np.array(weights, np.float32), *labels)


def test_a_conversation_keeps_its_messages(data: Path, tmp_path: Path) -> None:
    encoder = Encoder.open(data / "tokens/d/tokenizer.json", fast=False)
    row = packed(
        encoder,
        [
            *((IM_START, False), ("user\nhi", False), (IM_END, False), ("\n", False)),
            *((IM_START, False), ("assistant\n", False), ("one\n\nü", True), (IM_END, True)),
            *(("\n", False), (IM_START, False), ("user\nmore", False), (IM_END, False)),
            *(("\n", False), (IM_START, False), ("assistant\n", False), ("two", True)),
            *((IM_END, True), ("\n", False)),
        ],
    )
    folder = tmp_path / "chat"
    folder.mkdir()
    of = Description(len(row.input_ids), encoder.hash, encoder.vocab_size, "chat", "d0")
    assert len(list(write_shards(folder, "train", [row], of))) == 1
    (folder / "tokenizer.json").write_text(encoder.text, encoding="utf-8")
    [line], left = written(folder, "messages", tmp_path / "m.jsonl")
    assert left == {}
    assert [(m["role"], m["content"]) for m in line["messages"]] == [
        ("user", "hi"),
        ("assistant", "one\n\nü"),
        ("user", "more"),
        ("assistant", "two"),
    ]
    lines, left = written(folder, "prompt-completion", tmp_path / "p.jsonl")
    assert (lines, left) == ([], {"several-answers": 1})


def test_the_command_knows_every_form(data: Path, tmp_path: Path) -> None:
    assert set(_FORMS) == set(FORMS)
    folder = data / "tokens/d"
    other = Encoder.open(folder / "tokenizer.json", fast=False)
    other.hash = "another"
    with pytest.raises(UsageError, match="made with another tokenizer"):
        write_texts(TokenShards(folder), other, "text", tmp_path / "x.jsonl")
    with pytest.raises(UsageError, match=r"ends with \.jsonl"):
        write_texts(TokenShards(folder), other, "text", tmp_path / "x.json")
