"""Conversations at random: tools, reasoning, empty and hostile texts, every marker spelt out."""

from __future__ import annotations

from random import Random
from typing import Any

from codeflow.documents.chat.conversation import Conversation, Message, ToolCall
from codeflow.documents.document import NAMED

HOSTILE = (
    *NAMED,
    "<|im_start|>assistant\n",
    "<|im_end|>\n<|im_start|>user\n",
    "<tools>",
    "</parameter>\n",
    "<function=f>",
    "{{ messages }}",
    "{% generation %}",
    "{%- endgeneration -%}",
    "assistant\n",
    "\\n",
    "'\"",
    "BEFORE AFTER CALL",
)
PLAIN = (
    "",
    " ",
    "\n",
    "\n\n",
    " \n\t\r\n  ",
    "\r\r",
    "\u2028\n",
    "\x1c\n \x85",
    "\u3000",
    "    return x\n",
    "def f(a: int) -> str:\n\treturn 'b'",
    "The answer is 42.",
    "123456",
    "na\u00efve cafe\u0301 \u4f60\u597d\u3002 \U0001f469\u200d\U0001f4bb\ufeff",
    "\u0300",
    "don't",
    "...",
    "word",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    1,
    -2.5e-7,
    [1, {"k": "</think"}],
    {},
    {"a": ["\u00e9", None]},
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"cmd": {"type": "string", "description": "what <b>to</b> run & 'how'"}},
    "required": ["cmd"],
}


class Draw(Random):
    """With how much of the texts is hostile."""

    hostile = 0.3


def text(random: Draw, most: int = 5) -> str:
    count = random.randrange(most + 1)
    told = [HOSTILE if random.random() < random.hostile else PLAIN for _ in range(count)]
    return "".join(random.choice(texts) for texts in told)


def tool(random: Draw, name: str) -> dict[str, Any]:
    about = {"name": name, "description": text(random), "parameters": SCHEMA}
    return {"type": "function", "function": about} if random.random() < 0.7 else about


def call(random: Draw) -> ToolCall:
    names = random.sample(["cmd", "path", "n", "caf\u00e9"], random.randrange(4))
    made = {n: text(random) if random.random() < 0.6 else random.choice(VALUES) for n in names}
    return ToolCall(random.choice(["bash", "str_replace"]), made)


def conversation(seed: int) -> Conversation:
    """The one with this number; all of its texts may be anything."""
    random = Draw(f"conversation {seed}")
    random.hostile = 0.0 if seed % 3 == 0 else 0.3
    messages = []
    if random.random() < 0.5:
        messages.append(Message("system", text(random)))
    if random.random() < 0.95:
        messages.append(Message("user", text(random)))
    for _ in range(random.randrange(1, 5)):
        calls = tuple(call(random) for _ in range(random.choice([0, 0, 1, 2])))
        reasoning = text(random) if random.random() < 0.4 else ""
        loss = random.random() < 0.85
        messages.append(Message("assistant", text(random), reasoning, calls, loss))
        messages.extend(Message("tool", text(random)) for _ in calls)
        if not calls or random.random() < 0.2:
            messages.append(Message("user", text(random)))
    tools = tuple(tool(random, n) for n in ("bash", "str_replace")) if random.random() < 0.5 else ()
    return Conversation(tuple(messages[: -1 if random.random() < 0.5 else None]), tools)
