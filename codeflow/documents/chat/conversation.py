"""A conversation as all readers make it and the one rendering takes it.

It holds what can be represented and nothing else: the reasons for which `checked` refuses a
conversation are the words under which a reader counts it. Nothing is repaired, since a guess that
is wrong in one of a thousand conversations is trained on like the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from codeflow.errors import DataError

SYSTEM: Final = "system"
USER: Final = "user"
ASSISTANT: Final = "assistant"
TOOL: Final = "tool"
ROLES: Final = (SYSTEM, USER, ASSISTANT, TOOL)

_NAME = re.compile(r"[^\s<>=\"'/]+")
_CLOSES = ("</parameter>", "<parameter=", "</function>")


class ToolCall(NamedTuple):
    """A call of a tool. `arguments` are plain JSON values by name, in the order written."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One turn.

    Attributes:
        role: of `ROLES`.
        reasoning: of an assistant, what it thinks before it answers; empty for none.
        calls: of an assistant.
        loss: whether an assistant's turn is trained on; False weighs it, or anything else, 0
            whatever the loss.
    """

    role: str
    content: str
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    loss: bool = True


@dataclass(frozen=True)
class Conversation:
    """Messages, and the tools that may be called in them, each a JSON object as APIs take it."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def trained(self) -> list[int]:
        """The numbers of the turns that are trained on."""
        return [n for n, m in enumerate(self.messages) if m.role == ASSISTANT and m.loss]

    def as_messages(self) -> list[dict[str, Any]]:
        """The messages as chat templates, APIs and trainers take them."""
        return [_plain(message) for message in self.messages]

    def turns(self) -> Iterator[Conversation]:
        """For `history = "strip"`: one conversation for each trained turn, which ends with it, and
        in which no earlier turn is trained or shows its reasoning."""
        for last in self.trained:
            before = (replace(m, reasoning="", loss=False) for m in self.messages[:last])
            yield replace(self, messages=(*before, self.messages[last]))


def _plain(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        found["reasoning_content"] = message.reasoning
    if message.calls:
        found["tool_calls"] = [
            {"type": "function", "function": {"name": c.name, "arguments": dict(c.arguments)}}
            for c in message.calls
        ]
    if not message.loss:
        found["loss"] = False
    return found


def checked(conversation: Conversation, *, xml: bool) -> Conversation:
    """The conversation, if it can be represented.

    Args:
        xml: whether calls are written as `qwen3_coder` reads them, values as they stand; one that
            spells the end of a value could not be told from it.

    Raises:
        DataError: a reason of one or two words, then what is wrong, behind a colon.
    """
    messages = conversation.messages
    if not messages:
        raise DataError("no-messages: there is none")
    if not conversation.trained:
        raise DataError("nothing-trained: no assistant's turn in it")
    calls = answered = 0  # of the last assistant turn, if only tools have spoken since
    for number, message in enumerate(messages):
        where = f"message {number}"
        if message.role not in ROLES:
            raise DataError(f"role: {where} is of {message.role!r}, not of {', '.join(ROLES)}")
        if message.role == SYSTEM and number:
            raise DataError(f"system-late: {where} is a system message behind others")
        if message.role == ASSISTANT and number and messages[number - 1].role == ASSISTANT:
            raise DataError(f"two-replies: messages {number - 1} and {number} are both replies")
        if message.role == TOOL:
            answered += 1
            if answered > calls:
                raise DataError(f"no-call: {where} is a tool's, and nothing called it")
        else:
            calls, answered = len(message.calls), 0
        if message.role != ASSISTANT and (message.calls or message.reasoning):
            raise DataError(f"role: {where} is a {message.role}'s and has calls or reasoning")
        if message.role == ASSISTANT and message.loss and not (message.content or message.calls):
            raise DataError(f"empty-reply: {where} neither says nor calls anything")
        for call in message.calls:
            _check_call(call, where, xml)
    return conversation


def _check_call(call: ToolCall, where: str, xml: bool) -> None:
    for name in (call.name, *call.arguments):
        if not _NAME.fullmatch(name):
            raise DataError(f"call-name: {where} has {name[:40]!r}, which is no name")
    if not xml:
        return
    for name, value in call.arguments.items():
        closing = next((c for c in _CLOSES if c in written(value)), None)
        if closing is not None:
            raise DataError(
                f"ambiguous-call: {where} calls {call.name} with {closing} in its {name}"
            )


def written(value: Any) -> str:
    """An argument as `qwen3_coder` has it: a text as it stands, anything else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """JSON as chat templates write it (`tojson` of transformers)."""
    return json.dumps(value, ensure_ascii=False)


def objects(values: Sequence[Any]) -> tuple[Mapping[str, Any], ...]:
    """Tools, checked to be JSON objects. Raises DataError."""
    for value in values:
        if not isinstance(value, Mapping):
            raise DataError(f"tools: {str(value)[:40]!r} is no object")
    return tuple(values)
