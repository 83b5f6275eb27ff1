"""The one rendering of a conversation: ChatML in pieces, each with the weight of its loss.

    <|im_start|>system            the first message, and the tools
    <|im_start|>user              what is asked; what tools answer, in <tool_response>
    <|im_start|>assistant         [<think> reasoning </think>] text [<tool_call> calls </tool_call>]

Weight 1 goes from behind `assistant\n` up to and including `<|im_end|>` of the turns that are
trained, so the mask needs no template and no offsets. A marker is a piece of its own, and only
where the rendering means one: what a text spells stays text. Pieces that follow each other are cut
where the tokenizer cuts anyway, so encoding them one by one gives the ids of the whole text. The
one place where that is not so, a reply that begins with line ends, loses these.

`template` is the same as a chat template, for engines and trainers; both are held together by a
test that compares ids and masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from codeflow.documents.chat.conversation import (
    ASSISTANT,
    SYSTEM,
    TOOL,
    USER,
    Conversation,
    Message,
    ToolCall,
    as_json,
    written,
)
from codeflow.documents.document import (
    END_OF_TEXT,
    IM_END,
    IM_START,
    MARKERS,
    THINK,
    THINK_END,
    TOOL_CALL,
    TOOL_CALL_END,
    TOOL_RESPONSE,
    TOOL_RESPONSE_END,
    Piece,
)

QWEN3_CODER: Final = "qwen3_coder"
HERMES: Final = "hermes"
CALLS: Final = (QWEN3_CODER, HERMES)
"""How calls are written, by the name of the parser that engines have for it."""
NEEDS: Final = (END_OF_TEXT, IM_START, IM_END, *MARKERS)
"""What a tokenizer has to have for conversations; the first pads rows."""

TOOLS_BEFORE: Final = (
    "# Tools\n\nYou may call functions. Their signatures, in <tools></tools>:\n<tools>"
)
TOOLS_AFTER: Final = {
    QWEN3_CODER: (
        "\n</tools>\n\nWrite each call in this format, values as they are and nothing behind the "
        "last call:\n<tool_call>\n<function=name>\n<parameter=first_parameter>\nits value, on as "
        "many lines as it has\n</parameter>\n<parameter=second_parameter>\nits value\n"
        "</parameter>\n</function>\n</tool_call>"
    ),
    HERMES: (
        "\n</tools>\n\nWrite each call as a JSON object in this format and nothing behind the last "
        'call:\n<tool_call>\n{"name": name, "arguments": arguments}\n</tool_call>'
    ),
}
_MARKER = re.compile("(" + "|".join(map(re.escape, MARKERS)) + ")")


def render(conversation: Conversation, calls: str, rest: float) -> list[list[Piece]]:
    """The pieces of each message; put together they are the document.

    Args:
        calls: of `CALLS`.
        rest: weight of what no trained turn says.
    """
    messages = list(conversation.messages)
    if conversation.tools and messages[0].role != SYSTEM:
        messages.insert(0, Message(SYSTEM, ""))
    found: list[list[Piece]] = []
    for number, message in enumerate(messages):
        weight = rest if message.loss else 0.0
        if message.role == ASSISTANT:
            pieces = _reply(message, calls, weight)
        elif message.role == TOOL:
            opens = messages[number - 1].role != TOOL
            closes = number + 1 == len(messages) or messages[number + 1].role != TOOL
            pieces = _response(message, weight, opens, closes)
        else:
            tools = conversation.tools if message.role == SYSTEM else ()
            said = _told(message.content, tools, calls) if tools else [message.content]
            pieces = _turn(message.role, said, weight)
        found.append([piece for piece in pieces if piece.text])
    if len(messages) > len(conversation.messages):
        found[:2] = [found[0] + found[1]]
    return found


def _turn(role: str, said: Iterable[str | Piece], weight: float) -> Iterator[Piece]:
    """A turn without a reply's weights; texts that follow each other become one."""
    yield Piece(IM_START, weight, special=True)
    text = f"{role}\n"
    for part in said:
        if isinstance(part, str):
            text += part
        else:
            yield Piece(text, weight)
            yield part._replace(weight=weight)
            text = ""
    yield Piece(text, weight)
    yield Piece(IM_END, weight, special=True)
    yield Piece("\n", weight)


def _told(content: str, tools: Iterable[object], calls: str) -> Iterator[str | Piece]:
    """A system message with the tools that may be called."""
    if content:
        yield f"{content}\n\n"
    before, after = instructions(calls)
    yield from before
    for tool in tools:
        yield f"\n{as_json(tool)}"
    yield from after


@cache
def instructions(calls: str) -> tuple[tuple[str | Piece, ...], tuple[str | Piece, ...]]:
    """What stands before and behind the tools; markers in it are markers."""
    return tuple(_marked(TOOLS_BEFORE)), tuple(_marked(TOOLS_AFTER[calls]))


def _marked(text: str) -> Iterator[str | Piece]:
    for number, part in enumerate(_MARKER.split(text)):
        yield Piece(part, 0.0, special=True) if number % 2 else part


def _reply(message: Message, calls: str, rest: float) -> Iterator[Piece]:
    weight = float(message.loss)
    yield Piece(IM_START, rest, special=True)
    yield Piece(f"{ASSISTANT}\n", rest)
    said = message.content if message.reasoning else unstarted(message.content)
    if message.reasoning:
        yield Piece(THINK, weight, special=True)
        yield Piece(f"\n{message.reasoning}\n", weight)
        yield Piece(THINK_END, weight, special=True)
    text = f"\n\n{said}" if message.reasoning else said
    for number, call in enumerate(message.calls):
        between = "\n" if number or said else ""
        yield Piece(f"{text}{between}", weight)
        yield Piece(TOOL_CALL, weight, special=True)
        yield Piece(f"\n{_called(call, calls)}\n", weight)
        yield Piece(TOOL_CALL_END, weight, special=True)
        text = ""
    yield Piece(text, weight)
    yield Piece(IM_END, weight, special=True)
    yield Piece("\n", rest)


def unstarted(text: str) -> str:
    """A text without the blank lines that it begins with. Its first line stays as it is indented;
    of a blank text nothing stays.

    The line end behind `assistant` and one that follows are one token, half of which is trained.
    """
    told = text.lstrip()
    blank = text[: len(text) - len(told)]
    return blank.replace("\r", "\n").rpartition("\n")[2] + told if told else ""


def _called(call: ToolCall, calls: str) -> str:
    if calls == HERMES:
        return f'{{"name": {as_json(call.name)}, "arguments": {as_json(dict(call.arguments))}}}'
    told = "".join(
        f"<parameter={name}>\n{written(value)}\n</parameter>\n"
        for name, value in call.arguments.items()
    )
    return f"<function={call.name}>\n{told}</function>"


def _response(message: Message, weight: float, opens: bool, closes: bool) -> Iterator[Piece]:
    """What a tool answered; answers that follow each other share a turn."""
    if opens:
        yield Piece(IM_START, weight, special=True)
        yield Piece(f"{USER}\n", weight)
    yield Piece(TOOL_RESPONSE, weight, special=True)
    yield Piece(f"\n{message.content}\n", weight)
    yield Piece(TOOL_RESPONSE_END, weight, special=True)
    if closes:
        yield Piece(IM_END, weight, special=True)
    yield Piece("\n", weight)
