"""How much two steps that lie close together have to do with each other.

All pairs of steps at most `reach` apart form a band: `band[a, d - 1]` belongs to the steps a and
a + d. Both measures are computed for the whole band at once, without a loop over pairs: about
2 s for 20,000 steps.
"""

from __future__ import annotations

import numpy as np

from codeflow_miners.kinds.span.steps import Floats, Ints, Steps

TERMS_PER_STEP = 400  # the rarest are kept: a sweeping change must not cost its square
COMMON = 0.25  # terms in a larger share of the steps (a changelog's name) say nothing,
RARE = 8  # unless the history is so short that this many steps are such a share
# A term counts in full from this idf on, and less below: to share the one file that everybody
# edits is no common subject. 2 / 3 is a term in the cube root of the steps.
TELLING = 2 / 3

# Logistic regression on pairs of steps of merged branches, whether both are of the same branch
# (the tuning histories of docs/spans.md), rounded.
BIAS, TOPIC, PAUSE, DISTANCE = 1.0, 3.3, 0.2, 0.75


def topic_band(steps: Steps, reach: int) -> Floats:
    """Common subject in [0, 1]: mean damped cosine of file stems, identifiers, messages."""
    groups = (steps.stem_terms, steps.identifier_terms, steps.message_terms)
    band = np.zeros((steps.count, reach))
    for at, terms in groups:
        band += _cosine_band(at, terms, steps.count, reach)
    return band / len(groups)


def link_band(topic: Floats, elapsed: Ints) -> Floats:
    """Probability that two steps are one piece of work: common subject, pause, distance."""
    count, reach = topic.shape
    band = np.zeros_like(topic)
    for d in range(1, min(reach, count - 1) + 1):
        pause = np.log1p((elapsed[1 + d :] - elapsed[1:-d]).astype(np.float64))
        z = BIAS + TOPIC * topic[:-d, d - 1] - PAUSE * pause - DISTANCE * np.log(d)
        band[:-d, d - 1] = 1 / (1 + np.exp(-z))
    return band


def _cosine_band(at: Ints, terms: Ints, count: int, reach: int) -> Floats:
    """Cosines of all pairs of steps in the band, common terms damped.

    `at` and `terms` (T,) may repeat and be mixed.
    """
    if len(at) == 0:
        return np.zeros((count, reach))
    order = np.lexsort((at, terms))
    at, terms = at[order], terms[order]
    fresh = np.ones(len(at), dtype=bool)
    fresh[1:] = (at[1:] != at[:-1]) | (terms[1:] != terms[:-1])
    at, terms = at[fresh], terms[fresh]
    _, number, in_steps = np.unique(terms, return_inverse=True, return_counts=True)
    idf = np.log((count + 1) / in_steps) / np.log(count + 1)
    known = (in_steps <= max(RARE, COMMON * count))[number]
    at, number = at[known], number[known]
    weight = idf[number]

    order = np.lexsort((number, -weight, at))
    at, number, weight = at[order], number[order], weight[order]
    rank = np.arange(len(at)) - np.searchsorted(at, at)
    kept = rank < TERMS_PER_STEP
    at, number, weight = at[kept], number[kept], weight[kept]
    norm = np.sqrt(np.bincount(at, weight * weight, count))

    order = np.lexsort((at, number))
    at, number, weight = at[order], number[order], weight[order]
    rarity = np.minimum(1.0, weight / TELLING)
    dots = np.zeros(count * reach)
    # Within one term the steps ascend, so a pair in the band lies at most `reach` entries apart.
    for lag in range(1, reach + 1):
        far = at[lag:] - at[:-lag]
        near = (number[lag:] == number[:-lag]) & (far <= reach)
        if not near.any():  # nor is there any pair further apart
            break
        cell = at[:-lag][near] * reach + far[near] - 1
        shared = (weight[lag:] * weight[:-lag] * rarity[lag:])[near]
        dots += np.bincount(cell, shared, count * reach)
    band = dots.reshape(count, reach)
    for d in range(1, min(reach, count - 1) + 1):
        band[:-d, d - 1] /= np.maximum(norm[:-d] * norm[d:], 1e-9)
    return np.minimum(band, 1.0)
