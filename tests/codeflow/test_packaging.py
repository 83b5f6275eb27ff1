"""The wheel, built and installed for real, offline: hatchling is here, dependencies are too."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gitdag import git
from small_history import ROOT, codeflow, small_history

pytest.importorskip("hatchling")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index"]


def run(*arguments: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [*map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", folder, ROOT)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_what_is_in_the_tree_and_nothing_else(wheel: Path) -> None:
    tracked = git("ls-files", "-z", cwd=ROOT).decode().split("\0") if _is_clone() else []
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = {name for name in names if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in packages} == {
        "codeflow",
        "codeflow_miners",
        "codeflow_filters",
    }
    for package in ("codeflow", "codeflow_miners", "codeflow_filters"):
        assert f"{package}/py.typed" in packages
    assert "codeflow_miners/acquire/isolated.gitconfig" in packages
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    for path in tracked:
        top, _, rest = path.partition("/")
        if top in ("codeflow", "miners", "filters"):
            assert (path if top == "codeflow" else rest) in packages, path


def _is_clone() -> bool:
    return (ROOT / ".git").exists()


def test_it_runs_where_nothing_else_of_the_project_is(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    python = tmp_path / "venv" / "bin" / "python"
    run(*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel)
    # the dependencies of this environment, after the wheel, and not its editable codeflow
    libraries = [p for p in sys.path if p.endswith("site-packages")]
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in libraries))
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    program = tmp_path / "venv" / "bin" / "codeflow"
    assert run(program, "--version", env=env, cwd=tmp_path) == "codeflow 0.1.0\n"
    small_history(tmp_path / "small.git")
    (tmp_path / "list.txt").write_text("small.git\n")
    words = ("mine", "--repos", "list.txt", "--out", "data", "--workers", "1", "--until", "mine")
    assert "commit" in run(program, *words, env=env, cwd=tmp_path)
    origin = "import codeflow, codeflow_miners; print(codeflow.__file__, codeflow_miners.__file__)"
    for path in run(python, "-c", origin, env=env, cwd=tmp_path).split():
        assert Path(path).is_relative_to(tmp_path)


def test_the_miner_of_a_third_party_is_a_kind_like_ours(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    example = ROOT / "examples" / "release_miner"
    repo = small_history(tmp_path / "small.git", commits=40, tag_every=6)
    (tmp_path / "list.txt").write_text("small.git\n")
    words = (
        "mine",
        "--repos",
        "list.txt",
        "--out",
        "data",
        "--workers",
        "1",
        "--until",
        "mine",
        "--kinds",
        "release",
    )
    before = codeflow(*words, cwd=tmp_path)
    assert before.returncode == 2, "the test needs an environment without the example"
    run(*PIP, "install", *OFFLINE, "--target", plugins, example)

    done = codeflow(*words, cwd=tmp_path, plugins=(plugins,))
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "data" / "triples").to_pylist()
    chain = repo.rev_list("--reverse", "main")
    # positions k / 39 in [0.4, 0.8) are k = 16 .. 31, so the tags on 18, 24 and 30 are starts
    expected = {(chain[old], chain[old + 6]) for old in (18, 24, 30)}
    assert {(row["old_commit"], row["new_commit"]) for row in rows} == expected
    assert {row["kind"] for row in rows} == {"release"}
    assert [row["scores"] for row in rows] == [[{"key": "commits", "value": 6.0}]] * 3
    for row in rows:
        assert (
            row["old_tree"]
            == repo.git("rev-parse", f"{row['old_commit']}^{{tree}}").decode().strip()
        )
        assert row["commits"] == chain[chain.index(row["old_commit"]) + 1 :][:6]
    assert codeflow("verify", "data", cwd=tmp_path).returncode == 0

    (tmp_path / "short.toml").write_text("[mine.miners.release]\nmax_commits = 5\n")
    short = codeflow(
        *words[:4], "none", *words[5:], "--config", "short.toml", cwd=tmp_path, plugins=(plugins,)
    )
    assert "kept    nothing" in short.stdout, short.stderr
    typo = codeflow(*words[:4], "none", *words[5:-1], "releas", cwd=tmp_path, plugins=(plugins,))
    assert (typo.returncode, "did you mean 'release'?" in typo.stderr) == (2, True)


def test_a_plugin_that_does_not_load_is_named(tmp_path: Path) -> None:
    info = tmp_path / "plugins" / "broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[codeflow.miners]\nx = broken_plugin:MINERS\n")
    (tmp_path / "plugins" / "broken_plugin.py").write_text("raise RuntimeError('no luck')\n")
    small_history(tmp_path / "small.git", commits=2)
    (tmp_path / "list.txt").write_text("small.git\n")
    words = ("mine", "--repos", "list.txt", "--out", "data", "--workers", "1", "--until", "mine")
    done = codeflow(*words, cwd=tmp_path, plugins=(tmp_path / "plugins",))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "broken_plugin" in line
    assert "no luck" in line


def test_what_is_pinned_is_what_is_asked_for() -> None:
    """Every direct dependency has a pin, so that the README's commands give the tested versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["demo"]]
    wanted = [requirement for requirement in wanted if not requirement.startswith(project["name"])]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in pins if "==" in line}
    for requirement in wanted:
        assert requirement.partition(">=")[0].partition("[")[0] in pinned, requirement
