"""A clone that is gone between a run and its resumption comes back, or the run says so."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from codeflow.errors import CodeflowError, RepositoryError
from codeflow_miners.acquire.open import AcquireArguments, Opened, acquire_source, find_again
from codeflow_miners.acquire.repositories import Source, parse_sources
from gitdag import git
from hostile import history


def open_source(source: Source, cache: Path) -> Opened:
    """A source that was cloned; its history is of no interest here."""
    arguments = AcquireArguments(source, str(cache), False, 1 << 20)
    acquired = acquire_source(arguments, None)  # type: ignore[arg-type]
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Opened))
    return Opened(**(nothing | {name: acquired[name] for name in ("git_dir", "head")}))


def test_a_clone_that_is_gone_is_fetched_again_with_the_pinned_head(tmp_path: Path) -> None:
    remote, _ = history(tmp_path / "r")
    [source] = parse_sources([f"file://{remote.path}"], tmp_path)
    cache = tmp_path / "cache"
    opened = open_source(source, cache)
    assert find_again(source, opened.git_dir, opened.head, str(cache)) == opened.git_dir
    remote.commit({"later.py": "x = 1\n"})
    shutil.rmtree(cache)
    again = find_again(source, opened.git_dir, opened.head, str(tmp_path / "elsewhere"))
    assert Path(again).is_relative_to(tmp_path / "elsewhere")
    assert git(f"--git-dir={again}", "cat-file", "-t", opened.head).strip() == b"commit"


def test_a_clone_that_does_not_come_back_stops_the_run_and_costs_nothing(tmp_path: Path) -> None:
    remote, _ = history(tmp_path / "r")
    [source] = parse_sources([f"file://{remote.path}"], tmp_path)
    cache = tmp_path / "cache"
    opened = open_source(source, cache)
    shutil.rmtree(cache)
    shutil.rmtree(remote.path)
    with pytest.raises(CodeflowError, match="run the same command again") as caught:
        find_again(source, opened.git_dir, opened.head, str(cache))
    assert not isinstance(caught.value, RepositoryError), "that would end the repository for good"
    assert str(caught.value).count("\n") == 0


def test_names_of_two_paths_alike_do_not_depend_on_where_the_list_lies(tmp_path: Path) -> None:
    lines = ["a/x/det", "b/x/det"]
    here = [source.repo for source in parse_sources(lines, tmp_path / "here")]
    there = [source.repo for source in parse_sources(lines, tmp_path / "there")]
    assert here == there
    assert len(set(here)) == 2
