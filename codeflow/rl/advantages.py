"""From the rewards of a prompt's replies to what each of them is worth beside the others.

A = r - mean over the replies that have a reward. A reply without one (its grader failed) is left
out, never 0: an outage must not train the model down. A group with fewer than two rewards, or with
equal ones, teaches nothing and is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

from codeflow.train import recipe as recipes


def penalty(length: int, finished: bool, settings: recipes.Rl) -> float:
    """What a reply's length costs: 1 when it was cut (if that is `penalised`), and up to that in
    the last `overlong_tokens` before the limit."""
    if not finished:
        return 1.0 if settings.truncated == "penalised" else 0.0
    over = length - (settings.max_new_tokens - settings.overlong_tokens)
    return max(0.0, over / settings.overlong_tokens) if settings.overlong_tokens else 0.0


def advantages(rewards: Sequence[float | None]) -> list[float | None]:
    """Of one group, None where a reply is not to be trained on."""
    kept = [reward for reward in rewards if reward is not None]
    if len(kept) < 2 or min(kept) == max(kept):
        return [None] * len(rewards)
    mean = sum(kept) / len(kept)
    return [None if reward is None else reward - mean for reward in rewards]
