"""What a reply is worth, by a function of one's own: `file.py:attr` or `module:attr`.

It is given the prompt's line (a mapping) and a `Reply`, and returns a number, or None when it
cannot tell. An exception is taken for a failure of the grader, not of the reply: no reward, and the
error's first line as the verdict. How many there were is in the log of every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from codeflow.errors import UsageError
from codeflow.plugins.own_code import attribute_of, first_line, module_at


@dataclass(frozen=True)
class Reply:
    """What the model wrote: its tokens without the one that ended it, their text where the run has
    a tokenizer, and whether it came to an end by itself."""

    ids: tuple[int, ...]
    text: str | None
    finished: bool


class Verdict(NamedTuple):
    """A reward, or None; and the grader's failure, or nothing."""

    reward: float | None
    said: str = ""


Reward = Callable[[Mapping[str, Any], Reply], float | None]


def load(spec: str) -> tuple[Reward, str]:
    """The function that a recipe names, and a digest of its source."""
    place, _, names = spec.rpartition(":")
    if not place or not names:
        raise UsageError(f"recipe: rl.reward = {spec!r}: write it as file.py:function")
    module, digest = module_at(place, f"recipe: rl.reward = {spec}")
    found = attribute_of(module, names)
    if not callable(found):
        raise UsageError(f"recipe: rl.reward = {spec!r}: {place} has no function {names}")
    return found, digest


def grade(reward: Reward, line: Mapping[str, Any], reply: Reply) -> Verdict:
    """Never raises: whatever the grader does wrong is no fault of the reply."""
    try:
        value = reward(line, reply)
        if value is None:
            return Verdict(None, "no reward")
        number = float(value)
    except Exception as error:  # somebody else's code: anything may come
        return Verdict(None, first_line(error))
    if not math.isfinite(number):
        return Verdict(None, f"{number} is no reward")
    return Verdict(number)
