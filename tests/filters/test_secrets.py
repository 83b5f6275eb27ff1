"""The filter of secrets on triples: both sides of a change, and histories read once."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from codeflow.text.secrets import find_secrets
from codeflow.triple import Triple
from codeflow_filters import secrets
from codeflow_filters.secrets import Secrets
from secret_samples import pem, token
from triples import FILES_ONLY, Blobs, Sides, plant, triple

ROOT = Path(__file__).resolve().parents[2]


def test_a_triple_goes_when_either_side_holds_a_secret() -> None:
    key = token()["Stripe Access Key"]
    clean, dirty = "a = 1\n", f"b = 2\nkey = '{key}'\n"
    added = Secrets()(plant({"a.py": clean}, {"a.py": dirty}))
    removed = Secrets()(plant({"a.py": dirty, "b.py": "x\n"}, {"b.py": "y\n"}))
    kept = Secrets()(plant({"a.py": clean}, {"a.py": "a = 2\n"}))
    assert (added.kept, added.reason, added.detail) == (
        False,
        "secret",
        "a.py:2 (new): Stripe Access Key",
    )
    assert (removed.kept, removed.detail) == (False, "a.py:2 (old): Stripe Access Key")
    assert kept.kept
    assert key not in f"{added}{removed}"


@st.composite
def edits_that_may_add_a_secret(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Texts of keys in pieces, long lines and plain ones; the second differs in a stretch or two.

    A stretch that goes may bring the halves of a key together, or take away what made it none.
    """
    values = [*token(1).values(), pem(2)]
    plain = st.sampled_from(["x = 1\n", "\n", "EXAMPLE", "y" * 300 + " ", "-- " * 2000, "azure "])
    cut = st.tuples(st.sampled_from(values), st.integers(1, 60)).map(lambda v: v[0][: v[1]])
    rest = st.tuples(st.sampled_from(values), st.integers(1, 60)).map(lambda v: v[0][v[1] :])
    old = draw(st.lists(plain | cut | rest | st.sampled_from(values), max_size=12))
    new = list(old)
    for _ in range(draw(st.integers(1, 2))):
        at, gone = draw(st.integers(0, len(new))), draw(st.integers(0, 2))
        new[at : at + gone] = draw(st.lists(plain | st.sampled_from(values), max_size=2))
    return "".join(old).encode(), "".join(new).encode()


def key_that_becomes_real() -> tuple[bytes, bytes]:
    """A private key of which one line far below its head stops saying that it is made up."""
    made_up = pem(3).replace("\n", "\nEXAMPLE", 4).encode()
    return made_up, made_up.replace(b"EXAMPLE", b"")


def edit(blobs: Blobs, sides: Sides) -> Triple:
    """A change of one file, whose contents other changes share."""
    return triple({"a.py": sides}, only=FILES_ONLY, blobs=blobs)


def agree(**options: Any) -> None:
    """Raises AssertionError where a history is judged otherwise than its contents by themselves."""

    @settings(deadline=None, **options)
    @given(st.lists(edits_that_may_add_a_secret(), min_size=1, max_size=3))
    @example([key_that_becomes_real()])
    def agrees(edits: list[tuple[bytes, bytes]]) -> None:
        secrets.forget()
        texts = [text for edit in edits for text in edit]
        blobs = Blobs()
        triples = [edit(blobs, pair) for pair in itertools.pairwise(texts)]
        wanted = [set(Secrets().wants(each)) for each in triples]
        for each, sides in zip(triples, itertools.pairwise(texts), strict=True):
            assert Secrets()(each).kept == (not any(map(find_secrets, sides)))
        assert set().union(*wanted) <= blobs.contents.keys()

    agrees()


@pytest.mark.slow
def test_a_history_is_judged_as_its_contents_are() -> None:
    agree()


def test_a_secret_of_several_lines_that_no_line_shows_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secrets, "several_lines", tuple)
    with pytest.raises(AssertionError):
        agree(database=None, phases=[Phase.explicit])


def test_added_lines_that_are_not_looked_at_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "added", lambda _: b"")
    with pytest.raises(AssertionError):
        agree(max_examples=1000, database=None, phases=[Phase.generate])


def test_contents_that_are_forgotten_on_the_way_are_linked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets.forget()
    monkeypatch.setattr(secrets, "_MOST_KNOWN", 4)
    blobs = Blobs()
    texts = [f"a = {k}\n".encode() for k in range(12)]
    triples = [edit(blobs, pair) for pair in itertools.pairwise(texts)]
    for each in triples:
        set(Secrets().wants(each))
    assert all(Secrets()(each).kept for each in triples)
    dirty = edit(blobs, (texts[-1], token()["NPM tokens"]))
    assert not Secrets()(dirty).kept


def test_of_a_clean_file_only_the_first_content_is_read() -> None:
    secrets.forget()
    blobs = Blobs()
    texts = [f"a = {k}\n".encode() for k in range(5)]
    triples = [edit(blobs, pair) for pair in itertools.pairwise(texts)]
    first = triples[0].files[0].old_blob
    assert [set(Secrets().wants(each)) for each in triples] == [{first}] * 4
    blobs.contents = {first or "": texts[0]}  # any other content is an error
    assert all(Secrets()(each).kept for each in triples)
    new = edit(blobs, (None, "b = 1\n"))
    assert not set(Secrets().wants(new))


def test_it_reads_what_it_says_and_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a detector opened a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    text = "\n".join([*token().values(), pem()])
    assert not Secrets()(plant({"a": "x\n"}, {"a": text}, only=FILES_ONLY)).kept
    assert len({finding.kind for finding in find_secrets(text.encode())}) == len(token()) + 1
