"""What is trained on against transformers: the exported template gives the same ids and mask.

A template makes text, in which a tokenizer finds markers whoever wrote them, and ours never makes a
marker of anybody's text. So the comparison takes a tokenizer and a template in both of which every
marker is spelt with letters of the private use area, which no content has: then contents are text
on both sides, unchanged, and what is compared is everything. Contents that spell no marker are
compared with the files as they are exported, too.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from codeflow.documents.chat import render as rendering
from codeflow.documents.chat.conversation import Conversation, Message, ToolCall
from codeflow.documents.chat.render import CALLS, HERMES, NEEDS, QWEN3_CODER, render
from codeflow.documents.chat.template import template
from codeflow.documents.document import NAMED, Piece
from codeflow.documents.source import Source
from codeflow.tokens.tokenizer import Encoder, train
from codeflow.tokens.turns import DROP, Turns
from conversations import HOSTILE, PLAIN, conversation

transformers = pytest.importorskip("transformers", reason="the extra `dev` is not installed")
Masked = tuple[list[int], list[int]]
SECRET = {name: f"\ue000{number}\ue001" for number, name in enumerate(NAMED)}


@functools.cache
def tokenizer() -> str:
    texts = [*PLAIN, *HOSTILE, rendering.TOOLS_BEFORE, *rendering.TOOLS_AFTER.values()]
    return train(["user assistant system " + text for text in texts] * 20, 700)


def secretly(text: str) -> str:
    """A tokenizer or a template with every marker spelt otherwise."""
    for name, secret in SECRET.items():
        text = text.replace(json.dumps(name)[1:-1], secret)
    return text


def judge(calls: str, folder: Path, spell: Callable[[str], str]) -> Any:
    """transformers, with what is exported."""
    (folder / "tokenizer.json").write_text(spell(tokenizer()), encoding="utf-8")
    path = str(folder / "tokenizer.json")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=path, chat_template=spell(template(calls))
    )


def theirs(of: Any, said: Conversation) -> Masked:
    found = of.apply_chat_template(
        said.as_messages(),
        tools=[dict(tool) for tool in said.tools] or None,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return found["input_ids"], found["assistant_masks"]


@functools.cache
def encoder() -> Encoder:
    return Encoder(tokenizer(), needs=NEEDS)


def ours(said: Conversation, calls: str) -> Masked:
    """Through what writes shards. The first token is no target anywhere."""
    turns = Turns(encoder(), 1 << 20, DROP, calls, 0.0)
    [made] = turns.encode([Source("0" * 32, "chat", said)])
    return made.ids.tolist(), [int(weight) for weight in made.weights]


def spelt(said: Conversation) -> bool:
    """Whether anything in it spells a marker."""
    whole = json.dumps([said.as_messages(), list(said.tools)], ensure_ascii=False)
    return any(name in whole for name in NAMED)


def conversations(count: int) -> Iterator[Conversation]:
    found = (conversation(seed) for seed in range(4 * count))
    trained = (said for said in found if said.trained)
    yield from (said for said, _ in zip(trained, range(count), strict=False))


def compare(count: int, calls: str, folder: Path) -> None:
    secret = judge(calls, folder, secretly)
    plain = judge(calls, folder, str)
    benign = 0
    for said in conversations(count):
        made = ours(said, calls)
        assert theirs(secret, said) == made, said
        if not spelt(said):
            benign += 1
            assert theirs(plain, said) == made, said
        text = plain.apply_chat_template(
            said.as_messages(), tools=list(said.tools) or None, tokenize=False
        )
        assert encoder().decode(made[0]) == text
    assert benign > count // 20


@pytest.mark.parametrize("calls", CALLS)
def test_ids_and_mask_are_those_of_the_template(calls: str, tmp_path: Path) -> None:
    compare(25, calls, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("calls", CALLS)
def test_ids_and_mask_of_2000_conversations(calls: str, tmp_path: Path) -> None:
    compare(1000, calls, tmp_path)


def test_what_is_generated_is_hostile() -> None:
    """Every marker is spelt in contents, reasoning, arguments, tools' answers and descriptions."""
    found = list(conversations(300))
    messages = [message for said in found for message in said.messages]
    places = {
        "content": [m.content for m in messages if m.role == "user"],
        "reply": [m.content for m in messages if m.role == "assistant"],
        "reasoning": [m.reasoning for m in messages],
        "calls": [str(m.calls) for m in messages],
        "answers": [m.content for m in messages if m.role == "tool"],
        "tools": [str(said.tools) for said in found],
    }
    for place, texts in places.items():
        whole = "".join(texts)
        assert not [name for name in NAMED if name not in whole], place
    assert any(not m.content for m in messages)
    assert any(len(said.tools) for said in found)


def test_a_marker_in_a_text_is_text(tmp_path: Path) -> None:
    """And the template's text makes the marker of it, which is why the comparison spells them."""
    said = Conversation((Message("user", "a</think>b"), Message("assistant", "<|im_end|>")))
    ids, mask = ours(said, QWEN3_CODER)
    special = encoder().special
    assert special["</think>"] not in ids
    assert ids.count(special["<|im_end|>"]) == 2
    assert sum(mask) == len(encoder().encode(["<|im_end|>"])[0]) + 1 > 2
    found, _ = theirs(judge(QWEN3_CODER, tmp_path, str), said)
    assert special["</think>"] in found
    assert found.count(special["<|im_end|>"]) == 3


# -- wrong renderings are caught by the comparison


def header_trained(said: Conversation, calls: str) -> Masked:
    return _weighing(said, calls, lambda p: p.text == "assistant\n")


def end_untrained(said: Conversation, calls: str) -> Masked:
    return _weighing(said, calls, lambda p: p.special and p.text == "<|im_end|>", 0)


def line_end_trained(said: Conversation, calls: str) -> Masked:
    return _weighing(said, calls, lambda p: p.text == "\n" and not p.special)


def tools_trained(said: Conversation, calls: str) -> Masked:
    kept = [m.role for m in said.messages]
    weights = [1.0 if role == "tool" else None for role in kept]
    return _joined(render(said, calls, 0.0), weights)


def shifted(said: Conversation, calls: str) -> Masked:
    ids, mask = ours(said, calls)
    return ids, [0, *mask[:-1]]


def shifted_back(said: Conversation, calls: str) -> Masked:
    ids, mask = ours(said, calls)
    return ids, [*mask[1:], 0]


def reasoning_lost(said: Conversation, calls: str) -> Masked:
    messages = tuple(replace(m, reasoning="") for m in said.messages)
    return ours(replace(said, messages=messages), calls)


def calls_lost(said: Conversation, calls: str) -> Masked:
    messages = tuple(replace(m, calls=()) for m in said.messages)
    return ours(replace(said, messages=messages), calls)


def tools_lost(said: Conversation, calls: str) -> Masked:
    return ours(replace(said, tools=()), calls)


def all_trained(said: Conversation, calls: str) -> Masked:
    return ours(replace(said, messages=tuple(replace(m, loss=True) for m in said.messages)), calls)


def markers_smuggled(said: Conversation, calls: str) -> Masked:
    """Contents encoded with the tokenizer as it is."""
    from tokenizers import Tokenizer

    full = Tokenizer.from_str(tokenizer())
    pieces = [piece for message in render(said, calls, 0.0) for piece in message]
    ids = [full.encode(piece.text).ids for piece in pieces]
    mask = [[int(p.weight)] * len(part) for p, part in zip(pieces, ids, strict=True)]
    return list(chain(*ids)), list(chain(*mask))


def blank_lines_kept(said: Conversation, calls: str) -> Masked:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "unstarted", lambda text: text)
        return ours(said, calls)


def other_calls(said: Conversation, calls: str) -> Masked:
    return ours(said, HERMES if calls == QWEN3_CODER else QWEN3_CODER)


def _weighing(
    said: Conversation, calls: str, chosen: Callable[[Piece], bool], weight: float = 1
) -> Masked:
    messages = render(said, calls, 0.0)
    changed = [[p._replace(weight=weight) if chosen(p) else p for p in m] for m in messages]
    return _joined(changed, [None] * len(messages))


def _joined(messages: list[list[Piece]], weights: list[float | None]) -> Masked:
    ids: list[int] = []
    mask: list[int] = []
    for pieces, weight in zip(messages, weights, strict=True):
        for piece in pieces:
            name = encoder().special.get(piece.text) if piece.special else None
            part = encoder().encode([piece.text])[0].tolist() if name is None else [name]
            ids += part
            mask += [int(piece.weight if weight is None else weight)] * len(part)
    return ids, mask


WRONG = (
    header_trained,
    end_untrained,
    line_end_trained,
    tools_trained,
    shifted,
    shifted_back,
    reasoning_lost,
    calls_lost,
    tools_lost,
    all_trained,
    markers_smuggled,
    blank_lines_kept,
    other_calls,
)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Conversation, Masked]]:
    of = judge(QWEN3_CODER, tmp_path_factory.mktemp("judge"), secretly)
    return [(said, theirs(of, said)) for said in conversations(40)]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_rendering_is_caught(
    judged: list[tuple[Conversation, Masked]], wrong: Callable[[Conversation, str], Masked]
) -> None:
    assert all(ours(said, QWEN3_CODER) == found for said, found in judged)
    assert any(wrong(said, QWEN3_CODER) != found for said, found in judged)


# -- the template on its own


def test_the_prompt_of_a_reply_is_what_stands_before_it(tmp_path: Path) -> None:
    of = judge(QWEN3_CODER, tmp_path, str)
    said = Conversation((Message("user", "why?"), Message("assistant", "so", "hm")))
    prompt = of.apply_chat_template(
        said.as_messages()[:1], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    ids, mask = ours(said, QWEN3_CODER)
    assert ids[: len(prompt)] == prompt
    assert mask[len(prompt) - 1 : len(prompt) + 1] == [0, 1]
    assert ids[len(prompt)] == encoder().special["<think>"], "the model writes it itself"


def test_calls_are_what_engines_look_for() -> None:
    """mlx-lm tells the parser by these texts in the template; vLLM's read these formats."""
    assert "<tool_call>\\n<function=" in template(QWEN3_CODER)
    assert "<tool_call>\\n<function=" not in template(HERMES)
    assert "tool_call.name" in template(HERMES)
    reply = Message("assistant", "on it", calls=(ToolCall("f", {"a": "x\ny", "b": [1]}),))
    for calls, text in (
        (
            QWEN3_CODER,
            "on it\n<tool_call>\n<function=f>\n<parameter=a>\nx\ny\n</parameter>\n<parameter=b>\n"
            "[1]\n</parameter>\n</function>\n</tool_call><|im_end|>\n",
        ),
        (
            HERMES,
            'on it\n<tool_call>\n{"name": "f", "arguments": {"a": "x\\ny", "b": [1]}}\n'
            "</tool_call><|im_end|>\n",
        ),
    ):
        [pieces] = render(Conversation((reply,)), calls, 0.0)
        assert "".join(piece.text for piece in pieces) == f"<|im_start|>assistant\n{text}"


def test_the_template_refuses_a_late_system_message(tmp_path: Path) -> None:
    of = judge(HERMES, tmp_path, str)
    with pytest.raises(Exception, match="has to be the first"):
        of.apply_chat_template(
            [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}], tokenize=False
        )
