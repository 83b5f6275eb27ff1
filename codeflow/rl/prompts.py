"""Prompts from a file of JSON lines, in an order that depends on the seed alone.

A line has `ids` (tokens) or `prompt` (text, for the tokenizer of the run), and whatever else the
grader of its replies wants to know. Every epoch is a permutation of its own.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codeflow.config import read_text
from codeflow.errors import UsageError
from codeflow.tokens.tokenizer import Encoder


@dataclass(frozen=True)
class Prompt:
    """Tokens to go on from, and the line they are from."""

    number: int
    ids: tuple[int, ...]
    line: Mapping[str, Any]


@dataclass(frozen=True)
class Prompts:
    """All of a file, and the digest of its content."""

    path: Path
    all: tuple[Prompt, ...]
    digest: str
    seed: int

    def at(self, taken: int) -> Prompt:
        """The prompt that is taken when so many were before."""
        epoch, place = divmod(taken, len(self.all))
        return self.all[_order(len(self.all), self.seed % (1 << 64), epoch)[place]]


@functools.lru_cache(maxsize=2)
def _order(number: int, seed: int, epoch: int) -> tuple[int, ...]:
    chance = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
    return tuple(chance.permutation(number).tolist())


def read_prompts(path: Path, encoder: Encoder | None, vocab_size: int, seed: int) -> Prompts:
    """Raises UsageError that names the line."""
    text = read_text(path, "prompts")
    found: list[Prompt] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            found.append(_prompt(f"{path}, line {number}", line, len(found), encoder, vocab_size))
    if not found:
        raise UsageError(f"{path}: no prompts; one JSON object a line, with prompt or ids")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Prompts(path, tuple(found), digest, seed)


def _prompt(where: str, line: str, number: int, encoder: Encoder | None, vocab_size: int) -> Prompt:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}") from None
    if not isinstance(values, dict) or ("ids" in values) == ("prompt" in values):
        raise UsageError(f"{where}: give an object with either ids or prompt")
    ids = values.get("ids")
    if ids is None:
        if encoder is None or not isinstance(values["prompt"], str):
            raise UsageError(
                f"{where}: a prompt of text needs a tokenizer: start from a parent that has one, "
                "or give ids"
            )
        ids = encoder.encode([values["prompt"]])[0].tolist()
    good = isinstance(ids, list) and all(type(k) is int and 0 <= k < vocab_size for k in ids)
    if not good or not ids:
        raise UsageError(f"{where}: ids have to be tokens below {vocab_size:,}, at least one")
    return Prompt(number, tuple(ids), values)
