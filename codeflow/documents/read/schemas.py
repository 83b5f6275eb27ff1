"""Which columns mean what: public schemas by name, and one row as a source.

A schema maps our columns to theirs. `--columns question=input,answer=output` says the same for
anything else; without either, a schema is chosen by the columns of a row, and only where they leave
no doubt. Columns that nobody asked for are not looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from codeflow.documents.chat.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Conversation,
    Message,
    checked,
)
from codeflow.documents.read.files import Row
from codeflow.documents.read.messages import messages_of, parsed, text_of, tools_of
from codeflow.documents.source import CHAT, KINDS, QA, TEXT, TRAJECTORY, Source
from codeflow.errors import DataError, UsageError

_LABELS: Final = {
    "id": ("instance_id", "id", "_id", "problem_id"),
    "language": ("language", "lang", "programming_language"),
    "license": ("license", "license_type", "detected_licenses"),
    "source": ("source", "dataset", "origin"),
}
"""Where labels are looked for unless a column is given; also in `metadata`."""
_SAID: Final = ("text", "messages", "trajectory", "conversations", "prompt", "question")
OURS: Final = (*_SAID, "completion", "answer", "reasoning", "system", "tools", *_LABELS)
_TALK: Final = (CHAT, QA, TRAJECTORY)


@dataclass(frozen=True)
class Schema:
    """Attributes:
    kinds: of `KINDS`, what rows of it can be.
    columns: theirs by ours, one of `OURS`; a dot goes into an object.
    ends: roles of last messages that are a program's notes and not said.
    """

    kinds: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    ends: tuple[str, ...] = ()


_MESSAGES = Schema(_TALK, {"messages": "messages", "tools": "tools"})
_SHAREGPT = Schema(_TALK, {"conversations": "conversations", "system": "system", "tools": "tools"})
SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "text": Schema((TEXT,), {"text": "text"}),
        "datatrove": Schema((TEXT,), {"text": "text", "source": "metadata.dataset"}),
        "dolma": Schema((TEXT,), {"text": "text", "source": "source"}),
        "messages": _MESSAGES,
        "prompt-completion": Schema(
            _TALK, {"prompt": "prompt", "completion": "completion", "tools": "tools"}
        ),
        "question-answer": Schema(_TALK, {"question": "question", "answer": "answer"}),
        "sharegpt": _SHAREGPT,
        "openthoughts": _SHAREGPT,
        "opencodereasoning": Schema(
            (QA, CHAT), {"question": "input", "answer": "output", "source": "source"}
        ),
        "nebius": Schema((TRAJECTORY, CHAT), {"trajectory": "trajectory", "tools": "tools"}),
        "swe-smith": _MESSAGES,
        "mini-swe-agent": Schema(
            (TRAJECTORY, CHAT), {"messages": "messages", "tools": "tools"}, ends=("exit",)
        ),
    }
)
_CHOSEN: Final = ("messages", "nebius", "sharegpt", "prompt-completion", "question-answer")


@dataclass(frozen=True)
class Reading:
    """How rows become sources.

    Attributes:
        kind: of `KINDS`.
        schema: of `SCHEMAS`; empty for the one that a row's columns tell.
        columns: theirs by ours, in place of a schema's.
        xml: see `checked`.
    """

    kind: str
    schema: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    xml: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"--as {self.kind}: choose of {', '.join(KINDS)}")
        if self.schema and self.schema not in SCHEMAS:
            raise UsageError(f"--schema {self.schema}: choose of {', '.join(SCHEMAS)}")
        if self.schema and self.kind not in SCHEMAS[self.schema].kinds:
            kinds = ", ".join(SCHEMAS[self.schema].kinds)
            raise UsageError(f"--schema {self.schema}: is read --as {kinds}, not {self.kind}")
        for ours in self.columns:
            if ours not in OURS:
                raise UsageError(f"--columns {ours}=…: choose of {', '.join(OURS)}")

    def source(self, row: Row) -> Source:
        """The source that a row is. Raises DataError with the reason first."""
        schema = self._schema(row.values)
        columns = {**schema.columns, **self.columns}
        values = {ours: _at(row.values, theirs) for ours, theirs in columns.items()}
        if self.kind == TEXT:
            said: Conversation | str = _text(values, columns)
        else:
            said = checked(_conversation(values, row.table, schema.ends), xml=self.xml)
        labels = {name: _label(row.values, name, columns) for name in _LABELS}
        return Source(
            identity(said),
            self.kind,
            said,
            labels["language"],
            labels["license"],
            labels["source"],
            labels["id"] or "",
        )

    def _schema(self, row: Mapping[str, Any]) -> Schema:
        if self.schema:
            return SCHEMAS[self.schema]
        if self.kind == TEXT:
            return SCHEMAS["text"]
        if set(self.columns) & set(_SAID):
            return Schema(_TALK)
        fit = [name for name in _CHOSEN if _fits(SCHEMAS[name], row)]
        if len(fit) == 1:
            return SCHEMAS[fit[0]]
        told = ", ".join(sorted(map(str, row))[:12]) or "none"
        which = f"could be {' or '.join(fit)}" if fit else "are of no known schema"
        raise DataError(f"columns: {told}: {which}; give --schema or --columns")


def _fits(schema: Schema, row: Mapping[str, Any]) -> bool:
    optional = ("system", "tools", *_LABELS)
    needed = [theirs for ours, theirs in schema.columns.items() if ours not in optional]
    return all(row.get(theirs) is not None for theirs in needed)


def _at(row: Mapping[str, Any], path: str) -> Any:
    """A column, or what lies within one that is an object."""
    value: Any = row.get(path)
    if value is None and "." in path:
        value = row
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _label(row: Mapping[str, Any], name: str, columns: Mapping[str, str]) -> str | None:
    names = (columns[name],) if name in columns else _LABELS[name]
    metadata = row.get("metadata")
    for place in (row, metadata if isinstance(metadata, Mapping) else {}):
        for theirs in names:
            value = _at(place, theirs)
            if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
                value = " AND ".join(value)  # licences of one text
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if isinstance(value, str) and value:
                return _unicode(value)
    return None


def _text(values: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    text = values.get("text")
    if not isinstance(text, str):
        raise DataError(f"no-text: column {columns.get('text')!r} is {type(text).__name__}")
    if not text.strip():
        raise DataError("empty-text: blank")
    return _unicode(text)


def _conversation(values: Mapping[str, Any], table: bool, ends: tuple[str, ...]) -> Conversation:
    given = [name for name in _SAID if values.get(name) is not None]
    if len(given) != 1:
        raise DataError(f"columns: {', '.join(given) or 'nothing'} is said; one has to be")
    name, value = given[0], values[given[0]]
    if name in ("prompt", "question"):
        messages = _asked(value, values, "completion" if name == "prompt" else "answer", table)
    elif name == "text":
        raise DataError("columns: text is no conversation; read it --as text")
    else:
        value = parsed(value, name)
        if ends and isinstance(value, list) and value and isinstance(value[-1], Mapping):
            value = value[:-1] if value[-1].get("role") in ends else value
        messages = messages_of(value, table)
    system = text_of(values.get("system"), "the system's text")
    if system:
        if messages and messages[0].role == SYSTEM:
            raise DataError("two-systems: a column and a message")
        messages.insert(0, Message(SYSTEM, system))
    said = Conversation(tuple(messages), tuple(tools_of(values.get("tools"))))
    try:
        text = json.dumps([said.as_messages(), said.tools], ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:  # of a table: times, bytes, numbers that are none
        raise DataError(f"arguments: not JSON: {error}") from None
    _unicode(text)
    return said


def _asked(asked: Any, values: Mapping[str, Any], other: str, table: bool) -> list[Message]:
    """A question and its answer, each a text or messages."""
    answer = values.get(other)
    if answer is None:
        raise DataError(f"no-answer: no {other}")
    if isinstance(asked, list) and isinstance(answer, list):
        return messages_of([*asked, *answer], table)
    if not isinstance(asked, str) or not isinstance(answer, str):
        kinds = f"{type(asked).__name__} and {type(answer).__name__}"
        raise DataError(f"not-text: what is asked and answered are {kinds}")
    if not asked.strip():
        raise DataError("no-question: blank")
    reply = {"role": ASSISTANT, "content": answer, "reasoning": values.get("reasoning")}
    return messages_of([{"role": USER, "content": asked}, reply], table)


def _unicode(text: str) -> str:
    """A text that can be written. JSON may spell halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"not-unicode: {error.object[error.start]!r}") from None
    return text


def identity(said: Conversation | str) -> str:
    """32 hex characters that equal contents share, whatever else their rows say."""
    value: Any = said
    if isinstance(said, Conversation):
        value = [said.as_messages(), list(said.tools)]
    data = json.dumps(value, ensure_ascii=False, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:32]
