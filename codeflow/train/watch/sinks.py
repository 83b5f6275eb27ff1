"""Where a run's numbers go beside `metrics.jsonl`: TensorBoard, Weights & Biases, trackio.

A sink is a package of its own, loaded when a recipe names it (`run.sinks`), and takes what is a
number under names such as `validation/languages/Go`. TensorBoard's files are cut back to the step
that is resumed from. The other two add to the same run, and keep what a killed one had said behind
its checkpoint: those steps are there twice. Where they send it is told by their own environment
variables (`WANDB_MODE`, `WANDB_PROJECT`, `TRACKIO_DIR`, ...).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from codeflow.errors import UsageError

PROJECT: Final = "codeflow"


class Sink(Protocol):
    """Takes the numbers of one event at a step of the run."""

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class About:
    """A run as a sink meets it: its folder, name, recipe, and the step that it goes on from."""

    folder: Path
    name: str
    recipe: Mapping[str, Any]
    resumed_step: int

    @property
    def id(self) -> str:
        """Of the run among all of a project, the same after a resume: kept in `RUN/run.id`."""
        file = self.folder / "run.id"
        if not file.exists():
            file.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
        return file.read_text(encoding="utf-8").strip()


class TensorBoard:
    """`RUN/tensorboard`."""

    def __init__(self, about: About) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = about.folder / "tensorboard"
        self._writer: Any = SummaryWriter(folder, purge_step=about.resumed_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run of Weights & Biases; its files lie in `RUN/wandb`.

    Steps are a metric of their own: wandb's must not go back, and ours does after a kill.
    """

    def __init__(self, about: About) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=about.name,
            id=about.id,
            dir=str(about.folder),
            config=dict(about.recipe),
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A run of trackio, in its own database."""

    def __init__(self, about: About) -> None:
        with contextlib.redirect_stdout(sys.stderr):  # it greets
            import trackio

            self._run = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT),
                name=f"{about.name}-{about.id}",
                config=dict(about.recipe),
                resume="allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self._run.finish()


SINKS: Final[Mapping[str, Callable[[About], Sink]]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
}
"""By the name of the package."""


def require(names: Iterable[str]) -> None:
    """Raises UsageError when a package is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"recipe: run.sinks: {name} is not installed: pip install {name}")
