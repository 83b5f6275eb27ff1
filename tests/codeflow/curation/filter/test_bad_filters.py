"""Filters that fail, hang, or answer oddly, and names and parameters that are wrong."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import codeflow
from codeflow import Triple, Verdict, drop, keep
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.split.stage import SplitConfig
from codeflow.errors import UsageError
from small_history import small_history
from staged import WHOLE, by_id, even, ledger


def test_a_filter_that_fails_quarantines_and_drops_nothing_silently(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    unlucky = sorted(by_id(everything))[:5]

    def clumsy(triple: Triple) -> Verdict:
        if triple.id in unlucky:
            raise ZeroDivisionError("oh no")
        return keep()

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[clumsy], config=WHOLE)
    rows = ledger(out, "filter")
    assert [row["rule"] for row in rows] == ["clumsy/error"] * 5
    assert "oh no" in rows[0]["detail"]
    assert "line" in rows[0]["detail"]
    assert not set(unlucky) & by_id(out).keys()


def test_a_filter_that_hangs_is_ended_and_the_run_goes_on(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    stuck, *others = sorted(by_id(everything))

    def slow(triple: Triple) -> Verdict:
        while triple.id == stuck:
            with contextlib.suppress(Exception):
                re.fullmatch("(a|a)*b", "a" * 24)
        return keep()

    config = replace(WHOLE, filter=FilterConfig(max_seconds=0.3), split=SplitConfig(validation=0.0))
    out = tmp_path / "out"
    before, timed = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    summary = codeflow.mine(listing, out, until="filter", filters=[slow], config=config)
    [row] = ledger(out, "filter")
    assert (row["rule"], row["detail"]) == ("slow/time", "more than 0.3 s")
    assert by_id(out).keys() == set(others)
    assert not summary.deterministic
    assert json.loads((out / "manifest.json").read_bytes())["deterministic"] is False
    assert signal.getsignal(signal.SIGALRM) is before
    after = signal.getitimer(signal.ITIMER_REAL)
    assert (after[0] > 0, after[1]) == (timed[0] > 0, timed[1])  # pytest's own, if it has one


@pytest.mark.parametrize(
    "verdict",
    [
        drop(5),  # type: ignore[arg-type]
        drop("x", detail=5),  # type: ignore[arg-type]
        drop("x", detail="\udcff"),
        keep({5: 1.0}),  # type: ignore[dict-item]
        keep({"x": "many"}),  # type: ignore[dict-item]
        SystemExit(3),
    ],
)
def test_a_verdict_that_cannot_be_written_quarantines(
    verdict: Any, listing: Path, everything: Path, tmp_path: Path
) -> None:
    unlucky = sorted(by_id(everything))[:2]

    def odd(triple: Triple) -> Verdict:
        if triple.id not in unlucky:
            return keep()
        if isinstance(verdict, SystemExit):
            raise verdict
        return verdict

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[odd], config=WHOLE)
    assert [row["rule"] for row in ledger(out, "filter")] == ["odd/error"] * 2


def test_a_quarantined_triple_tells_nobody_the_folders_of_this_machine(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    unlucky = min(by_id(everything))

    def reads(triple: Triple) -> Verdict:
        if triple.id == unlucky:
            (tmp_path / "gone.txt").read_text()
        return keep()

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[reads], config=WHOLE)
    [row] = ledger(out, "filter")
    assert "gone.txt" in row["detail"]
    assert "test_bad_filters.py" in row["detail"]
    for folder in (tmp_path, Path(__file__).parent, Path(codeflow.__file__).parent):
        assert f"{folder}/" not in row["detail"]


def test_a_filter_that_fails_too_often_stops_the_run_in_one_line(
    listing: Path, tmp_path: Path
) -> None:
    def broken(triple: Triple) -> Any:
        return triple.id < "8"  # no Verdict

    with pytest.raises(UsageError) as caught:
        codeflow.mine(listing, tmp_path / "out", until="filter", filters=[broken], config=WHOLE)
    message = str(caught.value)
    assert "broken" in message
    assert "return keep() or drop" in message
    assert "\n" not in message
    # mended, the same folder goes on
    codeflow.mine(listing, tmp_path / "out", until="filter", filters=[even], config=WHOLE)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["defautl"], "did you mean 'default'"),
        (["no.such.module:x"], "No module named"),
        (["{folder}/mine.py:y"], "no function 'y'"),
        (["{folder}/mine.py"], "name the function in it"),
        (["{folder}/gone.py:x"], "no such file"),
        ([5], "filter 5: give a name"),
    ],
)
def test_a_wrong_name_costs_one_line_before_anything_is_mined(
    filters: list[Any], said: str, listing: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def x(triple):\n    return None\n")
    given = [f.format(folder=tmp_path) if isinstance(f, str) else f for f in filters]
    with pytest.raises(UsageError, match=said):
        codeflow.mine(listing, tmp_path / "out", filters=given)
    assert not (tmp_path / "out").exists()


def test_parameters_come_from_the_configuration_and_unknown_ones_are_errors(
    listing: Path, tmp_path: Path
) -> None:
    file = tmp_path / "codeflow.toml"
    file.write_text('[filter]\nfilters = ["message"]\n[filter.rules.message]\nmin_word = 3\n')
    with pytest.raises(UsageError, match=r"unknown key 'min_word'; did you mean 'min_words'"):
        codeflow.mine(listing, tmp_path / "out", config=file)
    file.write_text('[filter]\nfilters = ["message"]\n[filter.rules.messgae]\nmin_words = 3\n')
    with pytest.raises(UsageError, match="did you mean 'message'"):
        codeflow.mine(listing, tmp_path / "out", config=file)


def test_a_filter_that_fails_on_everything_ends_the_run(tmp_path: Path) -> None:
    def never(triple: Triple) -> Verdict:
        raise ZeroDivisionError

    repo = small_history(tmp_path / "small.git")
    with pytest.raises(UsageError, match="never failed on"):
        codeflow.mine([repo.path], tmp_path / "out", filters=[never])


def test_parameters_of_a_profile_are_refused(listing: Path, tmp_path: Path) -> None:
    file = tmp_path / "codeflow.toml"
    file.write_text('[filter]\nfilters = ["none"]\n[filter.rules.strict]\nmax_files = 3\n')
    with pytest.raises(UsageError, match="strict: it is a profile; name the filters in it"):
        codeflow.mine(listing, tmp_path / "out", config=file)


def test_keys_of_a_filter_that_does_not_run_are_checked(listing: Path, tmp_path: Path) -> None:
    file = tmp_path / "codeflow.toml"
    file.write_text('[filter]\nfilters = ["none"]\n[filter.rules.license]\nalow = ["MIT"]\n')
    with pytest.raises(UsageError, match="did you mean 'allow'"):
        codeflow.mine(listing, tmp_path / "out", config=file)
