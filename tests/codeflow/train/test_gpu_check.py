"""`benchmarks/gpu_check.py` on a CPU: all of it at toy size, and that it can fail and be cut."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def correct(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_correct

    return gpu_correct


def checked(out: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_check.py"), "--out", str(out), *words],
        capture_output=True,
        text=True,
        timeout=280,
    )
    lines = [json.loads(k) for k in (out / "gpu_check.jsonl").read_text().splitlines()]
    for line in lines:
        assert f"{line['state']} {line['name']} " in done.stdout
    return done.returncode, lines, done.stdout


@pytest.mark.slow
def test_all_sections_pass_and_every_wrong_variant_is_seen(tmp_path: Path) -> None:
    status, lines, printed = checked(tmp_path, "--cpu", "--budget", "250")
    assert {line["section"] for line in lines} == {
        "machine",
        "correct",
        "resume",
        "ranks",
        "memory",
        "speed",
        "profile",
    }
    assert [line for line in lines if line["state"] == "FAIL"] == []
    assert status == 0
    skipped = {line["section"] for line in lines if line["state"] == "SKIP"}
    assert skipped == {"memory"}
    seen = {line["name"] for line in lines if line["name"].startswith("seen-")}
    assert len(seen) == 8 + 5 + 1 + 1 + 1 + 2 * 2 + 2
    *table, where = printed.split("\n\n")[-1].splitlines()
    assert where == f"in {tmp_path}"
    assert len(table) <= 40
    assert table[-1].endswith(f"{sum(k['state'] == 'SKIP' for k in lines)} SKIP")


@pytest.mark.slow
def test_a_section_that_hangs_or_crashes_takes_no_other_along(tmp_path: Path) -> None:
    """No time: cut off, and the rest is named. No device: its section fails, and the next runs."""
    status, lines, _ = checked(tmp_path / "short", "--cpu", "--budget", "1")
    assert status == 0
    assert lines[0]["measured"] == "ended after its 1 s"
    assert {line["measured"] for line in lines[1:]} == {"no time left"}
    if torch.cuda.is_available():
        pytest.skip("a device is there")
    status, lines, _ = checked(tmp_path / "none", "--only", "machine", "profile")
    assert status == 1
    failed = [line["name"] for line in lines if line["state"] == "FAIL"]
    assert failed == ["machine", "profile"]


@pytest.mark.parametrize("wrong", ["window-65", "positions-not-restarted", "gate-before-rope"])
def test_a_wrong_model_fails_the_check(correct: ModuleType, wrong: str) -> None:
    config = correct.shape(5, 1, 16, 2)
    right = next(iter(correct.compared(config, 300, "cpu", "right")))
    assert right["state"] == "PASS"
    with correct.WRONG[wrong]():
        found = next(iter(correct.compared(config, 300, "cpu", wrong)))
    assert found["state"] == "FAIL"


@pytest.mark.parametrize("wrong", ["k1-detached", "gate-detached"])
def test_a_wrong_gradient_fails_the_check_on_a_cpu(correct: ModuleType, wrong: str) -> None:
    """Its logits are right, and FlexAttention stands on one side of the comparison alone."""
    config = correct.shape(4, 2, 16, 2)

    def first() -> Any:
        return next(iter(correct.against_blocks(config, 300, "cpu", "this")))

    assert first()["state"] == "PASS"
    right = correct.flexed

    @contextlib.contextmanager
    def flexed(device: str) -> Iterator[None]:
        with right(device), correct.WRONG_GRADIENTS[wrong]():
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correct, "flexed", flexed)
        assert first()["state"] == "FAIL"


def test_a_part_that_raises_is_a_line(correct: ModuleType) -> None:
    def broken() -> Any:
        yield correct.line("before", 1.0, 2.0)
        raise RuntimeError("no kernel\nfor this shape")

    assert list(correct.tried("part", broken)) == [
        {"name": "before", "state": "PASS", "measured": 1.0, "bound": "<= 2"},
        {"name": "part", "state": "FAIL", "measured": "RuntimeError: no kernel"},
    ]
