"""The training loop: one optimiser step after another, resumable to the bit at any of them.

A run lives in one folder: `recipe.json`, `metrics.jsonl`, `checkpoints/`. Everything that decides
the next step is in a checkpoint: weights, optimiser, step (from which the schedule follows), data
position, random generators. Started again, a run goes on from its last complete checkpoint, and a
finished one does nothing.

The loss of a step is the token mean over its whole global batch: the weight is summed over ranks
and micro-batches first, and every micro-batch's summed loss is divided by it before its backward
pass. A step with nothing to learn from, or whose loss or gradient is not finite, changes nothing.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from codeflow.config import as_mapping
from codeflow.errors import CodeflowError, UsageError
from codeflow.shards.mixture import Position
from codeflow.storage.files import write_json
from codeflow.train import data, metrics
from codeflow.train import recipe as recipes
from codeflow.train.belonging import require_data, require_recipe
from codeflow.train.exact import compute_exactly
from codeflow.train.feed import Feed, Shards
from codeflow.train.guard import Guard
from codeflow.train.outcome import Outcome, Result, exclusive, explained, last_of
from codeflow.train.state import ancestor, checkpoint
from codeflow.train.state.host_copies import HostCopies
from codeflow.train.state.optim import Optimizer, learning_rate
from codeflow.train.state.parallel import World, accumulating, joined, make_model, unwrapped
from codeflow.train.stopping import Stop, StoppedError, listening
from codeflow.train.validation import validate
from codeflow.train.watch import sinks
from codeflow.train.watch.diagnostics import diagnosing, gradient_norms

Observer = Callable[["Training"], None]


def train(
    recipe: recipes.Recipe,
    data_dir: Path,
    out: Path,
    *,
    stop_after: int | None = None,
    observe: Observer | None = None,
    progress: Callable[[str], None] | None = None,
    own_process: bool = False,
    feed: Callable[[World], Feed] | None = None,
) -> Result:
    """Runs a recipe to its end, or goes on with it. Ctrl-C and SIGTERM save first (`stopping`).

    Args:
        stop_after: end, with a checkpoint, after so many steps of the whole run.
        observe: called after every step, before its checks.
        progress: takes lines for people, on the first rank.
        own_process: a second Ctrl-C may end the process, whatever it waits for.
        feed: what to learn from, in place of the recipe's token shards.

    Raises:
        KeyboardInterrupt: stopped; on the first rank it says where the run goes on.
        UsageError: recipe, data and folder do not belong together, or another run is in it.
        DataError: damaged shards or checkpoints.
        CodeflowError: too many bad steps in a row, a full disk, too little memory, a missing rank,
            a silent error.
    """
    say = progress or (lambda line: None)
    with listening(say, own_process) as stop, joined(recipe.parallel) as world:
        compute_exactly(world.device)
        with (
            explained(out, world),
            exclusive(out, world),
            contextlib.closing(
                Training(recipe, data_dir, out, world, say, feed and feed(world))
            ) as training,
        ):
            last = min(stop_after or recipe.schedule.steps, recipe.schedule.steps)
            return training.run(last, observe, stop)


class Training:
    """One run in one process: the model, its optimiser, and where they stand.

    `wrapped` is the model as several processes compute it, `model` the LoopCoder inside, whose
    parameters have the released names.
    """

    def __init__(
        self,
        recipe: recipes.Recipe,
        data_dir: Path,
        out: Path,
        world: World,
        progress: Callable[[str], None],
        feed: Feed | None = None,
    ) -> None:
        problem = recipe.uneven(world.readers, world.size // world.readers)
        if problem:
            raise UsageError(f"recipe: {problem}")
        sinks.require(recipe.run.sinks)
        self.recipe, self.out, self.world = recipe, out, world
        self._progress = progress if world.first else lambda line: None
        self.feed = feed or Shards(recipe, data_dir, world)
        self.step, self.tokens = 0, 0
        self.position = self.feed.start
        self.bad_steps, self.bad_in_a_row, self.empty_steps = 0, 0, 0
        self.outcome = Outcome(math.nan, math.nan, 0.0, 0.0, "good", metrics.Work())
        self.log: metrics.Log | None = None
        torch.manual_seed(recipe.seed)
        folder = out / "checkpoints"
        require_recipe(out, recipe, world)
        self.copies = HostCopies(world.device)
        self.saver = checkpoint.Saver(
            folder, world, recipe.run.keep_checkpoints, recipe.parallel.timeout_s, self._say_saved
        )
        path = world.gather(checkpoint.latest(folder))[0]
        read = path is not None or bool(recipe.parent.run)
        fresh = ancestor.GATES if recipe.parent.fold and path is None else ()
        self.wrapped = make_model(
            recipe.model.config,
            recipe.compute,
            world,
            recipe.seed,
            drawn=lambda name: not read or any(part in name for part in fresh),
        )
        self.model = unwrapped(self.wrapped)
        self.optimizer = Optimizer(self.model, recipe.optimizer)
        self.guard = Guard(recipe.guard, self.model, self.optimizer, world)
        self.parent: dict[str, Any] = {}
        fold_losses: dict[str, Any] = {}
        if path is not None:
            self._resume(path)
        elif recipe.parent.run:
            fold_losses = self._start_from_parent()
        if world.first:
            write_json(out / "recipe.json", as_mapping(recipe))
            self.feed.keep(out)
            about = sinks.About(out, recipe.name, as_mapping(recipe), self.step)
            into = [sinks.SINKS[name](about) for name in recipe.run.sinks]
            self.log = metrics.Log(out, self.step, into)
            if fold_losses:
                self.log.write("fold", 0, fold_losses)

    def close(self) -> None:
        """Ends the threads and lets go of the model, which several processes need (`joined`)."""
        self.saver.close()
        del self.wrapped, self.model, self.optimizer, self.guard
        if self.log is not None:
            self.log.close()

    def _say_saved(self, path: Path) -> None:
        """Said when it is done, since a rank that is lost later may leave nobody to say it."""
        self._progress(f"{path.name} is saved; from here on the same command goes on from it")

    # -- where a run starts ---------------------------------------------------------------------

    def _resume(self, path: Path) -> None:
        meta = checkpoint.read_meta(path)
        require_data(path, meta, self.feed.described)
        checkpoint.check_files(path, meta, self.world)
        with checkpoint.opened(path, meta) as reader:
            checkpoint.load_model(reader, self.model)
            checkpoint.load_optimizer(reader, self.optimizer)
            checkpoint.load_rng(reader, self.world)
        self.step, self.tokens = meta["step"], meta["tokens"]
        self.position = Position(tuple(meta["position"]))
        self.parent = meta["parent"]
        self.bad_steps, self.bad_in_a_row, self.empty_steps = meta["bad_steps"]
        self.outcome = replace(self.outcome, loss=float(meta["loss"]))
        done = self.step >= self.recipe.schedule.steps
        self._progress(
            f"{self.out}: complete with {path.name}; nothing is left to do"
            if done
            else f"going on from {path.name}"
        )

    def _start_from_parent(self) -> dict[str, Any]:
        """Takes a parent's weights; for a fold, the losses before and after."""
        wanted, held_out = self.recipe.parent, self.feed.held_out
        root = self.out.parent / wanted.run  # an absolute path stays itself
        tokenizer, world, say = self.feed.tokenizer, self.world, self._progress
        self.parent = ancestor.take(wanted, root, tokenizer, self.model, self.optimizer, world, say)
        if not (wanted.fold and held_out):
            return {}
        backbone = self.model.model
        loop = backbone.config
        backbone.config = replace(loop, loop_num=1)
        before = validate(self.wrapped, held_out, self.recipe, self.world)
        backbone.config = loop
        after = validate(self.wrapped, held_out, self.recipe, self.world)
        self._progress(f"folded: validation loss {before['loss']:.4f} -> {after['loss']:.4f}")
        return {"dense": before, "loop": after}

    # -- the loop -------------------------------------------------------------------------------

    def run(self, last: int, observe: Observer | None, stop: Stop) -> Result:
        """Trains up to step `last` and saves there, or stops before, and saves where it is."""
        ahead = self.feed.steps(self.position, self.step, self.model)
        started, first, saved = time.monotonic(), self.step, self.step
        stop.saving, stopped = True, False
        with contextlib.closing(ahead) as steps:
            if self._validation_is_owed(last):
                self._validate(stop)
            while self.step < last and not (stopped := stop.agreed(self.world)):
                begin = time.monotonic()
                step = next(steps)
                waited = time.monotonic() - begin
                self.guard.before(self.step)
                self.outcome = self.guard.computed(self.step + 1, partial(self.compute, step))
                self._count(step.after)
                now = time.monotonic()
                self._report(now - begin, waited, last, (now - started) / (self.step - first))
                if self.log is not None:
                    for event, values in step.about.items():
                        self.log.write(event, self.step, values)
                if observe is not None:
                    observe(self)
                saving = self._saving_is_due(last)
                self.guard.after(self.step, saving)
                if self._validation_is_due(last):
                    self._validate(stop)
                self.saver.check()
                if saving:
                    self._save()
                    saved = self.step
        if stopped and saved < self.step:
            self._save()
        self.saver.settle()
        self.world.barrier()  # a checkpoint is there once rank 0 is done
        stop.saving = False
        path = checkpoint.latest(self.saver.folder)
        if stopped:
            at = f"saved as {path.name}" if path else "nothing to save yet"
            raise KeyboardInterrupt(
                f"stopped after step {self.step} of {last}, {at}; the same command goes on"
            )
        assert path is not None
        return Result(self.step, self.outcome.loss, path)

    def compute(self, step: data.Step) -> Outcome:
        """One optimiser step on this rank's micro-batches."""
        world, device, objective = self.world, self.world.device, self.feed.objective
        lr = learning_rate(self.step, self.recipe.schedule, self.recipe.optimizer.lr)
        weight, *counts = world.sum(*step.counts(self.recipe.model.config.loop_window_size))
        work = metrics.Work(*counts)
        if weight == 0:
            return Outcome(0.0, 0.0, lr, 0.0, "empty", work)
        diagnosis: dict[str, Any] = {}
        mine = torch.zeros((), dtype=torch.float64, device=device)  # no wait for each micro-batch
        watched: dict[str, torch.Tensor] = {}
        for number, micro in enumerate(step.micros, 1):
            with accumulating(self.wrapped, number == len(step.micros)):
                looked_at = self.model if number == 1 and self._diagnosis_is_due() else None
                with diagnosing(looked_at) as found:
                    *inputs, weights, columns = micro.to(device)
                    loss = self.wrapped(*inputs, weights, columns, objective)
                    (loss.sum * (world.size / weight)).backward()
            diagnosis |= found.values()
            mine += loss.sum.detach()
            if self.feed.watch is not None:
                for name, count in self.feed.watch(-loss.tokens, weights, columns).items():
                    watched[name] = watched.get(name, 0) + count.double()
        if self._diagnosis_is_due():
            diagnosis["grad_norm"] = gradient_norms(self.optimizer.parameters)
        mean, *means = (
            total / weight for total in world.sum(*map(float, (mine, *watched.values())))
        )
        norm = float(self.optimizer.clip())
        good = math.isfinite(mean) and math.isfinite(norm)
        if good:
            self.optimizer.step(lr)
        self.optimizer.zero_grad()
        state = "good" if good else "bad"
        seen = dict(zip(watched, means, strict=True))
        return Outcome(mean, norm, lr, weight, state, work, diagnosis, seen)

    def _diagnosis_is_due(self) -> bool:
        every = self.recipe.run.diagnose_every_steps
        return bool(every) and (self.step + 1) % every == 0

    # -- after a step ---------------------------------------------------------------------------

    def _count(self, after: Position) -> None:
        """Takes the step into account. Raises CodeflowError after too many bad ones."""
        self.step += 1
        self.tokens += int(self.outcome.work.tokens)
        self.position = after
        self.empty_steps += self.outcome.state == "empty"
        self.bad_in_a_row = self.bad_in_a_row + 1 if self.outcome.state == "bad" else 0
        self.bad_steps += self.outcome.state == "bad"
        if self.bad_in_a_row > self.recipe.guard.max_bad_steps:
            self.saver.settle()  # the checkpoint that is named may still be on its way
            raise CodeflowError(
                f"step {self.step}: loss or gradient not finite in {self.bad_in_a_row} steps in a "
                f"row (loss {self.outcome.loss}, gradient norm {self.outcome.grad_norm}); lower "
                f"optimizer.lr and go on from {last_of(self.out)} in another --out"
            )

    def _saving_is_due(self, last: int) -> bool:
        every = self.recipe.run.checkpoint_every_steps
        return self.step == last or (every > 0 and self.step % every == 0)

    def _save(self) -> None:
        self.saver.settle()  # the copies of the one before are free then
        state = self.model, self.optimizer, self.world, self.step, self._meta()
        self.saver.save(checkpoint.snapshot(*state, self.copies))

    def _validation_is_due(self, last: int) -> bool:
        if not self.feed.held_out:
            return False
        return self.step == last or self.step % self.recipe.validation.every_steps == 0

    def _validation_is_owed(self, last: int) -> bool:
        """Whether the run was stopped before it had validated, so that its log is as without."""
        known = set() if self.log is None else self.log.resumed_at
        lacking = "step" in known and "validation" not in known
        return self.world.gather(lacking)[0] and self._validation_is_due(last)

    def _validate(self, stop: Stop) -> None:
        between = partial(stop.require_none, self.world)
        try:
            losses = validate(self.wrapped, self.feed.held_out, self.recipe, self.world, between)
        except StoppedError:
            return
        if self.log is not None:
            self.log.write("validation", self.step, losses)
        if losses["loss"] is not None:
            self._progress(f"step {self.step}  validation loss {losses['loss']:.4f}")

    def _meta(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "name": recipe.name,
            "about": recipe.about,
            "recipe": as_mapping(recipe),
            "recipe_hash": recipe.hash,
            "data_hash": data.data_hash(self.feed.described),
            "data": dict(self.feed.described),
            "tokenizer": self.feed.tokenizer,
            "model": as_mapping(recipe.model.config),
            "parent": self.parent,
            "position": list(self.position.taken),
            "tokens": self.tokens,
            "bad_steps": [self.bad_steps, self.bad_in_a_row, self.empty_steps],
            "loss": str(self.outcome.loss),
        }

    def _report(self, seconds: float, waited: float, last: int, mean_seconds: float) -> None:
        if self.log is None:
            return
        recipe = self.recipe
        values: dict[str, Any] = {
            "loss": self.outcome.loss,
            "lr": self.outcome.lr,
            "grad_norm": self.outcome.grad_norm,
            **self.outcome.seen,
            "target_weight": self.outcome.weight,
            "tokens": self.tokens,
            **metrics.rates(recipe, self.outcome.work, seconds, self.world),
            "seconds": seconds,
            "data_wait_s": waited,
            "time_left_s": mean_seconds * (last - self.step),
            "bad_steps": self.bad_steps,
            "empty_steps": self.empty_steps,
        }
        self.log.write("step", self.step, values)
        if self.outcome.diagnosis:
            self.log.write("diagnostics", self.step, self.outcome.diagnosis)
        if self.step % recipe.run.log_every_steps == 0 or self.step == last:
            self._progress(metrics.progress_line(self.step, last, values))
