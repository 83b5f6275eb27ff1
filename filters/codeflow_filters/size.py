"""`size` and `file-size`: drop changes that are too large, or empty, to learn from.

Figures of peers: SWE-smith takes 1–8 files, at most 500 changed lines and no file over 1,000 lines;
SWE-rebench takes 1–15 files; CommitPackFT files under 50,000 characters. `size` starts from 15
files, 1,000 lines (at 500, whole features with their tests go) and 32,768 estimated tokens, a patch
that fits the first long context; `strict` takes SWE-smith's figures. A triple of several commits
may have `several_factor` times as many files and lines, but its patch has to fit as any other; so
may a merge that brings in several (of 140 such merges that the limits of one commit dropped in
seven audited histories, half lie within those of several), unless it brings a main or a release
branch along: that is a bag of other people's work.
`file-size` has to read the changed files, and takes no part in `default`: many a good project has
long files.

Tokens are estimated, not counted: `bytes_per_token` for ASCII, one token for any other character.
Cost: 15 µs a triple; `file-size` that of reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from codeflow.config import require_within
from codeflow.contracts import CONTENTS, Cost, Verdict, drop, keep
from codeflow.text.merges import bookkeeping
from codeflow.text.messages import subject
from codeflow.triple import Triple


@dataclass(frozen=True)
class Size:
    """Drops by the number of files and changed lines, and by the length of the patch."""

    max_files: int = 15
    max_lines: int = 1000
    several_factor: float = 2.0
    max_patch_bytes: int = 131_072
    max_tokens: int = 32_768
    bytes_per_token: float = 3.0

    why: ClassVar[str] = "changes too large to learn from, and those without a changed line"
    reasons: ClassVar[Mapping[str, str]] = {
        "no-lines": "no line was changed: a rename, a change of mode, or empty files",
        "too-many-files": "more changed files than one can learn from at once",
        "too-many-lines": "more changed lines than one can learn from at once",
        "patch-too-long": "the patch has more bytes than one can learn from at once",
        "too-many-tokens": "the patch fits no context, by an estimate of its tokens",
    }
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset(
        {"additions", "deletions", "files", "messages", "patch"}
    )

    def __post_init__(self) -> None:
        require_within(
            self,
            max_files=(1, math.inf),
            max_lines=(1, math.inf),
            several_factor=(1, math.inf),
            max_patch_bytes=(1, math.inf),
            max_tokens=(1, math.inf),
            bytes_per_token=(0.1, math.inf),
        )

    def __call__(self, triple: Triple) -> Verdict:
        commits = sum(map(_commits, triple.messages))
        factor = self.several_factor if commits > 1 else 1.0
        lines = triple.additions + triple.deletions
        if not lines:
            return drop("no-lines")
        if len(triple.files) > self.max_files * factor:
            return drop("too-many-files", f"{len(triple.files)} files")
        if lines > self.max_lines * factor:
            return drop("too-many-lines", f"{lines} lines")
        text = triple.patch
        ascii_bytes = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
        other = len(text) - ascii_bytes
        size = ascii_bytes if not other else len(text.encode())
        if size > self.max_patch_bytes:
            return drop("patch-too-long", f"{size} bytes")
        tokens = ascii_bytes / self.bytes_per_token + other
        if tokens > self.max_tokens:
            return drop("too-many-tokens", f"about {tokens:.0f} tokens")
        return keep()


def _commits(message: Sequence[str]) -> int:
    """What a step is worth in commits: of a merge, the subjects it brings in follow its message."""
    if not message or bookkeeping(subject(message[0])) is not None:
        return 1
    return max(1, len(message) - 1)


@dataclass(frozen=True)
class FileSize:
    """Drops a triple when a changed file is too large on either side."""

    max_bytes: int = 50_000
    max_lines: int = 1_000

    why: ClassVar[str] = "changes to files that are too long to show whole"
    reasons: ClassVar[Mapping[str, str]] = {
        "file-too-large": "a changed file has too many bytes to be shown whole",
        "file-too-long": "a changed file has too many lines to be shown whole",
    }
    cost: ClassVar[Cost] = "contents"
    reads: ClassVar[frozenset[str]] = frozenset({"files", CONTENTS})

    def __post_init__(self) -> None:
        require_within(self, max_bytes=(1, math.inf), max_lines=(1, math.inf))

    def __call__(self, triple: Triple) -> Verdict:
        for change in triple.files:
            for content in triple.contents(change):
                if content is None:
                    continue
                if len(content) > self.max_bytes:
                    return drop("file-too-large", f"{change.path}: {len(content)} bytes")
                lines = content.count(b"\n")
                if lines > self.max_lines:
                    return drop("file-too-long", f"{change.path}: {lines} lines")
        return keep()
