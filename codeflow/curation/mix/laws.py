"""The two scaling laws of the language mix, and the table they stand on.

Source: "Scaling Laws for Code: Every Programming Language Matters" (arXiv 2512.13472), seven
languages. The paper publishes a table, a law of the shares, and an optimum, which do not fit
together: under the law as written the published optimum is worse than equal shares, whatever the
constants that are not published (docs/mix.md has the proof, a test holds it). So there are two:

* `literal` is the law as written: the loss of one model on the mix as a whole.
* `per_language` is the sum over languages of what more data of it would still gain. It leads the
  way the published optimum goes, and is what the sampler `optimal` minimises.

Tokens and parameters are in billions throughout. Both functions cost about 5 µs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Fit(NamedTuple):
    """The fit of one language: L(N, D) = A·N^-alpha_n + B·D^-alpha_d + floor."""

    alpha_n: float
    alpha_d: float
    floor: float


FITS: Final[Mapping[str, Fit]] = {
    "Python": Fit(0.221, 1.217, 0.566),
    "Java": Fit(0.447, 1.129, 0.397),
    "JavaScript": Fit(0.692, 1.247, 0.554),
    "TypeScript": Fit(0.439, 1.303, 0.518),
    "C#": Fit(0.321, 1.350, 0.288),
    "Go": Fit(0.845, 1.149, 0.414),
    "Rust": Fit(0.643, 1.297, 0.397),
}
LANGUAGES: Final = tuple(FITS)

# Gain in percent for the language of the row when the one of the column is mixed in.
_SYNERGY_PERCENT: Final = (
    (0.0, 1.36, -1.12, -0.95, -1.69, -2.13, -2.72),
    (6.02, 0.0, 12.62, 12.08, 20.58, 10.68, 12.41),
    (5.49, 2.98, 0.0, 4.69, 2.44, 1.34, 2.56),
    (4.17, 2.29, 3.34, 0.0, 1.68, 1.39, 1.18),
    (3.84, 1.93, 3.10, 3.71, 0.0, 1.87, 1.98),
    (4.77, 2.95, 2.70, 4.41, 2.95, 0.0, 2.86),
    (3.87, 2.89, 4.20, 4.05, 2.81, 2.80, 0.0),
)
SYNERGY: Final[Mapping[str, Mapping[str, float]]] = {
    target: {other: gain / 100 for other, gain in zip(LANGUAGES, row, strict=True)}
    for target, row in zip(LANGUAGES, _SYNERGY_PERCENT, strict=True)
}
"""τ: by target, then by auxiliary language, as a fraction."""

PUBLISHED: Final[Mapping[str, float]] = {
    "Python": 76.77,
    "Java": 55.60,
    "Rust": 50.00,
    "Go": 45.76,
    "JavaScript": 44.19,
    "TypeScript": 41.17,
    "C#": 36.51,
}
"""The published optimum for 350 billion tokens, against 50 of each."""

GREATEST_GAMMA: Final = 35.0
"""Above, mixing two languages would leave one of them less than no data (τ is -2.72% at worst)."""


def per_language(shares: Mapping[str, float], tokens: float, gamma: float) -> float:
    """Σ_i D_i^-αD,i with D_i = D·p_i·(1 + γ·Σ_j p_j·τ_ij): what is left to gain, of all languages.

    Args:
        shares: p of the languages that are there; the sum goes over these. One without a share
            makes it infinite.
        tokens: D, in billions.
        gamma: how much of the published synergy counts; not published.
    """
    total = 0.0
    for language, share in shares.items():
        gains = SYNERGY[language]
        gained = sum(other * gains[name] for name, other in shares.items())
        effective = tokens * share * (1 + gamma * gained)
        if effective <= 0:
            return float("inf")
        total += effective ** -FITS[language].alpha_d
    return float(total)


def literal(
    shares: Mapping[str, float],
    tokens: float,
    gamma: float,
    a: float = 1.0,
    b: float = 1.0,
    parameters: float = 14.0,
) -> float:
    """A·N^-αN(p) + B·D_x^-αD(p) + L∞(p), with D_x = D·(1 + γ·Σ_{i≠j} p_i·p_j·τ_ij).

    αN(p), αD(p) and L∞(p) are means of the table, weighted by shares that sum to 1.

    Args:
        shares, tokens, gamma: see `per_language`.
        a, b: A and B; not published.
        parameters: N, in billions; by default that of the largest model that was fitted.
    """
    alpha_n = sum(share * FITS[name].alpha_n for name, share in shares.items())
    alpha_d = sum(share * FITS[name].alpha_d for name, share in shares.items())
    floor = sum(share * FITS[name].floor for name, share in shares.items())
    gained = sum(
        share * other * SYNERGY[target][name]
        for target, share in shares.items()
        for name, other in shares.items()
    )
    effective = tokens * (1 + gamma * gained)
    return float(a * parameters**-alpha_n + b * effective**-alpha_d + floor)
