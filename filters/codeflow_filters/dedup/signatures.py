"""MinHash signatures of shingle sets, as datasketch makes them, and the keys of their bands.

The permutations are datasketch's (`affine32`: a fixed bijection, then `a * h + b` modulo 2^32), and
a signature equals that of its `MinHash.update_batch` on the same hashes. What differs is the order
of work: one permutation over the sets of many patches, in pieces that stay in the cache, instead
of all permutations over one set.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from codeflow_filters.dedup.shingles import Hashes, Shingles, Words

_PIECE = 1 << 15  # hashes: two arrays of 128 KiB
_EMPTY = np.uint32(0xFFFFFFFF)


@cache
def permutations(count: int) -> tuple[Hashes, Hashes]:
    """(count,) and (count,): factors and summands of datasketch's first permutations."""
    from datasketch import MinHash

    factors, summands = MinHash(count, scheme="affine32").permutations
    return factors, summands


def make_signatures(shingles: Shingles, count: int) -> Hashes:
    """(P, count): the signature of each patch; that of an empty set is datasketch's, all ones."""
    factors, summands = permutations(count)
    signatures = np.full((count, len(shingles.offsets) - 1), _EMPTY)
    filled = np.flatnonzero(np.diff(shingles.offsets))
    begins = shingles.offsets[filled]
    mixed = _fmix32(shingles.hashes)
    first = 0
    while first < len(filled):
        stop = max(first + 1, int(np.searchsorted(begins, begins[first] + _PIECE)))
        end = int(begins[stop]) if stop < len(filled) else len(mixed)
        piece = mixed[begins[first] : end]
        sets = begins[first:stop] - begins[first]
        values = np.empty_like(piece)
        for k in range(count):
            np.multiply(piece, factors[k], out=values)
            np.add(values, summands[k], out=values)
            signatures[k, filled[first:stop]] = np.minimum.reduceat(values, sets)
        first = stop
    return np.ascontiguousarray(signatures.T)


def band_keys(signatures: Hashes, bands: int, rows: int, seeds: Words) -> Words:
    """(P, bands): a 64-bit key for each band; patches share one where the whole band is equal.

    Args:
        signatures: (P, bands * rows).
        seeds: (P,) what else has to be equal, such as a hash of the kind.
    """
    factors = _band_factors(bands, rows)
    parts = signatures.reshape(-1, bands, rows).astype(np.uint64)
    keys: Words = (parts * factors[:, :rows]).sum(axis=2, dtype=np.uint64)
    keys += factors[:, rows] ^ seeds[:, None]
    keys = (keys ^ (keys >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return keys ^ (keys >> np.uint64(33))


@cache
def _band_factors(bands: int, rows: int) -> Words:
    """(bands, rows + 1): odd factors, the same in every process."""
    generator = np.random.RandomState(1)
    return generator.randint(0, 1 << 64, (bands, rows + 1), np.uint64) | np.uint64(1)


def _fmix32(hashes: Hashes) -> Hashes:
    """MurmurHash3's finalizer."""
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))
