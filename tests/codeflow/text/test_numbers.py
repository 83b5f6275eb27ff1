"""Numbers as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.text.numbers import duration, quantity


@given(st.floats(min_value=0, max_value=9.9e14))
def test_a_quantity_has_few_digits_and_is_near_the_number(value: float) -> None:
    match = re.fullmatch(r"(\d{1,3}|\d\.\d)([kMGT]?)", quantity(value))
    assert match, quantity(value)
    read = float(match[1]) * 1000 ** " kMGT".index(match[2] or " ")
    assert read == pytest.approx(value, rel=0.06, abs=0.06)


def test_quantities_and_durations_read_as_a_person_writes_them() -> None:
    assert quantity(1_200) == "1.2k"
    assert quantity(3_400_000, "B") == "3.4 MB"
    assert quantity(999_999) == "1.0M"
    assert quantity(9_970) == "10k"
    assert [quantity(7), quantity(950), quantity(0, "B")] == ["7", "950", "0 B"]
    words = ["?", "59 s", "1 min 00 s", "1 h 00 min", "2 h 10 min"]
    assert [duration(s) for s in (None, 59.4, 59.6, 3599.7, 7800)] == words


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (3e15, "3000 TB")],
)
def test_sizes(count: float, text: str) -> None:
    assert quantity(count, "B") == text
