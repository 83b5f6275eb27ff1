"""Messages as people publish them, read strictly: every form that is known, and no other.

What cannot be told for certain raises a DataError that starts with the reason, a word that is
counted, and a colon.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from codeflow.documents.chat.conversation import (
    ASSISTANT,
    SYSTEM,
    TOOL,
    USER,
    Message,
    ToolCall,
)
from codeflow.documents.document import THINK, THINK_END
from codeflow.errors import DataError

_ROLES: Final = {
    "system": SYSTEM,
    "user": USER,
    "human": USER,
    "assistant": ASSISTANT,
    "gpt": ASSISTANT,
    "ai": ASSISTANT,
    "tool": TOOL,
    "observation": TOOL,
    "function": TOOL,
    "function_call": ASSISTANT,
}
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
_CUT: Final = ("length", "max_tokens")
_THOUGHTS: Final = (
    (THINK, THINK_END, "", ""),
    (
        "<|begin_of_thought|>",
        "<|end_of_thought|>",
        "<|begin_of_solution|>",
        "<|end_of_solution|>",
    ),
)
"""How reasoning stands in a text: what opens and ends it, and what follows."""


def parsed(value: Any, what: str) -> Any:
    """A value that may be written as JSON in a string."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what}: a string that is not JSON: {error}") from None


def no_constant(name: str) -> Any:
    """For `json`, which would take what is no JSON."""
    raise ValueError(f"{name} is no JSON")


def text_of(value: Any, where: str) -> str:
    """A content: a string, nothing, or parts that are all text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        if all(part.get("type", "text") == "text" for part in value):
            texts = [part.get("text") for part in value]
            if all(isinstance(text, str) for text in texts):
                return "".join(texts)
        kinds = sorted({str(part.get("type")) for part in value})
        raise DataError(f"not-text: {where} has parts of type {', '.join(kinds)[:80]}")
    raise DataError(f"not-text: {where} has a content of type {type(value).__name__}")


def messages_of(value: Any, table: bool) -> list[Message]:
    """The messages of a list of objects, in whichever of the known forms."""
    value = parsed(value, "messages")
    if not isinstance(value, list):
        raise DataError(f"messages: {type(value).__name__}, not a list")
    found: list[Message] = []
    pending: list[Any] = []  # the ids of calls that wait for their answers, in order
    for number, each in enumerate(value):
        where = f"message {number}"
        if not isinstance(each, Mapping):
            raise DataError(f"messages: {where} is a {type(each).__name__}, not an object")
        given = {key: item for key, item in each.items() if item is not None}
        message, ids = _message(given, where, table)
        if message.role == TOOL:
            _answered(given, pending, where)
        else:
            pending = ids
        found.append(message)
    return found


def _message(given: Mapping[str, Any], where: str, table: bool) -> tuple[Message, list[Any]]:
    said = given.get("role", given.get("from"))
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise DataError(f"role: {where} is of {str(said)[:40]!r}")
    names = [n for n in ("content", "value", "text", "system_prompt") if n in given]
    texts = {text_of(given[name], where) for name in names} - {""}
    if len(texts) > 1:
        raise DataError(f"two-contents: {where} says different things in {', '.join(names)}")
    content = texts.pop() if texts else ""
    if given.get("finish_reason") in _CUT:
        raise DataError(f"cut-short: {where} ended for its length")
    reasoning = ""
    calls: tuple[ToolCall, ...] = ()
    ids: list[Any] = []
    if role == ASSISTANT:
        if said == "function_call":
            calls, ids, content = (_call(parsed(content, "call"), where, table),), [None], ""
        else:
            calls, ids = _calls(given, where, table)
        content, reasoning = _thought(given, content, where)
    elif "tool_calls" in given and given["tool_calls"] not in ([], "", "[]"):
        raise DataError(f"call-role: {where} is a {role}'s and calls tools")
    return Message(role, content, reasoning, calls, _is_trained(given, where)), ids


def _answered(given: Mapping[str, Any], pending: list[Any], where: str) -> None:
    """An answer belongs to the next call that waits; where both have ids, these say so, too."""
    if not pending:
        raise DataError(f"no-call: {where} is a tool's, and no call waits for it")
    wanted, has = pending.pop(0), given.get("tool_call_id")
    if wanted and has and wanted != has:
        raise DataError(f"call-order: {where} answers {str(has)[:40]!r}, not {str(wanted)[:40]!r}")


def _thought(given: Mapping[str, Any], content: str, where: str) -> tuple[str, str]:
    """(what is said, what is thought), from a key of its own or from within the content."""
    told = {text_of(given[name], where) for name in _REASONING if name in given} - {""}
    if len(told) > 1:
        raise DataError(f"two-reasonings: {where} has different ones")
    reasoning = told.pop() if told else ""
    for opens, ends, then, last in _THOUGHTS:
        if not content.lstrip().startswith(opens):
            if ends in content and opens not in content and not reasoning:
                raise DataError(f"open-thought: {where} has {ends} and no {opens}")
            continue
        if reasoning:
            raise DataError(f"two-reasonings: {where} has one in its content, too")
        reasoning, closed, content = content.lstrip().removeprefix(opens).partition(ends)
        if not closed:
            raise DataError(f"open-thought: {where} has {opens} and no {ends}")
        content = content.strip("\r\n") if then else content.lstrip("\r\n")
        if then and content.startswith(then):
            content = content.removeprefix(then).removesuffix(last).strip("\r\n")
        return content, reasoning.strip("\r\n")
    return content, reasoning


def _calls(
    given: Mapping[str, Any], where: str, table: bool
) -> tuple[tuple[ToolCall, ...], list[Any]]:
    value = parsed(given.get("tool_calls") or [], "tool_calls")
    if "function_call" in given:  # of one call, before there were several
        value = [*value, {"function": parsed(given["function_call"], "function_call")}]
    if not isinstance(value, list):
        raise DataError(f"calls: {where} has {type(value).__name__}, not a list")
    found, ids = [], []
    for each in value:
        if not isinstance(each, Mapping):
            raise DataError(f"calls: {where} calls {str(each)[:40]!r}, no object")
        ids.append(each.get("id"))
        found.append(_call(each.get("function") or each, where, table))
    return tuple(found), ids


def _call(value: Any, where: str, table: bool) -> ToolCall:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise DataError(f"calls: {where} calls {str(value)[:40]!r}, which has no name")
    arguments = parsed(value.get("arguments", {}), "arguments")
    if not isinstance(arguments, Mapping):
        raise DataError(
            f"arguments: {where} calls {value['name'][:40]} with {type(arguments).__name__}, "
            "no object"
        )
    if table and not isinstance(value.get("arguments"), str):
        arguments = {name: item for name, item in arguments.items() if item is not None}
    return ToolCall(value["name"], dict(arguments))


def _is_trained(given: Mapping[str, Any], where: str) -> bool:
    """What the message says of its loss: `loss`, `train`, `weight` (1 is yes), `mask` (1 is no)."""
    told = set()
    for name in ("loss", "train", "weight", "mask"):
        if name not in given:
            continue
        value = given[name]
        if value not in (0, 1) or isinstance(value, str):
            raise DataError(f"loss: {where} has {name} = {str(value)[:40]!r}, neither yes nor no")
        told.add(bool(value) != (name == "mask"))
    if len(told) > 1:
        raise DataError(f"loss: {where} says both yes and no")
    return told.pop() if told else True


def tools_of(value: Any) -> Sequence[Mapping[str, Any]]:
    """Tools as a list or as JSON in a string; nothing for none."""
    value = parsed(value, "tools") if value not in (None, "") else []
    if not isinstance(value, list) or not all(isinstance(tool, Mapping) for tool in value):
        raise DataError(f"tools: {str(value)[:40]!r} is no list of objects")
    return value
