"""Positions by time, where some dates are wrong: as if those commits had no date of their own."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.config import Limits, MineConfig, Window
from codeflow_miners.history.chain import Chain, read_chain
from codeflow_miners.history.dates import TOLERANCE_S, time_marks
from codeflow_miners.objects.reader import ObjectReader
from gitdag import EPOCH, Repo

DAY = 86_400
YEAR = 365 * DAY
SANE = [EPOCH + k * 20 * DAY for k in range(100)]  # five years and a half
WILD = {
    "zero": 0,
    "just after zero": 4711,
    "negative": -5,
    "no year yet": 3 * DAY,
    "a dead battery": 315_532_800,  # 1980
    "the next century": 4_102_444_800,
    "beyond the calendar": 10**15,
    "two years ahead": EPOCH + 8 * YEAR,
}


def mined(folder: Path, dates: list[int], window: tuple[float, float] = (0.4, 0.8)) -> Chain:
    """The chain of a real repository with these commit dates."""
    repo = Repo.create(folder / "r.git")
    for number, when in enumerate(dates):
        repo.commit({"f": f"{number}\n"}, when=when)
    config = MineConfig(window=Window(*window, "time"), limits=Limits(min_commits=2))
    assert repo.tip is not None
    return read_chain(ObjectReader(repo.git_dir), "r", bytes.fromhex(repo.tip), [], config, 1)


@pytest.mark.parametrize("name", WILD)
@pytest.mark.parametrize("at", [0, 1, 40, 98, 99])
def test_one_wild_date_moves_no_other_commit(tmp_path: Path, name: str, at: int) -> None:
    if name == "two years ahead" and at == len(SANE) - 1:
        pytest.skip("nothing contradicts it: the project may have paused")
    dates = [*SANE]
    dates[at] = WILD[name]
    chain = mined(tmp_path, dates, (0.0, 1.0))
    # by hand: the dates that are left, from the first to the last of them
    left = [date for k, date in enumerate(SANE) if k != at]
    expected = [(date - left[0]) / (left[-1] - left[0]) for date in left]
    found = [c.position for k, c in enumerate(chain.commits) if k != at]
    assert found == pytest.approx(expected[: len(found)])
    assert (
        chain.commits[at].position == pytest.approx(chain.commits[max(at - 1, 0)].position)
        or (at == 0 and chain.commits[0].position == 0)
        if at < len(chain.commits)
        else True
    )


@pytest.mark.parametrize("name", WILD)
def test_the_window_holds_what_it_would_hold(tmp_path: Path, name: str) -> None:
    chain = mined(tmp_path, [WILD[name], *SANE])
    sane = [
        k for k, date in enumerate(SANE) if 0.4 <= (date - SANE[0]) / (SANE[-1] - SANE[0]) < 0.8
    ]
    assert [chain.first + k for k in chain.starts] == [k + 1 for k in sane]


def test_several_wild_dates_at_both_ends_and_within() -> None:
    dates = [0, 7, 315_532_800, 315_532_900, *SANE, 4_102_444_800, SANE[-1], 4_102_444_900]
    dates[30] = dates[60] = 4_000_000_000
    dates[31] = dates[77] = 5
    marks = time_marks(dates)
    assert (marks[0], marks[4], marks[-1]) == (SANE[0], SANE[0], SANE[-1])
    kept = [k for k in range(4, 104) if k not in (30, 31, 60, 77)]
    assert [marks[k] for k in kept] == [dates[k] for k in kept]
    assert marks[30] == marks[31] == dates[29]
    assert marks[60] == dates[59]


def test_a_clock_that_is_ahead_for_many_commits() -> None:
    """A machine of next year: its commits are fewer than those that say otherwise."""
    dates = [*SANE]
    dates[20:30] = [date + 2 * YEAR for date in dates[20:30]]
    marks = time_marks(dates)
    assert marks[20:30] == [SANE[19]] * 10
    assert marks[30:] == SANE[30:]


def test_clocks_that_are_a_little_off_count_as_ever() -> None:
    dates = [*SANE]
    dates[10] = dates[11] + TOLERANCE_S
    assert time_marks(dates) == list(itertools.accumulate(dates, max))


def test_a_long_pause_is_no_mistake() -> None:
    """Most of a project's time may lie in a gap, or in few commits, if there are enough of them."""
    paused = [*SANE[:50], *(date + 6 * YEAR for date in SANE[50:])]
    assert time_marks(paused) == paused
    slow_end = [*(EPOCH + k * DAY for k in range(80)), *(EPOCH + k * YEAR for k in range(1, 21))]
    assert time_marks(slow_end) == slow_end


def test_without_any_true_date_the_recorded_ones_count() -> None:
    assert time_marks([5, 3, 9]) == [5, 5, 9]
    assert time_marks([0]) == [0]
    assert time_marks([EPOCH] * 4) == [EPOCH] * 4
    assert time_marks([0, 0, EPOCH, 0]) == [EPOCH] * 4


@given(st.lists(st.integers(-(10**10), 10**12), min_size=1, max_size=60))
def test_marks_never_decrease_and_lie_among_the_dates(dates: list[int]) -> None:
    marks = time_marks(dates)
    assert len(marks) == len(dates)
    assert marks == sorted(marks)
    assert set(marks) <= set(dates)


@given(st.lists(st.integers(0, TOLERANCE_S), min_size=1, max_size=60))
def test_dates_within_a_month_are_the_latest_so_far(offsets: list[int]) -> None:
    dates = [EPOCH + offset for offset in offsets]
    assert time_marks(dates) == list(itertools.accumulate(dates, max))
