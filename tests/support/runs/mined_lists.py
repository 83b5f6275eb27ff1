"""Lists of repositories mined in this process, and the ledger that a run leaves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codeflow.config import MineConfig, Window
from codeflow.pipeline.run import run
from codeflow.pipeline.session import Execution
from codeflow.publish.summary import Summary
from codeflow.terminal.progress import make_progress
from codeflow_miners.acquire.repositories import read_list

WHOLE = MineConfig(window=Window(0.0, 1.0))
COMMITS_ONLY = MineConfig(kinds=("commit",))


def mine(listing: Path, out: Path, config: MineConfig = WHOLE, **execution: Any) -> Summary:
    """A run in this process."""
    how = Execution(cache=out.parent / "cache", **execution)
    return run(read_list(listing), out, config, how, make_progress(False, io.StringIO()))


def ledger(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "ledger").to_pylist()
    return rows


def listing_of(folder: Path, *lines: object) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def stop_before(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"codeflow.{step}", stop)
