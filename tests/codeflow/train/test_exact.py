"""Bits that do not depend on the process: settings, and `verify-resume` in processes of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config as inductor

from codeflow import cli
from codeflow.train.exact import compute_exactly
from training_runs import SHAPE, TOKENS, make_data


def test_new_tensors_are_not_filled_in_deterministic_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    filling: Any = torch.utils.deterministic
    inductor.deterministic = False  # monkeypatch would leave the setting deleted
    try:
        torch.use_deterministic_algorithms(True)
        assert filling.fill_uninitialized_memory  # what torch does by default
        assert torch.empty(1000).isnan().all()
        compute_exactly("cuda")
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        # torch's switch is asked, not memory that nobody wrote: that may hold any bits
        assert filling.fill_uninitialized_memory is False
        assert inductor.deterministic
    finally:
        torch.use_deterministic_algorithms(False)
        filling.fill_uninitialized_memory = True


RECIPE = f"""name = "little"
[model]
preset = "tiny"
[model.overrides]
{chr(10).join(f"{key} = {value}" for key, value in SHAPE.items())}
[data.sources]
a = 2
b = 1
[batch]
sequence_tokens = {TOKENS}
rows_per_step = 4
micro_batch_rows = 2
[schedule]
steps = 6
warmup_steps = 2
decay_steps = 2
"""

BY_PROCESS = """
import os
import codeflow.train.state.optim as optim
real = optim.learning_rate
optim.learning_rate = lambda *how: real(*how) * (1 + os.getpid() * 1e-7)
"""


@pytest.mark.parametrize(("planted", "status"), [(False, 0), (True, 1)])
def test_verify_resume_sees_what_differs_between_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: bool, status: int
) -> None:
    """Planted: arithmetic that is the same all through a process and another in the next, as with
    kernels that are chosen by timing them. One process that resumes itself does not see it."""
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE)
    folder = make_data(tmp_path / "data")
    if planted:
        (tmp_path / "site").mkdir()
        (tmp_path / "site/sitecustomize.py").write_text(BY_PROCESS)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    arguments = ["--data", str(folder), "--recipe", str(recipe), "--steps", "4", "--at", "2"]
    assert cli.main(["verify-resume", *arguments]) == status


def test_a_mistake_in_the_other_process_is_the_same_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE.replace("b = 1", "nowhere = 1"))
    folder = make_data(tmp_path / "data")
    arguments = ["--data", str(folder), "--recipe", str(recipe), "--steps", "4", "--at", "2"]
    assert cli.main(["verify-resume", *arguments]) == 2
    assert "no token folders nowhere" in capsys.readouterr().err
