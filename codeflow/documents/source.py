"""What an input file holds, after reading: a text or a conversation, and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from codeflow.documents.chat.conversation import Conversation

TEXT: Final = "text"
QA: Final = "qa"
CHAT: Final = "chat"
TRAJECTORY: Final = "trajectory"
KINDS: Final = (TEXT, QA, CHAT, TRAJECTORY)


@dataclass(frozen=True)
class Source:
    """One input before it is rendered.

    Attributes:
        id: 32 hex characters of what is said.
        kind: of `KINDS`.
        said: a text, or a conversation.
        language, license, origin: as the input says; None where it does not.
        name: what the input calls it (an instance, a task); empty where it does not.
    """

    id: str
    kind: str
    said: Conversation | str
    language: str | None = None
    license: str | None = None
    origin: str | None = None
    name: str = ""
