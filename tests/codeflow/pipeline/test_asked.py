"""A folder keeps what it was last asked for; a command says what it changes before it does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import codeflow
import faults
from codeflow import Triple, Verdict, drop, keep
from codeflow.errors import CodeflowError, UsageError
from codeflow.pipeline.asked import chain_of
from small_history import codeflow as shell
from small_history import small_history

MINE = ("mine", "--repos", "list.txt", "--out", "data", "--workers", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a list and what `codeflow mine` made of it. Read only."""
    folder = tmp_path_factory.mktemp("asked")
    small_history(folder / "small.git")
    (folder / "list.txt").write_text(f"{folder}/small.git\n")
    run(folder, *MINE)
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "work", symlinks=True)
    return tmp_path / "work"


def run(folder: Path, *words: str, status: int = 0) -> str:
    """What a command says on standard error."""
    done: subprocess.CompletedProcess[str] = shell(*words, cwd=folder)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def filters_of(folder: Path) -> list[str]:
    """Names of the filters that decided what is published."""
    stages = json.loads((folder / "data/manifest.json").read_bytes())["stages"]
    return [name for name, _ in stages[0]["settings"]["filters"]]


def test_the_command_that_mined_undoes_nothing(work: Path) -> None:
    run(work, "filter", "data", "--filter", "size", "bots")
    run(work, "report", "data")
    before = faults.published(work / "data")
    said = run(work, *MINE)
    assert "nothing to do" in said
    assert "changes" not in said
    assert faults.published(work / "data") == before
    assert (work / "data/report.html").exists()
    # nor does a stage after it, nor the same in Python
    run(work, "mix", "data", "--budget", "3000")
    codeflow.mine(work / "list.txt", work / "data")
    assert sorted(filters_of(work)) == ["bots", "size"]


def test_what_is_named_is_changed_and_said_before(work: Path) -> None:
    run(work, "filter", "data", "--filter", "size", "bots")
    run(work, "report", "data")
    said = run(work, *MINE, "--filter", "default").splitlines()
    [changed] = [n for n, line in enumerate(said) if "changes filter.filters" in line]
    assert said[changed].endswith('from ["size", "bots"] to ["default"]')
    [gone] = [n for n, line in enumerate(said) if "removes report.html" in line]
    assert changed < next(n for n, line in enumerate(said) if "publish" in line)
    assert changed < gone
    assert len(filters_of(work)) > 5
    assert not (work / "data/report.html").exists()


@pytest.mark.slow
def test_parameters_that_stay_are_named_and_a_table_replaces_them(work: Path) -> None:
    (work / "few.toml").write_text(
        '[filter]\nfilters = ["size"]\n[filter.rules.size]\nmax_files = 1\n'
    )
    (work / "plain.toml").write_text('[filter]\nfilters = ["default"]\n')
    said = run(work, *MINE, "--config", "few.toml")
    assert 'changes filter.rules.size from its default to {"max_files": 1}' in said
    said = run(work, "filter", "data", "--filter", "default")
    assert "keeps filter.rules.size.max_files = 1" in said
    dropped = json.loads((work / "data/decisions/filter/stage.json").read_bytes())["figures"]
    assert dropped["rules"]["size/too-many-files"]
    assert "keeps" not in run(work, "filter", "data", "--filter", "none")
    said = run(work, "filter", "data", "--config", "plain.toml")
    assert 'changes filter.rules.size from {"max_files": 1} to its default' in said
    assert "nothing to do" in run(work, *MINE)
    assert "size/too-many-files" not in (work / "data/decisions/filter/stage.json").read_text()


def test_a_file_changes_the_tables_that_it_has(work: Path) -> None:
    run(work, "filter", "data", "--filter", "none")
    (work / "mix.toml").write_text("[mix]\nbudget_tokens = 3000\n")
    said = run(work, *MINE, "--config", "mix.toml")
    assert "changes mix.budget_tokens from 0 to 3000" in said
    assert said.count("changes") == 1
    assert filters_of(work) == ["none"] or filters_of(work) == []


@pytest.mark.slow
def test_mining_keys_that_are_not_given_are_the_folders(work: Path) -> None:
    run(work, *MINE[:3], "--out", "commits", "--workers", "1", "--kinds", "commit")
    again = (*MINE[:3], "--out", "commits", "--workers", "1")
    assert "nothing to do" in run(work, *again)
    assert "was mined with another kinds" in run(work, *again, "--kinds", "span", status=2)
    said = run(work, *again, "--fresh")
    assert 'changes mine.kinds from ["commit"] to ["span", "commit"]' in said


@pytest.mark.slow
def test_stages_stay_until_more_are_asked_for(work: Path) -> None:
    new = (*MINE[:3], "--out", "some", "--workers", "1")
    run(work, *new, "--until", "filter")
    assert chain_of(work / "some") == {"filter", "split"}
    assert "complete until filter; --until mix goes on" in run(work, *new)
    assert "goes on to dedup, mix" in run(work, *new, "--until", "mix")
    assert "leaves out filter, dedup, mix, split" in run(work, *new, "--until", "mine")
    assert "goes on to filter, split" in run(work, *new, "--filter", "none")


def test_what_was_asked_when_a_run_was_stopped_stays(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codeflow.mining.driver.Mining.mine_all", stop)
    with pytest.raises(KeyboardInterrupt):
        codeflow.mine(work / "list.txt", work / "new", filters=["size"], until="filter")
    monkeypatch.undo()
    codeflow.mine(work / "list.txt", work / "new")
    values = json.loads((work / "new/manifest.json").read_bytes())
    assert [stage["stage"] for stage in values["stages"]] == ["filter", "split"]
    assert [name for name, _ in values["stages"][0]["settings"]["filters"]] == ["size"]


@pytest.mark.slow
def test_what_proved_wrong_was_not_asked_for(work: Path) -> None:
    run(work, "filter", "data", "--filter", "none")
    words = ("publish", "data", "--split-by", "family", "--validation", "0.99")
    assert "--split-by time" in run(work, *words, status=2)
    said = run(work, "publish", "data")
    assert "changes" not in said
    assert "nothing to do" in run(work, *MINE)


def few(triple: Triple) -> Verdict:
    """Keeps the lower half."""
    return keep() if triple.id < "8" else drop("upper")


def test_a_function_stays_where_its_program_is_gone(work: Path) -> None:
    codeflow.mine(work / "list.txt", work / "data", filters=[few])
    before = faults.published(work / "data")
    assert "nothing to do" in run(work, *MINE)
    run(work, "mix", "data", "--budget", "100000000")
    run(work, "mix", "data", "--budget", "0")
    assert faults.published(work / "data") == before
    assert "unknown filter 'few'" in run(work, "filter", "data", status=2)
    shutil.rmtree(work / "data/decisions")
    said = run(work, *MINE, status=2)
    assert "run the program that has this filter, or give --filter" in said


@pytest.mark.slow
def test_a_filter_whose_code_changed_is_said_to_run_again(work: Path) -> None:
    text = (
        "from codeflow import drop, keep\n"
        "def lower(triple):\n"
        "    return keep() if triple.id < {!r} else drop('upper')\n"
    )
    (work / "own.py").write_text(text.format("8"))
    run(work, *MINE, "--filter", "own.py:lower")
    assert "runs filter" not in run(work, *MINE)
    (work / "own.py").write_text(text.format("c"))
    assert "runs filter lower again: its code" in run(work, *MINE)


@pytest.mark.slow
def test_damage_of_what_was_asked_says_what_to_do(work: Path) -> None:
    for text in ("{", "[]", '{"stages": 5, "tables": {}}', '{"stages": [], "tables": {"mix": 5}}'):
        (work / "data/.work/asked.json").write_text(text)
        for words in (MINE, ("filter", "data"), ("publish", "data")):
            [line] = run(work, *words, status=1).splitlines()
            assert "asked.json" in line
            assert "remove it, and give the options" in line
    (work / "data/.work/asked.json").unlink()
    assert "nothing to do" in run(work, *MINE)
    (work / "data/.work/run.json").write_text("{")
    assert "--fresh" in run(work, *MINE, status=1)
    run(work, *MINE, "--fresh")


# -- the status is of the command


def test_a_stage_that_did_its_work_exits_0_whatever_was_mined(work: Path) -> None:
    with (work / "list.txt").open("a") as listed:
        listed.write("gone\n")
    two = (*MINE[:3], "--out", "two", "--workers", "1")
    run(work, *two, status=1)
    for words in (
        ("filter", "two", "--filter", "none"),
        ("dedup", "two", "--threshold", "0.9"),
        ("mix", "two", "--budget", "100000"),
        ("publish", "two", "--validation", "0.3"),
        ("publish", "two"),
        ("filter", "two", "--filter", "default", "--json"),
    ):
        run(work, *words)
    run(work, *two, status=1)  # of mining, that one of two was not mined
    summary = codeflow.mine(work / "list.txt", work / "two")
    assert [failure.repo for failure in summary.failed] == ["gone"]


# -- arguments of Python


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"workers": "2"}, "workers '2': give a number"),
        ({"workers": True}, "workers True: give a number"),
        ({"workers": 1.5}, "workers 1.5: give a number"),
        ({"kinds": 5}, "kinds 5: give a list"),
        ({"kinds": [5]}, "kinds: 5 is not a name"),
        ({"kinds": [["span"]]}, "is not a name"),
        ({"kinds": {"span": 1}}, "give a list"),
        ({"filters": "default"}, "filters 'default': give a list"),
        ({"filters": 5}, "filters 5: give a list"),
        pytest.param({"filters": few}, "give a list", id="a function as filters"),
        ({"filters": [None]}, "filter None: give a name"),
        ({"window": "0.2-0.9"}, "window 0.2-0.9: write it as 0.4:0.8"),
        ({"window": 5}, "write it as 0.4:0.8"),
        ({"window": (0.1, 0.2, 0.3)}, "write it as 0.4:0.8"),
        ({"window": (None, 0.2)}, "write it as 0.4:0.8"),
        ({"until": 5}, "until 5"),
        ({"until": ["mix"]}, "until"),
        ({"config": 5}, "config 5: give a file"),
        ({"config": ["mine"]}, "give a file"),
        ({"config": {"mien": {}}}, "config: unknown table or key 'mien'"),
        ({"config": {5: {}}}, "config: unknown table or key 5"),
        ({"config": {"mine": 5}}, "config: mine must be a table"),
        ({"config": {"mine": {"kind": []}}}, "unknown key 'kind'; did you mean 'kinds'"),
        ({"config": {"mine": {"window": "0.2:0.9"}}}, "expected a table"),
        ({"config": {"mine": {"miners": 5}}}, "expected a table"),
        ({"config": {"filter": {"filters": [5]}}}, "filter 5"),
        ({"config": {"filter": {"rules": {"size": 5}}}}, "expected a table"),
        ({"config": {"dedup": {"bands": "16"}}}, "expected int"),
        ({"repos": 5}, "repos 5: give a list"),
        ({"repos": [5]}, "repos: 5 is no path"),
        ({"repos": [b"x"]}, "repos: b'x' is no path"),
        ({"out": 5}, "out: 5 is no path"),
        ({"out": None}, "out: None is no path"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_one_line(arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"repos": [tmp_path / "r"], "out": tmp_path / "out", **arguments}
    with pytest.raises(UsageError) as caught:
        codeflow.mine(**given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_window_as_people_type_it_and_tables_as_a_dict(work: Path) -> None:
    config = {"mine": {"kinds": ["commit"]}, "filter": {"filters": ["none"]}}
    codeflow.mine(
        [work / "small.git"], work / "new", window="0.2:0.9", config=config, until="filter"
    )
    values = json.loads((work / "new/manifest.json").read_bytes())["config"]
    assert (values["window"]["start"], values["window"]["stop"]) == (0.2, 0.9)
    assert values["kinds"] == ["commit"]
    with pytest.raises(CodeflowError, match="another kinds"):
        codeflow.mine([work / "small.git"], work / "new", config={"mine": {"kinds": ["span"]}})
