"""The order of an upload's steps: every moment is whole or nothing, and wrong orders are seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.storage import layout
from codeflow.storage import transfer as remote
from codeflow.storage.transfer import Step, steps, upload
from object_store import Request, is_whole, store_of, watch


@st.composite
def states(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """(dataset wanted, what is at the prefix, which of it is known to be the same), by path."""
    names = [f"{table}/{k}" for table in ("triples", "blobs") for k in range(3)] + ["README.md"]
    version = st.sampled_from(["1", "2"])
    wanted = draw(st.dictionaries(st.sampled_from(names), version, min_size=1))
    old = draw(st.dictionaries(st.sampled_from(names), version))
    present = dict(old)
    if draw(st.booleans()):
        present[layout.MANIFEST] = json.dumps(old)
    elif draw(st.booleans()):
        present = {**old, **wanted, layout.UPLOAD_MARK: ""}
    same = {path for path in wanted if present.get(path) == wanted[path] and draw(st.booleans())}
    if present.get(layout.MANIFEST) == json.dumps(wanted):
        same = {*wanted, layout.MANIFEST}
    return wanted, present, same


def played(
    wanted: dict[str, str], present: dict[str, str], order: list[Step]
) -> Iterator[dict[str, str]]:
    """What is at the prefix before the first step and after each."""
    content = {**wanted, layout.MANIFEST: json.dumps(wanted), layout.UPLOAD_MARK: ""}
    now = dict(present)
    yield now
    for action, path in order:
        now = {name: value for name, value in now.items() if name != path}
        if action == "put":
            now[path] = content[path]
        yield now


def whole(now: dict[str, str]) -> bool:
    if layout.MANIFEST not in now:
        return True
    listed = json.loads(now[layout.MANIFEST])
    return listed == {path: v for path, v in now.items() if "/" in path or path in listed}


@given(states())
def test_every_moment_is_whole_or_nothing(
    state: tuple[dict[str, str], dict[str, str], set[str]],
) -> None:
    wanted, present, same = state
    if not whole(present):
        return
    moments = list(played(wanted, present, list(steps(wanted, present.keys(), same))))
    assert all(whole(now) for now in moments)
    assert layout.MANIFEST in moments[-1]
    assert layout.UPLOAD_MARK not in moments[-1]
    assert {path: moments[-1][path] for path in wanted} == wanted
    if layout.MANIFEST not in same:  # between the first change and the last, the prefix is marked
        assert all(layout.UPLOAD_MARK in now for now in moments[1:-1])


def manifest_first(order: list[Step]) -> list[Step]:
    return sorted(order, key=lambda step: step != ("put", layout.MANIFEST))


def old_manifest_stays(order: list[Step]) -> list[Step]:
    return [step for step in order if step != ("remove", layout.MANIFEST)]


def leftovers_go_last(order: list[Step]) -> list[Step]:
    return sorted(order, key=lambda step: step.action == "remove" and "/" in step.path)


@pytest.mark.parametrize("wrong", [manifest_first, old_manifest_stays, leftovers_go_last])
def test_a_wrong_order_is_seen_by_a_reader(
    wrong: Callable[[list[Step]], list[Step]],
    memory: str,
    data: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = data
    upload(first, memory)
    broken: list[Request] = []

    def look(request: Request) -> None:
        if not is_whole(store_of(memory)):
            broken.append(request)

    watch(monkeypatch, look)
    monkeypatch.setattr(remote, "steps", lambda *arguments: iter(wrong(list(steps(*arguments)))))
    upload(second, memory)
    assert broken
