"""What is made of files of documents: the options of `codeflow tokenize --from`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from codeflow.documents.chat.render import CALLS, QWEN3_CODER
from codeflow.documents.options import rest_weight
from codeflow.documents.read.schemas import Reading
from codeflow.documents.source import TEXT
from codeflow.errors import UsageError
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.turns import CUT, DROP, WINDOWS

REPLY = "reply"
HISTORY = ("keep", "strip")


@dataclass(frozen=True)
class DocumentsConfig:
    """One token folder of documents.

    Attributes:
        files: paths, patterns, folders and URLs.
        kind: `text`, `qa`, `chat` or `trajectory`.
        length, name, tokenizer, vocab_size, validation: as of `TokenizeConfig`; the name is
            KIND-LENGTH unless given.
        schema, columns: see `codeflow.documents.read.schemas`.
        history: whether earlier turns `keep` their reasoning, or each turn is a document of its
            own in which they are stripped of it.
        calls: how calls are written, `qwen3_coder` or `hermes`.
        long: what becomes of what is too long: `drop`, `cut` or `windows`.
        loss: `reply`, `all`, or the weight of what no reply says; empty for all of a text and the
            replies of the rest.
        near: whether near-duplicates go.
        decontaminate: files of benchmarks' instances, as of `codeflow mine`.
    """

    files: tuple[str, ...]
    kind: str
    length: int
    name: str = ""
    tokenizer: str = ""
    vocab_size: int = 0
    validation: float = 0.05
    schema: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    history: str = "keep"
    calls: str = QWEN3_CODER
    long: str = CUT
    loss: str = ""
    near: bool = True
    decontaminate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.files:
            raise UsageError("--from: name a file, a folder or a URL")
        for name, value, known in (
            ("--history", self.history, HISTORY),
            ("--calls", self.calls, CALLS),
            ("--long", self.long, (DROP, CUT, WINDOWS)),
        ):
            if value not in known:
                raise UsageError(f"{name} {value}: choose of {', '.join(known)}")
        if self.kind == TEXT and self.loss not in ("", "all"):
            raise UsageError(f"--loss {self.loss}: a text has no replies; leave it out")
        if self.kind == TEXT and self.long == WINDOWS:
            raise UsageError("--long windows: a text has no turns; choose cut or drop")
        if self.kind == TEXT and self.history == "strip":
            raise UsageError("--history strip: a text has no turns; leave it out")
        if self.loss not in ("", REPLY):
            rest_weight(self.loss)
        _ = self.reading, self.common  # which check what is theirs

    @property
    def reading(self) -> Reading:
        """How rows become sources."""
        return Reading(self.kind, self.schema, self.columns, self.calls == QWEN3_CODER)

    @property
    def folder(self) -> str:
        """The name of the token folder."""
        return self.name or f"{self.kind}-{self.length}"

    @property
    def common(self) -> TokenizeConfig:
        """What it shares with triples, checked there."""
        return TokenizeConfig(
            length=self.length,
            name=self.folder,
            tokenizer=self.tokenizer,
            vocab_size=self.vocab_size,
            validation=self.validation,
        )

    @property
    def rest(self) -> float:
        """The weight of what no reply says."""
        if self.kind == TEXT:
            return 1.0
        return 0.0 if self.loss in ("", REPLY) else rest_weight(self.loss)
