"""Shingles against a regular expression and Python's sets; signatures against datasketch."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow_filters.dedup import signatures
from codeflow_filters.dedup.curve import curve, detection
from codeflow_filters.dedup.links import jaccard
from codeflow_filters.dedup.shingles import Shingles, make_shingles
from codeflow_filters.dedup.signatures import band_keys, make_signatures
from dedup_samples import (
    lines_of,
    naive_jaccard,
    naive_shingles,
    naive_tokens,
    patch_of,
    planted_pair,
    words,
)

TEXT = st.text(st.sampled_from("abcdefgh_09é漢語ก็。\u3000+-*({. \t\r\x0b@"), max_size=40)
LONG = st.integers(60, 200).map(lambda n: "x" * n)  # around the 64 bytes at which a run is cut
PATCHES = st.lists(
    st.tuples(
        st.lists(TEXT | LONG, min_size=1, max_size=5), st.lists(TEXT | LONG, min_size=1, max_size=5)
    ).map(lambda both: patch_of(*both).encode()),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@given(PATCHES, st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_shingles_are_the_distinct_n_grams_of_signed_tokens(
    patches: list[bytes], ngram: int
) -> None:
    patches = [*patches, b"", patches[0]]
    found = make_shingles(lines_of(patches), ngram)
    expected = [naive_shingles(patch, ngram) for patch in patches]
    assert found.tokens.tolist() == [len(naive_tokens(patch)) for patch in patches]
    assert np.diff(found.offsets).tolist() == [len(grams) for grams in expected]
    for (k, one), (j, other) in combinations(enumerate(expected), 2):
        if one or other:
            assert jaccard(found.of(k), found.of(j)) == naive_jaccard(one, other)


def test_a_token_is_all_of_its_bytes() -> None:
    """Words of an 8-byte read, of two, and of the last byte of a token."""
    runs = ["a" * n for n in range(1, 70)] + ["a" * n + "b" for n in range(70)]
    patches = [patch_of([], [run]).encode() for run in runs]
    found = make_shingles(lines_of(patches), 1)
    hashes = {tuple(found.of(k).tolist()) for k in range(len(patches))}
    assert len(hashes) == len({frozenset(naive_shingles(p, 1)) for p in patches})


def test_a_revert_is_another_change_and_names_of_files_are_no_tokens() -> None:
    there, back = patch_of(["x = 1"], ["y = 2"]), patch_of(["y = 2"], ["x = 1"])
    elsewhere = patch_of(["x = 1"], ["y = 2"], path="other", at=70, context="d e f")
    found = make_shingles(lines_of([p.encode() for p in (there, back, elsewhere)]), 3)
    assert jaccard(found.of(0), found.of(1)) < 0.5
    assert jaccard(found.of(0), found.of(2)) == 1


def test_lines_that_look_like_headers_are_changes_in_a_hunk() -> None:
    patch = patch_of(["-- a/x y z"], ["++ b/x y z"]).encode()
    assert b"\n--- a/x y z\n+++ b/x y z\n" in patch
    found = make_shingles(lines_of([patch]), 2)
    assert len(found.of(0)) == len(naive_shingles(patch, 2)) > 0


# -- signatures


def some_shingles(rng: random.Random, sizes: list[int]) -> Shingles:
    patches = [patch_of([], words(rng, size)).encode() if size else b"" for size in sizes]
    return make_shingles(lines_of(patches), 5)


@pytest.mark.parametrize("piece", [1, 64, 1 << 15])
def test_signatures_are_those_of_datasketch(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_PIECE", piece)
    shingles = some_shingles(random.Random(1), [0, 30, 3, 500, 5, 0, 0, 41, 6, 0])
    found = make_signatures(shingles, 112)
    for k, signature in enumerate(found):
        theirs = MinHash(112, hashfunc=lambda value: value)
        theirs.update_batch(shingles.of(k).tolist())
        assert signature.tolist() == theirs.hashvalues.tolist()


def test_patches_share_a_key_where_the_whole_band_is_equal() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3, (200, 12)).astype(np.uint32)
    seeds = rng.integers(0, 2, 200).astype(np.uint64)
    keys = band_keys(values, 4, 3, seeds)
    for one, other in combinations(range(200), 2):
        same = (values[one].reshape(4, 3) == values[other].reshape(4, 3)).all(axis=1)
        assert (keys[one] == keys[other]).tolist() == (same & (seeds[one] == seeds[other])).tolist()
    assert len(np.unique(band_keys(np.zeros((1, 12), np.uint32), 4, 3, seeds[:1]))) == 4


def test_the_curve_is_what_bands_find() -> None:
    """Pairs of known similarity, by their signatures alone: within four standard errors."""
    rng = random.Random(5)
    bands, rows = 8, 4
    for similarity in (0.35, 0.5, 0.6, 0.7):
        pairs = [planted_pair(rng, similarity, 120) for _ in range(300)]
        shingles = make_shingles(lines_of([p.encode() for pair in pairs for p in pair]), 5)
        keys = band_keys(make_signatures(shingles, 32), bands, rows, np.zeros(600, np.uint64))
        chances = [
            detection(jaccard(shingles.of(k), shingles.of(k + 1)), bands, rows)
            for k in range(0, 600, 2)
        ]
        found = (keys[::2] == keys[1::2]).any(axis=1).sum()
        error = sum(chance * (1 - chance) for chance in chances) ** 0.5
        assert abs(found - sum(chances)) <= 4 * error, similarity


def test_the_curve_of_known_bands() -> None:
    assert detection(0.8, 14, 8) == pytest.approx(0.924, abs=5e-4)
    assert detection(0.8, 25, 10) == pytest.approx(0.942, abs=5e-4)
    points = curve(16, 7)
    assert points[0] == (0, 0)
    assert points[-1] == (1, 1)
    assert [p for _, p in points] == sorted(p for _, p in points)
    assert dict(points)[0.8] == pytest.approx(1 - (1 - 0.8**7) ** 16, abs=1e-6)
