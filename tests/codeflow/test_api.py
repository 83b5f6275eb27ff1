"""The Python interface, as a script meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import codeflow
from codeflow.config import Limits, MineConfig
from codeflow.errors import UsageError
from small_history import environment, small_history


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_history(tmp_path_factory.mktemp("api") / "small.git").path


def test_importing_codeflow_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys, codeflow\n"
        "heavy = {'pyarrow', 'numpy', 'pygit2', 'ray', 'torch', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert codeflow.__version__ and {'mine', 'open', 'Triple'} <= set(dir(codeflow))\n"
        "codeflow.open\n"
        "assert 'pyarrow' in sys.modules\n"  # or the first check would pass for another reason
        "assert not {'ray', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_export_is_there_and_nothing_else() -> None:
    for name in codeflow.__all__:
        assert getattr(codeflow, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'mime'"):
        codeflow.mime  # noqa: B018


def test_mines_and_reads_back(repository: Path, tmp_path: Path) -> None:
    summary = codeflow.mine(
        [repository, tmp_path / "gone"], tmp_path / "data", kinds=["commit"], until="mine"
    )
    assert [(failure.repo, failure.rule) for failure in summary.failed] == [("gone", "missing")]
    triples = list(codeflow.open(tmp_path / "data").triples())
    assert len(triples) == summary.triples_by_kind["commit"] > 5
    assert all(isinstance(triple, codeflow.Triple) for triple in triples)
    triple = triples[0]
    assert triple.new_repo["src/app.py"].startswith(triple.old_repo["src/app.py"])
    assert triple.patch.startswith("diff --git a/src/app.py b/src/app.py\n")


def test_choices_win_over_the_configuration(repository: Path, tmp_path: Path) -> None:
    toml = tmp_path / "codeflow.toml"
    toml.write_text('[mine]\nkinds = ["span"]\n[mine.window]\nstart = 0.1\nstop = 0.2\n')
    summary = codeflow.mine(
        [repository],
        tmp_path / "data",
        config=toml,
        kinds=("commit",),
        window=(0.5, 0.6),
        until="mine",
    )
    positions = [triple.position for triple in codeflow.open(tmp_path / "data").triples()]
    assert set(summary.triples_by_kind) == {"commit"}
    assert positions
    assert all(0.5 <= position < 0.6 for position in positions)


def test_a_list_file_and_a_configuration_object(repository: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{repository}\n")
    config = MineConfig(limits=Limits(min_commits=31))
    summary = codeflow.mine(listed, tmp_path / "data", config=config, until="mine")
    assert [failure.rule for failure in summary.failed] == ["too-short"]


def test_what_is_not_known_is_refused(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    with pytest.raises(UsageError, match="did you mean 'default'"):
        codeflow.mine([repository], out, filters=["defualt"])
    with pytest.raises(UsageError, match="give a list"):
        codeflow.mine([repository], out, filters="default")
    with pytest.raises(UsageError, match="choose one of mine, filter"):
        codeflow.mine([repository], out, until="mixed")
    with pytest.raises(UsageError, match="did you mean 'commit'"):
        codeflow.mine([repository], out, kinds=["comit"])
    with pytest.raises(UsageError, match="give a list"):
        codeflow.mine([repository], out, kinds="commit")
    with pytest.raises(UsageError, match="window"):
        codeflow.mine([repository], out, window=(0.8, 0.4))
    with pytest.raises(UsageError, match="workers 0"):
        codeflow.mine([repository], out, workers=0)
    with pytest.raises(UsageError, match="no repository"):
        codeflow.mine([], out)
    assert not out.exists()
