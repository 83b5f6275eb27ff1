"""Public schemas: a small row of each is read as it was meant, and what is malformed is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from codeflow.documents.chat.conversation import Conversation, Message, ToolCall
from codeflow.documents.read.files import Row
from codeflow.documents.read.schemas import SCHEMAS, Reading
from codeflow.errors import DataError, UsageError

ASK = {"role": "user", "content": "why?"}
SAY = {"role": "assistant", "content": "so"}
CALL = {"id": "c1", "type": "function", "function": {"name": "ls", "arguments": '{"p": "."}'}}
TOOLS = [{"type": "function", "function": {"name": "ls", "parameters": {}}}]


def read(values: dict[str, Any], kind: str = "chat", table: bool = False, **how: Any) -> Any:
    return Reading(kind, **how).source(Row("f:1", values, table)).said


def talk(*messages: Message, tools: Any = ()) -> Conversation:
    return Conversation(messages, tuple(tools))


WHY = Message("user", "why?")
SO = Message("assistant", "so")
LS = Message("assistant", "", calls=(ToolCall("ls", {"p": "."}),))
PUBLIC: dict[str, tuple[str, dict[str, Any], Any]] = {
    "text": ("text", {"text": "words\n"}, "words\n"),
    "datatrove": (
        "text",
        {"text": "web", "id": "u", "metadata": {"language": "en", "dataset": "CC-1"}},
        "web",
    ),
    "dolma": (
        "text",
        {"id": "1", "text": "web", "source": "c4", "added": "x", "created": "y", "metadata": {}},
        "web",
    ),
    "messages": (
        "chat",
        {
            "messages": [ASK, {**SAY, "content": None, "tool_calls": [CALL]},
                         {"role": "tool", "content": "f", "tool_call_id": "c1"}, SAY],
            "tools": json.dumps(TOOLS),
        },
        talk(WHY, LS, Message("tool", "f"), SO, tools=TOOLS),
    ),
    "prompt-completion": ("chat", {"prompt": [ASK], "completion": [SAY]}, talk(WHY, SO)),
    "question-answer": ("qa", {"question": "why?", "answer": "so"}, talk(WHY, SO)),
    "sharegpt": (
        "chat",
        {
            "system": "Be brief.",
            "conversations": [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "so"}],
        },
        talk(Message("system", "Be brief."), WHY, SO),
    ),
    "openthoughts": (
        "chat",
        {
            "system": "",
            "conversations": [
                {"from": "user", "value": "why?"},
                {
                    "from": "assistant",
                    "value": "<|begin_of_thought|>\n\nhm\n\n<|end_of_thought|>\n\n"
                    "<|begin_of_solution|>\n\nso\n\n<|end_of_solution|>",
                },
            ],
        },
        talk(WHY, Message("assistant", "so", "hm")),
    ),
    "opencodereasoning": (
        "qa",
        {"id": "7", "input": "why?", "output": "<think>\nhm\n</think>\nso", "solution": "so",
         "source": "atcoder", "license": "cc-by-4.0"},
        talk(WHY, Message("assistant", "so", "hm")),
    ),
    "nebius": (
        "trajectory",
        {
            "instance_id": "a__b-1", "resolved": True, "exit_status": "submitted",
            "tools": TOOLS,
            "trajectory": [
                {"role": "system", "content": "Fix.", "tool_calls": None, "name": None},
                {**ASK, "tool_calls": None},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "f", "tool_call_id": "c1", "name": "ls"},
                {"role": "assistant", "content": "so", "mask": True},
                {"role": "user", "content": "why?"},
                {"role": "ai", "text": "so", "content": None, "mask": False},
            ],
        },
        talk(
            Message("system", "Fix."), WHY, LS, Message("tool", "f"),
            Message("assistant", "so", loss=False), WHY, SO, tools=TOOLS,
        ),
    ),
    "swe-smith": (
        "trajectory",
        {
            "instance_id": "x", "resolved": False,
            "messages": json.dumps(
                [{"role": "user", "content": [{"type": "text", "text": "why?"}]}, SAY]
            ),
        },
        talk(WHY, SO),
    ),
    "mini-swe-agent": (
        "trajectory",
        {
            "trajectory_format": "mini-swe-agent-1", "info": {"exit_status": "Submitted"},
            "messages": [ASK, {**SAY, "extra": {"cost": 1}}, {"role": "exit", "content": "diff"}],
        },
        talk(WHY, SO),
    ),
}  # fmt: skip


def test_every_schema_has_its_row() -> None:
    assert PUBLIC.keys() == SCHEMAS.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_schema_is_read(name: str) -> None:
    kind, values, said = PUBLIC[name]
    assert read(values, kind, schema=name) == said


@pytest.mark.parametrize(
    "name", ["text", "messages", "prompt-completion", "question-answer", "sharegpt", "nebius"]
)
def test_columns_tell_a_schema_where_they_leave_no_doubt(name: str) -> None:
    kind, values, said = PUBLIC[name]
    assert read(values, kind) == said


def test_labels() -> None:
    for name, found in (
        ("datatrove", ("en", None, "CC-1", "u")),
        ("dolma", (None, None, "c4", "1")),
        ("opencodereasoning", (None, "cc-by-4.0", "atcoder", "7")),
        ("nebius", (None, None, None, "a__b-1")),
    ):
        kind, values, _ = PUBLIC[name]
        source = Reading(kind, name).source(Row("f:1", values, False))
        assert (source.language, source.license, source.origin, source.name) == found
    source = Reading("text", columns={"text": "body", "language": "lang", "source": "a.b"}).source(
        Row("f:1", {"body": "x", "lang": "de", "a": {"b": "here"}, "source": "no"}, False)
    )
    assert (source.said, source.language, source.origin) == ("x", "de", "here")


def test_columns_say_what_no_schema_does() -> None:
    row = {"q": "why?", "a": "so", "cot": "hm", "question": "another"}
    columns = {"question": "q", "answer": "a", "reasoning": "cot"}
    assert read(row, "qa", columns=columns) == talk(WHY, Message("assistant", "so", "hm"))


def test_reasoning_in_every_place() -> None:
    wanted = talk(WHY, Message("assistant", "so", "hm"))
    for reply in (
        {**SAY, "reasoning_content": "hm"},
        {**SAY, "reasoning": "hm"},
        {**SAY, "thinking": "hm"},
        {**SAY, "content": "<think>\nhm\n</think>\n\nso"},
        {**SAY, "content": "\n<think>hm</think>so"},
    ):
        assert read({"messages": [ASK, reply]}) == wanted
    text = "about <think> and </think>"
    assert read({"messages": [ASK, {**SAY, "content": text}]}) == talk(
        WHY, Message("assistant", text)
    )
    user = {"role": "user", "content": "<think>not mine</think>"}
    assert read({"messages": [user, SAY]}).messages[0].content == user["content"]


def test_nulls_of_tables_are_absent_and_those_of_json_are_values() -> None:
    call = {"name": "f", "arguments": {"a": None, "b": 1}}
    row = {"messages": [ASK, {**SAY, "tool_calls": [{"function": call, "id": None}]}]}
    assert read(row, table=True).messages[1].calls == (ToolCall("f", {"b": 1}),)
    assert read(row, table=False).messages[1].calls == (ToolCall("f", {"a": None, "b": 1}),)


def test_equal_contents_have_one_identity() -> None:
    one = Reading("chat").source(Row("a", {"messages": [ASK, SAY], "source": "x"}, False))
    two = Reading("qa").source(Row("b", {"question": "why?", "answer": "so"}, False))
    other = Reading("qa").source(Row("b", {"question": "why?", "answer": "so."}, False))
    assert one.id == two.id != other.id


def m(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def called(**call: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": [call]}


F = {"name": "f", "arguments": {}}
IMAGE = {"type": "image"}
TOOL = {"role": "tool", "content": "x"}
MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("columns: a, b: are of no known schema", {"a": 1, "b": 2}),
    ("columns: none: are of no known schema", {}),
    ("could be messages or question-answer", m(ASK, SAY, question="q", answer="a")),
    ("messages: a string that is not JSON", {"messages": "[{"}),
    ("messages: dict, not a list", {"messages": {"role": "user"}}),
    ("messages: message 0 is a str", m("hi", SAY)),
    ("no-messages: ", m()),
    ("nothing-trained: ", m(ASK)),
    ("nothing-trained: ", m(ASK, {**SAY, "loss": False})),
    ("role: message 0 is of 'developer'", m({"role": "developer", "content": "x"}, SAY)),
    ("role: message 0 is of 'None'", m({"content": "x"}, SAY)),
    ("role: message 0 is of '7'", m({"role": 7, "content": "x"}, SAY)),
    ("system-late: message 2", m(ASK, SAY, {"role": "system", "content": "x"}, SAY)),
    ("two-replies: messages 1 and 2", m(ASK, SAY, SAY)),
    ("no-call: message 1", m(ASK, TOOL, SAY)),
    ("no-call: message 3", m(ASK, called(function=F), TOOL, TOOL, SAY)),
    ("no-call: message 3", m(ASK, called(function=F), ASK, TOOL, SAY)),
    (
        "call-order: message 2 answers 'b', not 'a'",
        m(ASK, called(function=F, id="a"), {**TOOL, "tool_call_id": "b"}, SAY),
    ),
    ("arguments: message 1 calls f with list", m(ASK, called(name="f", arguments=[1]))),
    ("arguments: message 1 calls f with str", m(ASK, called(name="f", arguments='"x"'))),
    ("arguments: a string that is not JSON", m(ASK, called(name="f", arguments="{"))),
    ("arguments: a string that is not JSON: NaN", m(ASK, called(name="f", arguments='{"a": NaN}'))),
    ("arguments: not JSON", m(ASK, called(name="f", arguments={"at": datetime.now(UTC)}))),
    ("arguments: not JSON", m(ASK, called(name="f", arguments={"x": float("inf")}))),
    ("calls: message 1 calls", m(ASK, called(arguments={}))),
    ("calls: message 1 calls 'ls'", m(ASK, {**SAY, "tool_calls": ["ls"]})),
    ("calls: message 1 has dict", m(ASK, {**SAY, "tool_calls": {"name": "f"}})),
    ("call-name: message 1 has 'a b'", m(ASK, called(name="a b"))),
    ("call-name: message 1 has 'x>'", m(ASK, called(name="f", arguments={"x>": 1}))),
    (
        "ambiguous-call: message 1 calls f with </parameter>",
        m(ASK, called(name="f", arguments={"x": "a</parameter>b"})),
    ),
    ("call-role: message 0 is a user's", m({**ASK, "tool_calls": [F]}, SAY)),
    ("empty-reply: message 1", m(ASK, {**SAY, "content": None})),
    ("empty-reply: message 1", m(ASK, {**SAY, "content": "", "reasoning": "hm"})),
    ("cut-short: message 1", m(ASK, {**SAY, "finish_reason": "length"})),
    ("open-thought: message 1 has <think> and no </think>", m(ASK, {**SAY, "content": "<think>x"})),
    ("open-thought: message 1 has </think> and no", m(ASK, {**SAY, "content": "x</think>y"})),
    ("two-reasonings: message 1", m(ASK, {**SAY, "reasoning": "a", "thinking": "b"})),
    (
        "two-reasonings: message 1",
        m(ASK, {**SAY, "reasoning": "a", "content": "<think>b</think>c"}),
    ),
    ("two-contents: message 0", m({**ASK, "text": "other"}, SAY)),
    (
        "not-text: message 0 has parts of type image",
        m({**ASK, "content": [IMAGE]}, SAY),
    ),
    ("not-text: message 0 has a content of type int", m({**ASK, "content": 3}, SAY)),
    ("loss: message 1 has weight = '0.5'", m(ASK, {**SAY, "weight": 0.5})),
    ("loss: message 1 says both", m(ASK, {**SAY, "loss": True, "mask": 1})),
    ("two-systems: ", {"system": "a", "conversations": [{"from": "system", "value": "b"}]}),
    ("tools: a string that is not JSON", m(ASK, SAY, tools="x")),
    ("tools: ", m(ASK, SAY, tools=["ls"])),
    ("not-unicode: ", m({**ASK, "content": "\ud83d"}, SAY)),
    ("not-unicode: ", m(ASK, SAY, tools=[{"name": "\udc00"}])),
    ("no-question: blank", {"question": " ", "answer": "a"}),
    ("not-text: what is asked and answered are str and list", {"prompt": "a", "completion": [SAY]}),
]


@pytest.mark.parametrize(("reason", "values"), MALFORMED)
def test_what_is_malformed_is_told_in_a_line(reason: str, values: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        read(values)
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message
    assert " " not in message.partition(":")[0], "the reason is one word"


def test_there_are_forty() -> None:
    assert len(MALFORMED) >= 40


@pytest.mark.parametrize("values", [{"text": ""}, {"text": " \n"}, {"text": 3}, {"body": "x"}])
def test_a_text_is_a_text(values: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^(empty|no)-text: "):
        read(values, "text")


def test_what_hermes_can_say_is_no_ambiguity() -> None:
    row = m(ASK, called(name="f", arguments={"x": "a</parameter>b"}))
    assert read(row, xml=False).messages[1].calls[0].arguments == {"x": "a</parameter>b"}


def test_wrong_words_are_usage_errors() -> None:
    for how, message in (
        ({"kind": "book"}, "--as book: choose of text"),
        ({"kind": "chat", "schema": "x"}, "--schema x: choose of"),
        ({"kind": "text", "schema": "nebius"}, "is read --as trajectory, chat"),
        ({"kind": "qa", "columns": {"quest": "q"}}, "--columns quest=…: choose of"),
    ):
        with pytest.raises(UsageError, match=message):
            Reading(**how)
