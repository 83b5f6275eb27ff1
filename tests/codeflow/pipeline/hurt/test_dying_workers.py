"""Workers of Ray that die: replaced, or their repository quarantined."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import faults
from codeflow.contracts import Unit
from codeflow.errors import UsageError
from codeflow.execution.ray_pool import RayPool
from codeflow.storage import manifest
from hostile import history
from mined_lists import ledger, listing_of, mine


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_worker_that_dies_is_replaced_and_one_that_keeps_dying_quarantined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("healthy", "dies-once", "dies-always"):
        history(tmp_path / name)
    listing = listing_of(tmp_path, *(tmp_path / n for n in ("healthy", "dies-once", "dies-always")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codeflow_miners.flow.read_content", faults.dying_content)
        summary = mine(listing, tmp_path / "out", workers=2)
    assert (tmp_path / "dies-once/died").exists()
    assert [(f.repo, f.rule) for f in summary.failed] == [("dies-always", "worker-died")]
    assert summary.deterministic is False
    assert manifest.read(tmp_path / "out")["deterministic"] is False
    [row] = [r for r in ledger(tmp_path / "out") if r["repo"] == "dies-always"]
    assert row["rule"] == "worker-died"
    assert "dies-always" in row["reason"]
    assert not list(tmp_path.glob("out/mined/dies-always*"))
    # the others are what they are without it
    mine(listing_of(tmp_path, tmp_path / "healthy", tmp_path / "dies-once"), tmp_path / "other")
    triples = [(tmp_path / n / "triples/train-00000-of-00001.parquet") for n in ("out", "other")]
    assert triples[0].read_bytes() == triples[1].read_bytes()
    leftovers = [p for p in (tmp_path / "out").rglob("*.tmp") if ".work" not in p.parts]
    assert leftovers == []


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_units_that_never_ran_are_cancelled_when_the_pool_closes(tmp_path: Path) -> None:
    pool = RayPool(tmp_path, 2, None)
    for k in range(6):
        pool.submit(Unit(f"u/{k}", faults.slow_unit, (str(tmp_path / f"ran-{k}"), 4.0)))
    pool.close()
    with pytest.raises(UsageError, match=r"Ray at .*: no answer"):
        raise_for_address("127.0.0.1:1")
    time.sleep(5.5)
    assert not list(tmp_path.glob("ran-*")), "a unit ran on after the pool was closed"


def raise_for_address(address: str) -> None:
    from codeflow.execution.ray_pool import _start_ray

    _start_ray(None, address)
