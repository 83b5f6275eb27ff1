"""`projection.drop_secrets`: versions of files that hold a secret are published nowhere."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import codeflow.dataset.reader
from codeflow.config import MineConfig, Projection, Window
from codeflow.dataset.verify import verify
from codeflow.pipeline.run import run
from codeflow.pipeline.session import Execution
from codeflow.terminal.progress import make_progress
from codeflow_filters.secrets import Secrets
from codeflow_miners.acquire.repositories import parse_sources
from gitdag import Repo

SCRIPT = Path(__file__).parents[3] / "examples" / "check_with_git.py"
KEY = "ghp" + "_" + "Zq3vT8mWx1Lk5Rb7Ny2Hc9Jd4Fg6Ps0UaEtK"
OTHER = KEY[:-1] + "z"


@pytest.fixture
def history(tmp_path: Path) -> Repo:
    """A key comes at commit 10, changes at 14, moves at 18, and goes at 22, among other changes."""
    repo = Repo.create(tmp_path / "leaky.git")
    repo.commit({"app.py": "a = 0\n", "settings.py": "debug = True\n"})
    for k in range(1, 30):
        changes: dict[str, str | None] = {"app.py": f"a = {k}\n"}
        if k == 10:
            changes["settings.py"] = f"debug = True\ntoken = '{KEY}'\n"
        elif k == 14:
            changes = {"settings.py": f"debug = True\ntoken = '{OTHER}'\n"}
        elif k == 18:
            changes |= {"settings.py": None, "conf.py": f"debug = True\ntoken = '{OTHER}'\n"}
        elif k == 22:
            changes["conf.py"] = "debug = True\ntoken = os.environ['TOKEN']\n"
        repo.commit(changes)
    return repo


def mined(repo: Repo, out: Path, secrets: bool) -> Path:
    config = MineConfig(
        kinds=("commit",), window=Window(0.0, 1.0), projection=Projection(drop_secrets=secrets)
    )
    sources = parse_sources([str(repo.path)], repo.path.parent)
    execution = Execution(1, cache=out.parent / "cache")
    summary = run(sources, out, config, execution, make_progress(True, io.StringIO()))
    assert not summary.failed
    return out


def check(out: Path, repo: Repo) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(out), str(repo.path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def everything(out: Path) -> bytes:
    """All that a reader of the published tables can see."""
    texts = []
    for path in sorted(out.glob("*/*.parquet")):
        table = pq.read_table(path)
        texts.append(json.dumps(table.to_pylist(), default=str))
    return "\n".join(texts).encode()


def test_no_version_with_a_secret_is_published_and_the_rest_is_exact(
    history: Repo, tmp_path: Path
) -> None:
    out = mined(history, tmp_path / "data", secrets=True)
    text = everything(out)
    assert KEY.encode() not in text
    assert OTHER.encode() not in text
    assert verify(out).ok
    done = check(out, history)
    assert done.returncode == 0, done.stdout + done.stderr
    dataset = codeflow.dataset.reader.open(out)
    triples = list(dataset.triples())
    # 29 changes; at 10 and 22 a path crosses, at 14 nothing is left of the change
    assert len(triples) == 26
    assert all(Secrets()(triple).kept for triple in triples)
    rows = [
        row for p in sorted(out.glob("ledger/*.parquet")) for row in pq.read_table(p).to_pylist()
    ]
    rules = Counter((row["stage"], row["rule"]) for row in rows)
    assert rules["left-out", "secret"] == 3  # (path, blob): two at settings.py, one at conf.py
    assert rules["commit", "crosses-projection"] == 2
    assert rules["commit", "empty"] == 1
    assert {row["detail"].split()[0] for row in rows if row["rule"] == "secret"} == {
        "settings.py",
        "conf.py",
    }


def test_it_is_off_by_default_and_part_of_an_id(history: Repo, tmp_path: Path) -> None:
    with_keys = mined(history, tmp_path / "all", secrets=False)
    without = mined(history, tmp_path / "none", secrets=True)
    assert KEY.encode() in everything(with_keys)
    assert check(with_keys, history).returncode == 0
    ids = [
        {t.id for t in codeflow.dataset.reader.open(out).triples()} for out in (with_keys, without)
    ]
    assert len(ids[0]) == 29
    assert not ids[0] & ids[1]
    dropped = [
        t for t in codeflow.dataset.reader.open(with_keys).triples() if not Secrets()(t).kept
    ]
    assert len(dropped) == 4  # it comes, changes, moves, goes


def test_the_outside_check_takes_nothing_else_as_an_excuse(history: Repo, tmp_path: Path) -> None:
    out = mined(history, tmp_path / "data", secrets=True)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["projection"] == "text-1:1048576:no-secrets"
    (out / "manifest.json").write_text(json.dumps({**manifest, "projection": "text-1:1048576"}))
    done = check(out, history)
    assert done.returncode == 1
    assert "is left out, but is text" in done.stdout
