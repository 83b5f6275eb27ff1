"""GRPO as a feed of the trainer: prompts, replies, rewards, advantages, rows; batch by batch.

A batch has `rl.groups` prompts whose replies differ in reward, of `rl.samples` replies each; others
take the place of those that teach nothing, in `rl.max_rounds` rounds at most. Its groups are dealt
to `rl.updates` optimiser steps. What was sampled and what it got are written before the first of
them (`rollouts`), and read instead where the file is there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeflow.errors import DataError, UsageError
from codeflow.loopcoder.loss import Objective
from codeflow.loopcoder.model import LoopCoder
from codeflow.loopcoder.sample import Sampled, sample
from codeflow.rl import rewards, rollouts
from codeflow.rl.advantages import advantages, penalty
from codeflow.rl.objective import ClippedPolicyGradient
from codeflow.rl.packing import Scored, micro_batches
from codeflow.rl.prompts import Prompt, read_prompts
from codeflow.rl.rollouts import Batch, Rollout
from codeflow.shards.mixture import Position
from codeflow.tokens.tokenizer import Encoder
from codeflow.train import recipe as recipes
from codeflow.train.data import Sources, Step
from codeflow.train.feed import Watch
from codeflow.train.state.parallel import World
from codeflow.train.state.trained import find, keep_tokenizer


class Rollouts:
    """A `Feed` of one process. The position is the number of prompts that were taken."""

    held_out: Sources = ()

    def __init__(self, recipe: recipes.Recipe, data_dir: Path, out: Path, world: World) -> None:
        if world.size > 1:
            raise UsageError("rl runs in one process: start it without torchrun")
        self._recipe, self._settings, self._out = recipe, recipe.rl, out
        self._tokenizer = _tokenizer_of(recipe, out)
        encoder = None if self._tokenizer is None else Encoder.open(self._tokenizer, fast=False)
        self._encoder = encoder
        self.tokenizer = encoder.hash if encoder else "none"
        vocab_size = recipe.model.config.vocab_size
        self._prompts = read_prompts(data_dir / recipe.rl.prompts, encoder, vocab_size, recipe.seed)
        longest = max(len(prompt.ids) for prompt in self._prompts.all)
        if longest + recipe.rl.max_new_tokens > recipe.batch.sequence_tokens:
            raise UsageError(
                f"{self._prompts.path}: a prompt has {longest} tokens, with rl.max_new_tokens = "
                f"{recipe.rl.max_new_tokens} more than a row of batch.sequence_tokens = "
                f"{recipe.batch.sequence_tokens}"
            )
        self._stops = [self._stop(name) for name in recipe.rl.stop]
        self._reward, self._digest = rewards.load(recipe.rl.reward)
        policy = ClippedPolicyGradient(recipe.rl.clip_low, recipe.rl.clip_high, recipe.rl.dual_clip)
        self.objective: Objective = policy
        self.watch: Watch | None = policy.watch
        self.start = Position((0,))

    @property
    def described(self) -> Mapping[str, Any]:
        return {
            "prompts": {
                "name": self._prompts.path.name,
                "number": len(self._prompts.all),
                "digest": self._prompts.digest,
                "reward": self._digest,
                "rendering": "rollouts",
            }
        }

    def keep(self, run: Path) -> None:
        if self._tokenizer is not None:
            keep_tokenizer(self._tokenizer.parent, run)

    def steps(self, position: Position, done: int, model: LoopCoder) -> Generator[Step, None, None]:
        (taken,) = position.taken
        updates = self._settings.updates
        while True:
            first = done - done % updates + 1  # the number of the batch's first step
            batch = self._batch(first, taken, done % updates > 0, model)
            groups = self._scored(batch)
            for number in range(done % updates, updates):
                last = number == updates - 1
                mine = [one for group in groups[number::updates] for one in group]
                rows = self._recipe.batch
                yield Step(
                    tuple(micro_batches(mine, rows.sequence_tokens, rows.micro_batch_rows)),
                    Position((batch.taken_after if last else batch.taken_before,)),
                    {} if number else {"rollouts": self._facts(batch, groups)},
                )
                done += 1
            taken = batch.taken_after

    # -- a batch --------------------------------------------------------------------------------

    def _batch(self, first: int, taken: int, begun: bool, model: LoopCoder) -> Batch:
        """From its file, or made and written."""
        path = rollouts.path_of(self._out, first)
        if path.exists():
            batch = rollouts.read(path)
            if batch.taken_before != taken:
                raise DataError(f"{path}: is of another place in the prompts than this run is at")
            return batch
        if begun:
            raise DataError(
                f"{path}: missing, and its batch was learnt from in part; go on from an "
                "earlier checkpoint"
            )
        batch = self._made(first, taken, model)
        rollouts.write(path, batch)
        return batch

    def _made(self, first: int, taken: int, model: LoopCoder) -> Batch:
        """Samples and grades until enough groups teach something, or the rounds are over."""
        found: list[Rollout] = []
        before, wanted, sampling, grading = taken, self._settings.groups, 0.0, 0.0
        for _ in range(self._settings.max_rounds):
            prompts = [self._prompts.at(taken + n) for n in range(wanted)]
            taken += wanted
            started = time.monotonic()
            made = self._sampled(first, found[-1].group + 1 if found else 0, prompts, model)
            sampled = time.monotonic()
            graded = [self._graded(rollout) for rollout in made]
            sampling, grading = sampling + sampled - started, grading + time.monotonic() - sampled
            found += graded
            groups = rollouts.by_group(graded)
            wanted -= sum(any(a is not None for a in self._advantages(g)) for g in groups)
            if wanted == 0:
                break
        return Batch(tuple(found), before, taken, sampling, grading)

    def _sampled(
        self, first: int, group: int, prompts: Sequence[Prompt], model: LoopCoder
    ) -> list[Rollout]:
        settings = self._settings
        asked = [
            (group + n, prompt, k)
            for n, prompt in enumerate(prompts)
            for k in range(settings.samples)
        ]
        seeds = [self._seed(first, group, prompt.number, k) for group, prompt, k in asked]
        replies: list[Sampled] = []
        for start in range(0, len(asked), settings.batch_rows):
            part = slice(start, start + settings.batch_rows)
            ids = [prompt.ids for _, prompt, _ in asked[part]]
            replies += sample(model, ids, settings.max_new_tokens, seeds[part], self._stops)
        return [
            Rollout(
                group=group,
                sample=k,
                prompt=prompt.number,
                seed=seed,
                prompt_ids=prompt.ids,
                ids=reply.ids,
                logps=reply.logps,
                mask=(True,) * len(reply.ids),  # the token that ended it is learnt, too
                finish_reason="stop" if reply.finished else "length",
                reward=None,
                verdict="",
            )
            for (group, prompt, k), seed, reply in zip(asked, seeds, replies, strict=True)
        ]

    def _graded(self, rollout: Rollout) -> Rollout:
        finished = rollout.finish_reason == "stop"
        ids = rollout.ids[:-1] if finished else rollout.ids
        text = None if self._encoder is None else self._encoder.decode(ids)
        reply = rewards.Reply(ids, text, finished)
        verdict = rewards.grade(self._reward, self._prompts.all[rollout.prompt].line, reply)
        return replace(rollout, reward=verdict.reward, verdict=verdict.said)

    # -- what it is worth -----------------------------------------------------------------------

    def _advantages(self, group: Sequence[Rollout]) -> list[float | None]:
        return advantages([self._value(rollout) for rollout in group])

    def _value(self, rollout: Rollout) -> float | None:
        """The reward after penalties; None leaves the reply out, of the mean as of the loss."""
        finished = rollout.finish_reason == "stop"
        left_out = not finished and self._settings.truncated == "left-out"
        if rollout.reward is None or left_out:
            return None
        return rollout.reward - penalty(len(rollout.ids), finished, self._settings)

    def _scored(self, batch: Batch) -> list[list[Scored]]:
        """The groups that teach something, each with the replies that have an advantage."""
        groups = []
        for group in rollouts.by_group(batch.rollouts):
            pairs = zip(group, self._advantages(group), strict=True)
            if kept := [(one, a) for one, a in pairs if a is not None]:
                groups.append(kept)
        return groups[: self._settings.groups]

    def _facts(self, batch: Batch, groups: Sequence[Sequence[Scored]]) -> dict[str, Any]:
        """For the log."""
        every = batch.rollouts
        graded = [one.reward for one in every if one.reward is not None]
        tokens = [len(one.ids) for one in every]
        all_groups = rollouts.by_group(every)
        failures = [one.verdict for one in every if one.reward is None]
        return {
            "replies": len(every),
            "reward": sum(graded) / len(graded) if graded else None,
            "pass_rate": sum(r >= 1 for r in graded) / len(graded) if graded else None,
            "without_reward": len(failures),
            "first_failure": failures[0] if failures else "",
            "groups": len(all_groups),
            "groups_used": len(groups),
            "groups_of_one_reward": sum(_all_equal(group) for group in all_groups),
            "reply_tokens": sum(tokens) / len(tokens),
            "truncated": sum(one.finish_reason == "length" for one in every) / len(every),
            "sampled_tokens_per_s": sum(tokens) / batch.sampling_s if batch.sampling_s else None,
            "sampling_s": batch.sampling_s,
            "grading_s": batch.grading_s,
        }

    def _seed(self, *place: int) -> int:
        """Of one reply: by the run's seed, the batch, the group, the prompt and the sample."""
        text = repr((self._recipe.seed, *place)).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")

    def _stop(self, name: int | str) -> int:
        vocab_size = self._recipe.model.config.vocab_size
        if isinstance(name, int) and 0 <= name < vocab_size:
            return name
        known = {} if self._encoder is None else self._encoder.special
        if name in known:
            return int(known[str(name)])
        raise UsageError(f"recipe: rl.stop: {name!r} is no token of this model")


def _all_equal(group: Sequence[Rollout]) -> bool:
    rewards_of = [one.reward for one in group if one.reward is not None]
    return len(set(rewards_of)) == 1


def _tokenizer_of(recipe: recipes.Recipe, out: Path) -> Path | None:
    """The parent's, if it has one."""
    if not recipe.parent.run:
        return None
    return find(out.parent / recipe.parent.run).tokenizer
