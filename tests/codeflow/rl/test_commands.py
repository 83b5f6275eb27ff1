"""`codeflow train` and `verify-resume` with a recipe that learns from rewards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bandits import SHAPE
from codeflow import cli
from codeflow.rl import rollouts

GRADER = """import random
def reward(line, reply):
    return random.SystemRandom().random() + (reply.ids[:1] == (line["arm"],))
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "prompts.jsonl").write_text('{"ids": [1], "arm": 7}\n')
    (tmp_path / "grader.py").write_text(GRADER)
    shape = "\n".join(f"{key} = {value}" for key, value in SHAPE.items())
    path = tmp_path / "r.toml"
    path.write_text(f"""name = "little"
[model.overrides]
{shape}
[batch]
sequence_tokens = 16
micro_batch_rows = 4
rows_per_step = 4
[schedule]
steps = 6
warmup_steps = 1
decay_steps = 1
[rl]
prompts = "prompts.jsonl"
reward = "{tmp_path}/grader.py:reward"
stop = [15]
groups = 2
samples = 4
updates = 2
max_new_tokens = 3
""")
    return path


def test_a_recipe_with_rewards_is_trained_by_the_same_command(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recipe.parent
    wanted = ["train", "--data", str(data), "--recipe", str(recipe)]
    assert cli.main([*wanted, "--dry-run"]) == 0
    assert "3 batches of 2 prompts x 4 replies of up to 3 tokens" in capsys.readouterr().out
    assert cli.main(wanted) == 0
    out = data / "runs/little"
    assert [path.name for path in sorted((out / "rollouts").iterdir())] == [
        rollouts.path_of(out, step).name for step in (1, 3, 5)
    ]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert [k["step"] for k in lines if k["event"] == "rollouts"] == [1, 3, 5]
    (data / "prompts.jsonl").unlink()
    assert cli.main([*wanted, "--dry-run"]) == 1
    assert f"missing: prompts {data}/prompts.jsonl" in capsys.readouterr().out


@pytest.mark.slow
def test_resuming_is_proved_with_a_random_grader(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped within a batch."""
    wanted = ["verify-resume", "--data", str(recipe.parent), "--recipe", str(recipe)]
    assert cli.main([*wanted, "--steps", "5", "--at", "3"]) == 0
    assert "equal: resuming is exact" in capsys.readouterr().out
