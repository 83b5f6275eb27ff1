"""Bots, licences and opt-outs: which sources may be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.errors import UsageError
from codeflow_filters.bots import Bots
from codeflow_filters.license import PERMISSIVE, License, allows
from codeflow_filters.optout import OptOut
from triples import triple


def test_bots() -> None:
    assert Bots()(triple(author_kind="human")).kept
    assert Bots()(triple(author_kind="bot")).reason == "bot"


@pytest.mark.parametrize(
    ("license", "reason"),
    [
        ("MIT", None),
        ("mit", None),
        ("GPL-3.0", "not-allowed"),
        ("MIT OR GPL-3.0", None),
        ("MIT AND GPL-3.0", "not-allowed"),
        ("GPL-2.0 OR MIT AND GPL-3.0", "not-allowed"),
        ("(GPL-2.0 OR MIT) AND ISC", None),
        ("Apache-2.0 WITH LLVM-exception", None),
        ("GPL-2.0 WITH Classpath-exception-2.0", "not-allowed"),
        ("MIT OR", "not-allowed"),
        ("(MIT", "not-allowed"),
        ("MIT MIT", "not-allowed"),
        (None, "no-license"),
    ],
)
def test_licences(license: str | None, reason: str | None) -> None:
    assert License()(triple(license=license)).reason == reason


def test_the_list_and_the_unknown_are_parameters() -> None:
    assert License(allow=("EPL-1.0",))(triple(license="EPL-1.0")).kept
    assert not License(allow=("EPL-1.0",))(triple(license="MIT")).kept
    assert License(keep_unknown=True)(triple(license=None)).kept
    assert not {"GPL-3.0", "AGPL-3.0", "LGPL-3.0", "EPL-1.0", "MPL-2.0"} & set(PERMISSIVE)


EXPRESSION = st.recursive(
    st.sampled_from(["GOOD", "BAD", "GOOD WITH exception", "BAD WITH exception"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" AND ", " OR "]), inner).map("".join),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=8,
)


@given(EXPRESSION)
def test_expressions_are_python_s(expression: str) -> None:
    """Python binds `and` and `or` as SPDX does, and has parsed them for longer than we have."""
    words = {" WITH exception": "", "GOOD": "True", "BAD": "False", "AND": "and", "OR": "or"}
    text = expression
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    assert allows(expression, {"good"}) == eval(text)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("owner", False),
        ("OWNER/Name", False),
        ("example.org/owner", False),
        ("https://example.org/owner/name.git", False),
        ("git@example.org:owner/name", False),
        ("name", True),
        ("own", True),
        ("owner/other", True),
        ("elsewhere.org/owner", True),
        ("example.org", True),
    ],
)
def test_who_opted_out(name: str, kept: bool) -> None:
    assert OptOut(names=(name,))(triple()).kept == kept


def test_a_local_repository_has_the_last_name_of_its_path() -> None:
    local = triple(repo="flask-1a2b3c4d", repo_url="flask")
    assert OptOut(names=("Flask",))(local).reason == "opted-out"
    assert OptOut(names=("flask-1a2b3c4d",))(local).reason == "opted-out"
    assert OptOut(names=("flask/flask",))(local).kept


def test_groups_within_groups() -> None:
    deep = triple(repo="example.org/group/sub/name", repo_url="https://example.org/group/sub/name")
    for name in ("group", "group/sub", "group/sub/name", "example.org/group/sub"):
        assert not OptOut(names=(name,))(deep).kept
    assert OptOut(names=("sub",))(deep).kept


def test_names_from_a_file_are_part_of_the_parameters(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# who asked\n\nOwner  # by letter\nother/thing\n")
    filter = OptOut(names=("third",), file=str(path))
    assert filter.names == ("other/thing", "owner", "third")
    assert not filter(triple()).kept
    assert OptOut()(triple()).kept


def test_a_missing_file_and_an_empty_name_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"optout\.file: .*missing\.txt: cannot read the"):
        OptOut(file=str(tmp_path / "missing.txt"))
    with pytest.raises(UsageError, match=r"optout\.names: '/'"):
        OptOut(names=("/",))
