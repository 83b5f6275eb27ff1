"""Whether an agent that writes code had a part in a commit: the column `assisted`.

It had one when it committed under its own name (`author_kind` is then `bot`), when a trailer
credits it (`Co-authored-by: Claude <noreply@anthropic.com>`, `Assisted-by: Copilot`), or when the
line stands in the message that such a tool writes there. Read from the message as it was committed,
because trailers do not stay. First names that people have as well (Claude, Devin, Jules) count with
the agent's address or a model's name only; under `Assisted-by` and `Generated-by` they need none.
No sign says nothing: many projects ask for none. Cost: 5 µs a message.
"""

from __future__ import annotations

import re
from typing import Final

from codeflow_miners.history.authors import is_agent

_CREDIT: Final = re.compile(
    r"^[ \t]*(?P<key>co-?(?:authored|developed|written)|assisted|generated|written|signed-off"
    r"|pair-?programmed)-(?:by|with)[ \t]*:[ \t]*(?P<value>[^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_PERSON: Final = re.compile(r"(?P<name>[^<]*?)[ \t]*(?:<(?P<address>[^>]*)>)?[ \t]*$")
_AGENT: Final = re.compile(
    r"""\b(?: (?:github\ )?copilot | claude[\ -](?:code|opus|sonnet|haiku|instant|[\d.]+|ai)
    | chat-?gpt | gpt-?[345]\w* | (?:openai[\ -])?codex | cursor(?:\ agent|\ ai)? | devin[\ -]ai
    | gemini(?:[\ -](?:cli|code|pro|flash|[\d.]+))? | google\ jules | aider | windsurf | cline
    | openhands | amazon\ q(?:\ developer)? | codegen | sweep\ ai | roo[\ -]code | junie | kiro
    | llm | ai\ assistant
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_NAMED_ALONE: Final = re.compile(r"\b(?:claude|devin|jules|amp|grok|llama|deepseek|qwen)\b", re.I)
_WRITTEN_BY_TOOLS: Final = re.compile(
    r"^[^\w\n]{0,8}(?:generated|created|written|made) (?:with|by) \[?(?:claude code|github copilot"
    r"|openai codex|codex|cursor|gemini cli|aider|amp|devin|opencode|windsurf)\b",
    re.IGNORECASE | re.MULTILINE,
)


def is_assisted(message: str) -> bool:
    """Whether a message, decoded and with its trailers, credits an agent."""
    return any(map(_credits_agent, _CREDIT.finditer(message))) or (
        _WRITTEN_BY_TOOLS.search(message) is not None
    )


def _credits_agent(credit: re.Match[str]) -> bool:
    person = _PERSON.match(credit["value"])
    assert person is not None
    name, address = person["name"], person["address"] or ""
    if is_agent(name.encode(), address.encode()):
        return True
    if credit["key"].lower() in ("assisted", "generated", "written"):
        return (_AGENT.search(name) or _NAMED_ALONE.search(name)) is not None
    # a person's own address says that it is a person
    nobody = address.partition("@")[0].lower() in ("", "noreply", "no-reply")
    return (_AGENT.search(name) if nobody else _AGENT.fullmatch(name)) is not None
