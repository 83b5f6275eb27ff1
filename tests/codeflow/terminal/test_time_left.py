"""The arithmetic of progress: speed, time left, rates."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.terminal.progress import PlainProgress, Tally
from displays import Clock


def test_time_left_is_unknown_until_a_unit_is_done_and_then_the_mean_of_the_stage() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.add(units=5)
    clock.now += 50
    tally.stage("content", 10)
    clock.now += 8
    assert tally.left_s is None  # units of the stage before say nothing
    tally.add(units=2)
    assert tally.left_s == pytest.approx(8 * 4)
    tally.add(units=8)
    assert tally.left_s == 0
    tally.stage("write", None)
    clock.now += 5
    tally.add(units=1)
    assert tally.left_s is None


def test_units_found_done_do_not_count_as_speed() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.stage("content", 100, done=90)
    clock.now += 10
    assert tally.left_s is None
    tally.add(units=1)
    assert tally.left_s == pytest.approx(9 * 10)


def test_a_slow_beginning_is_forgotten() -> None:
    """45 s at nothing while workers start, then a unit a second: 12 s before the end it says 12."""
    clock = Clock()
    tally = Tally(clock)
    tally.stage("content", 100)
    clock.now += 45
    assert tally.left_s is None
    for _ in range(88):
        clock.now += 1
        tally.add(units=1)
    assert tally.left_s == pytest.approx(12, rel=0.05)


def test_time_left_runs_down_between_units_and_never_below_nothing() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.stage("filter", 3)
    clock.now += 20
    tally.add(units=1)
    seen = []
    for _ in range(5):
        seen.append(tally.left_s)
        clock.now += 10
    assert seen == [40, 30, 20, 10, 0]
    clock.now += 50
    assert tally.left_s == 0


@given(
    st.floats(min_value=0.01, max_value=100),
    st.integers(min_value=2, max_value=300),
    st.floats(min_value=0, max_value=1e4),
)
def test_at_a_steady_speed_it_is_right_whenever_asked(
    unit_s: float, total: int, start_s: float
) -> None:
    clock = Clock()
    tally = Tally(clock)
    clock.now += start_s
    tally.stage("x", total)
    for done in range(1, total + 1):
        clock.now += unit_s
        tally.add(units=1)
        left = tally.left_s
        if done * unit_s >= 1.1:
            assert left == pytest.approx((total - done) * unit_s, rel=0.02, abs=0.02)


def test_tiny_units_cost_no_memory() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.stage("tokens", 10**6)
    for _ in range(100_000):  # 10 s
        clock.now += 1e-4
        tally.add(units=1)
    assert len(tally._ends) < 250
    assert tally.left_s == pytest.approx(90, rel=0.02)


def test_nothing_that_a_stage_does_not_move_is_shown() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = PlainProgress(stream, clock)
    progress.stage("content", 4)
    clock.now += 20
    progress.add(units=4, repositories=2, repositories_done=2, commits=5, triples=7, bytes=900)
    progress.stage("filter", 2)
    clock.now += 20
    progress.add(units=2)
    progress.close()
    content, *_, last = stream.getvalue().splitlines()
    assert "commits 5" in content
    assert "triples 7" in content
    assert "filter 2/2  repositories 2/2  done" in last
    rerun = io.StringIO()
    progress = PlainProgress(rerun, clock)
    progress.stage("tokens", 2)
    progress.close()
    assert rerun.getvalue() == "0 s  tokens 0/2  stopped\n"


def test_rates_forget_what_is_older_than_the_window() -> None:
    clock = Clock()
    tally = Tally(clock)
    for _ in range(40):  # 20 s at 100 commits a second, sampled twice a second
        clock.now += 0.5
        tally.add(commits=50, bytes=1_000)
        commits, triples, size = tally.rates()
    assert (commits, triples, size) == pytest.approx((100, 0, 2_000))
    seen = []
    for _ in range(20):
        clock.now += 0.5
        seen.append(tally.rates()[0])
    assert seen[9] == pytest.approx(50)  # half of the window is at rest
    assert seen[19] == 0


def test_rates_of_a_display_that_samples_rarely_are_the_mean_since_its_last_sample() -> None:
    clock = Clock()
    tally = Tally(clock)
    clock.now += 60
    tally.rates()
    clock.now += 30
    tally.add(commits=300)
    assert tally.rates()[0] == pytest.approx(10)
