"""Servers that refuse: each time heals is waited out within one run, as long as they ask."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloned import refs_of, source
from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.acquire import clone, hosts
from codeflow_miners.acquire.answers import Answer, read_answer
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.hosts import SLOTS, Host
from codeflow_miners.acquire.repositories import Source
from hostile import history
from http_git import GitServer, Mood, hangs_up, says

pytestmark = pytest.mark.timeout(120)

NOW = 1_800_000_000.0
GITHUB_SAYS = b"You have exceeded a secondary rate limit. Please wait a few minutes."


LOCK_LOOK_S = 0.1


class Clock:
    """Time that passes by sleeping alone; a look at a lock takes real time, and none of this."""

    def __init__(self) -> None:
        self.now = NOW
        self.pauses: list[float] = []

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        if seconds == LOCK_LOOK_S:
            time.sleep(0.01)
            return
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (clone, hosts):
        monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(hosts, "random", SimpleNamespace(sample=random.sample, uniform=_nothing))
    monkeypatch.setattr(clone, "random", SimpleNamespace(uniform=_nothing))
    monkeypatch.setattr("codeflow_miners.acquire.git.PROTOCOLS", "http")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return made


def _nothing(low: float, high: float) -> float:
    return low


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    history(tmp_path / "served" / "r.git")
    made = GitServer(tmp_path / "served")
    yield made
    made.close()


def at(server: GitServer, name: str = "r.git") -> Source:
    url = f"{server.url}/{name}"
    return replace(source(f"https://h.org/{name}"), location=url, url=url, problem="")


@pytest.mark.parametrize(
    ("moods", "pauses"),
    [
        ([says(429, Retry_After="7")], [7.0]),
        ([says(429, Retry_After="7")] * 5, [7.0] * 5),  # more often than an error is tried again
        ([says(429, retry_after=email.utils.formatdate(NOW + 90, usegmt=True))], [90.0]),
        ([says(403, GITHUB_SAYS, Retry_After="60")], [60.0]),
        ([says(403, GITHUB_SAYS)], [60.0]),
        ([says(403, X_RateLimit_Remaining="0", X_RateLimit_Reset=f"{NOW + 300:.0f}")], [300.0]),
        ([says(429, b"", RateLimit_Remaining="0", RateLimit_Reset="12")], [12.0]),
        ([says(503, b"busy", Retry_After="5")], [5.0]),
        ([says(500)], [0.005]),
        ([says(502), hangs_up, says(503)], [0.005, 0.01, 0.02]),
        ([says(500), says(429, Retry_After="3"), says(500)], [0.005, 3.0, 0.01]),
    ],
)  # fmt: skip
def test_what_time_heals_needs_no_second_run(
    moods: list[Mood], pauses: list[float], server: GitServer, clock: Clock, tmp_path: Path
) -> None:
    server.moods += moods
    cached = acquire(at(server), tmp_path / "cache", retries=3)
    assert clock.pauses == pytest.approx(pauses)
    assert refs_of(cached) == refs_of(tmp_path / "served" / "r.git")
    # an update is refused in the same ways
    clock.pauses.clear()
    clock.now = NOW
    (tmp_path / "cache" / "hosts").rename(tmp_path / "forgotten")
    server.moods += moods
    assert acquire(at(server), tmp_path / "cache", retries=3) == cached
    assert clock.pauses == pytest.approx(pauses)
    assert not list((tmp_path / "cache").glob("*.answers"))


@pytest.mark.parametrize(
    ("mood", "rule", "told"),
    [
        (says(429, Retry_After="7200"), "rate-limited", "asks to wait 7200 s"),
        (says(403), "no-access", "needs a login"),
        (says(403, b"", X_RateLimit_Remaining="12"), "no-access", "needs a login"),
        (says(401, WWW_Authenticate='Basic realm="x"'), "no-access", "needs a login"),
        (says(404), "missing", "no repository at this URL"),
        (says(503), "unreachable", "503"),
    ],
)
def test_what_is_not_waited_for_says_why(
    mood: Mood, rule: str, told: str, server: GitServer, clock: Clock, tmp_path: Path
) -> None:
    server.moods += [mood] * 9
    with pytest.raises(RepositoryError, match=told) as caught:
        acquire(at(server), tmp_path / "cache", retries=2, timeout_s=3600)
    assert caught.value.rule == rule
    assert len(server.asked) == (3 if rule == "unreachable" else 1)
    assert not list((tmp_path / "cache").glob("*.answers"))


def test_a_limit_that_never_ends_is_waited_for_as_long_as_an_attempt_may_take(
    server: GitServer, clock: Clock, tmp_path: Path
) -> None:
    server.moods += [says(429, Retry_After="20")] * 9
    with pytest.raises(LimitExceededError) as caught:
        acquire(at(server), tmp_path / "cache", timeout_s=90)
    assert caught.value.rule == "rate-limited"
    assert not caught.value.deterministic
    assert clock.pauses == pytest.approx([20.0] * 4)


def test_all_who_share_the_cache_leave_the_host_alone(
    server: GitServer, clock: Clock, tmp_path: Path
) -> None:
    other = history(tmp_path / "served" / "other.git")[0]
    server.moods.append(says(429, Retry_After="3000"))
    with pytest.raises(LimitExceededError, match="asks to wait 3000 s"):
        acquire(at(server), tmp_path / "cache", timeout_s=600)
    Host(tmp_path / "cache", server.url, 600).hold_off(50)
    asked = len(server.asked)
    cached = acquire(at(server, "other.git"), tmp_path / "cache")
    assert clock.pauses == pytest.approx([50.0])
    assert len(server.asked) > asked
    assert refs_of(cached) == refs_of(other.git_dir)
    Host(tmp_path / "cache", server.url, 600).hold_off(5)
    Host(tmp_path / "cache", server.url, 600).hold_off(2)  # the longer wish counts
    with Host(tmp_path / "cache", server.url, 600).turn():
        assert clock.pauses[-1] == pytest.approx(5.0)
    Host(tmp_path / "cache", server.url, 600).hold_off(4000)
    with (
        pytest.raises(LimitExceededError, match="no requests for another 4000 s"),
        Host(tmp_path / "cache", server.url, 600).turn(),
    ):
        pass


def test_one_host_does_not_wait_for_another(clock: Clock, tmp_path: Path) -> None:
    Host(tmp_path, "https://a.org/x", 600).hold_off(0)
    with Host(tmp_path, "https://a.org/x", 600).turn():
        pass
    Host(tmp_path, "https://a.org/x", 600).hold_off(100)
    for url in ("https://b.org/x", "ssh://git@a.org:22/x", "file:///a.org/x"):
        with Host(tmp_path, url, 600).turn():
            assert clock.pauses == []
    with Host(tmp_path, "https://me@a.org/y", 600).turn():
        assert clock.pauses == pytest.approx([100.0])


def _hold(folder: Path, started: list[int], begin: threading.Event, end: threading.Event) -> None:
    begin.wait(60)
    with Host(folder, "https://h.org/x", 600).turn():
        started.append(1)
        end.wait(60)


def test_no_more_talk_to_a_host_than_it_has_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "_LOOK_S", 0.001)
    started: list[int] = []
    begin, end = threading.Event(), threading.Event()
    threads = [
        threading.Thread(target=_hold, args=(tmp_path, started, begin, end))
        for _ in range(SLOTS + 5)
    ]
    for thread in threads:
        thread.start()
    begin.set()
    while len(started) < SLOTS:
        time.sleep(0.001)
    with (
        pytest.raises(LimitExceededError, match="too many clones"),
        Host(tmp_path, "https://h.org/x", 0).turn(),
    ):
        pass
    assert len(started) == SLOTS
    end.set()
    for thread in threads:
        thread.join(60)
    assert len(started) == SLOTS + 5


def test_of_several_answers_the_last_counts(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text(
        "<= Recv header: HTTP/1.1 429 Too Many\n<= Recv header: Retry-After: 9\n"
        "<= Recv header:\n=> Send header: Retry-After: 8\n<= Recv header: HTTP/2 200\n"
    )
    assert read_answer(trace, "", NOW) == Answer(200, None)
    assert read_answer(tmp_path / "none", "rate limit", NOW) == Answer()
    trace.write_text("<= Recv header: HTTP/2 429\n<= Recv header: retry-after: soon\n")
    assert read_answer(trace, "", NOW) == Answer(429, 60.0)
