"""Documents of token shards as texts, a JSON object a line, as TRL, axolotl and open-instruct read.

What is written is what is trained on, context and cuts included, decoded:

- `text`: the whole document.
- `prompt-completion`: up to the first token with a loss, and from there. A document whose loss
  begins with its first target has no prompt (`no-prompt`: give `text`), one with several answers
  has no single completion (`several-answers`: give `messages`).
- `messages`: a document in ChatML by its roles; of another, what it shows is the user's message and
  what is to be written the assistant's, without the tokens around them.

Special tokens are spelt out. A trainer's own tokenizer may cut the joined text otherwise where a
prompt ends within a word, which ours do not: they end with a special token or a line end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from codeflow.documents.document import END_OF_TEXT, IM_END, IM_START
from codeflow.errors import UsageError
from codeflow.shards.documents import Packed, documents
from codeflow.shards.reader import TokenShards
from codeflow.storage import files
from codeflow.tokens.tokenizer import Encoder

_ROLES: Final = ("system", "user", "assistant", "tool")


class Written(NamedTuple):
    """How many lines, and documents that have none, by reason."""

    rows: int
    left_out: dict[str, int]


class _LeftOut(Exception):  # noqa: N818  (said by its reason)
    """A document cannot be written in this form; the reason is its argument."""


def write_texts(shards: TokenShards, encoder: Encoder, form: str, to: Path) -> Written:
    """Writes a split's documents as JSONL.

    Args:
        form: one of `FORMS`.

    Raises:
        UsageError: the file is there, or the shards were made with another tokenizer.
    """
    if to.suffix != ".jsonl":
        raise UsageError(f"{to}: give a name that ends with .jsonl")
    if to.exists():
        raise UsageError(f"{to}: is there already; give a new name, or remove it")
    if encoder.hash != shards.description.tokenizer:
        raise UsageError(f"{shards.path}: made with another tokenizer than the one beside it")
    rows, left_out = 0, Counter[str]()
    to.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(to) as part, part.open("w", encoding="utf-8") as file:
        for document in documents(shards):
            try:
                row = FORMS[form](document, encoder)
            except _LeftOut as reason:
                left_out[str(reason)] += 1
                continue
            line = {**row, "id": document.triple_id, "kind": document.kind}
            print(json.dumps(line, ensure_ascii=False), file=file)
            rows += 1
    return Written(rows, dict(left_out))


def _text(document: Packed, encoder: Encoder) -> dict[str, Any]:
    return {"text": encoder.decode(document.ids)}


def _prompt_completion(document: Packed, encoder: Encoder) -> dict[str, Any]:
    start = _answer(document)
    return {
        "prompt": encoder.decode(document.ids[:start]),
        "completion": encoder.decode(document.ids[start:]),
    }


def _messages(document: Packed, encoder: Encoder) -> dict[str, Any]:
    whole = encoder.decode(document.ids)
    if (chat := _chat(whole)) is not None:
        return {"messages": chat}
    start = _answer(document)
    shown = encoder.decode(document.ids[:start])
    before, mark, name = shown.rpartition(IM_START)
    if mark and name.count("\n") == 1 and name.endswith("\n"):  # how the reply is called
        shown = before
    written = encoder.decode(document.ids[start:])
    for name in (IM_END, END_OF_TEXT):
        written = written.removesuffix(name)
    shown = shown.replace(f"{IM_START}message\n", "").replace(f"{IM_END}\n", "")
    return {
        "messages": [
            {"role": "user", "content": shown},
            {"role": "assistant", "content": written},
        ]
    }


def _chat(text: str) -> list[dict[str, str]] | None:
    """The messages of a text that is ChatML from end to end; else None."""
    messages = []
    rest = text.removesuffix("\n")
    while rest:
        if not rest.startswith(IM_START):
            return None
        role, line, rest = rest.removeprefix(IM_START).partition("\n")
        content, end, rest = rest.partition(IM_END)
        if not line or not end or role not in _ROLES:
            return None
        rest = rest.removeprefix("\n")
        messages.append({"role": role, "content": content})
    return messages or None


def _answer(document: Packed) -> int:
    """Where the one answer begins: from there on every token has a loss."""
    learnt = np.flatnonzero(document.weights > 0)
    if not len(learnt):
        raise _LeftOut("no-answer")
    start = int(learnt[0])
    if start <= 1:
        raise _LeftOut("no-prompt")
    if len(learnt) != len(document.ids) - start:
        raise _LeftOut("several-answers")
    return start


FORMS: Mapping[str, Callable[[Packed, Encoder], dict[str, Any]]] = {
    "text": _text,
    "prompt-completion": _prompt_completion,
    "messages": _messages,
}
