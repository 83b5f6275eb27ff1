"""`codeflow train` and `verify-resume`."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from codeflow.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, UsageError
from codeflow.storage.layout import RUNS
from codeflow.storage.store import is_url, shown


def add(commands: Any) -> None:
    """Puts the commands on the parser."""
    train = commands.add_parser("train", help="train LoopCoder on token shards (also in torchrun)")
    train.set_defaults(command=_train)
    train.add_argument("--out", type=Path, metavar="DIR", help="run folder (DATA/runs/NAME)")
    train.add_argument("--dry-run", action="store_true", help="sizes, cost, what is missing")
    resume = commands.add_parser("verify-resume", help="prove that resuming a recipe is exact")
    resume.set_defaults(command=_verify_resume)
    resume.add_argument("--steps", type=int, default=8, metavar="N", help="steps in all (8)")
    resume.add_argument("--at", type=int, default=3, metavar="K", help="stopped after (3)")
    for command in (train, resume):
        command.add_argument(
            "--data", required=True, metavar="DIR", help="what was tokenized: a folder or a URL"
        )
        command.add_argument("--recipe", required=True, type=Path, metavar="TOML")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="a value in place of the recipe's, as in optimizer.lr=3e-4; may be given again",
        )


def _train(parsed: argparse.Namespace) -> int:
    _need_torch()
    from codeflow.storage.place import local
    from codeflow.train.dry_run import dry_run
    from codeflow.train.metrics import say
    from codeflow.train.recipe import read_recipe
    from codeflow.train.trainer import train

    recipe = read_recipe(parsed.recipe, parsed.set)
    if parsed.out is None and is_url(parsed.data):
        raise UsageError(f"{shown(parsed.data)}: a run is not sent to a URL; give --out DIR")
    data = local(parsed.data)
    out = parsed.out or data / RUNS / recipe.name
    if parsed.dry_run:
        report = dry_run(recipe, data, out)
        print(report)
        return EXIT_INCOMPLETE if report.problems else EXIT_OK
    first = os.environ.get("RANK", "0") == "0"  # one of all says what all do
    told = say if first else lambda line: None
    feed = None
    if recipe.rl.prompts:
        from codeflow.rl.feed import Rollouts

        feed = partial(Rollouts, recipe, data, out)
    try:
        result = train(recipe, data, out, progress=told, own_process=True, feed=feed)
    except KeyboardInterrupt:
        if first:
            raise
        return EXIT_INTERRUPTED
    if first:
        print(f"step {result.step}, loss {result.loss:.4f}: {result.checkpoint}")
    return EXIT_OK


def _verify_resume(parsed: argparse.Namespace) -> int:
    _need_torch()
    import tempfile

    from codeflow.rl.feed import Rollouts
    from codeflow.storage.place import local
    from codeflow.train.recipe import read_recipe
    from codeflow.train.resume import verify_resume

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # each would wait in a folder of its own
        raise UsageError("verify-resume runs in one process: start it without torchrun")
    data = local(parsed.data)
    with tempfile.TemporaryDirectory(prefix="codeflow-resume-") as work:
        proof = verify_resume(
            *(parsed.recipe, data, Path(work), parsed.steps, parsed.at, parsed.set),
            feed=Rollouts if read_recipe(parsed.recipe, parsed.set).rl.prompts else None,
        )
    print(proof)
    return EXIT_OK if proof.ok else EXIT_INCOMPLETE


def _need_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise UsageError("training needs torch: pip install 'codeflow-kit[train]'")
