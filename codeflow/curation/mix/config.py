"""`[mix]` of the configuration: what decides the language mix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

from codeflow.curation.mix.laws import GREATEST_GAMMA
from codeflow.errors import UsageError

SAMPLERS: Final = ("natural", "temperature", "uniform", "shares", "guided", "optimal")
LAWS: Final = ("per-language", "literal")


@dataclass(frozen=True)
class MixConfig:
    """How much of each language there shall be. Tokens are estimates, see `bytes_per_token`.

    Attributes:
        sampler: one of `SAMPLERS`.
        temperature: of `temperature`: shares go as tokens to the power 1 / temperature.
        shares: of `shares`, by language; what they leave of 1 goes to all other languages.
        budget_tokens: how much there shall be in all; 0 for as much as there is.
        max_repeats: the greatest weight, that is, how often a token may count.
        law: what `optimal` minimises.
        gamma: how much of the published synergy counts.
        law_tokens: for how many tokens of code in training the laws are evaluated.
        bytes_per_token: of patches, by language, in place of the built-in figures.
        seed: another seed keeps other triples.
    """

    sampler: str = "natural"
    temperature: float = 2.0
    shares: Mapping[str, float] = field(default_factory=dict)
    budget_tokens: int = 0
    max_repeats: float = 4.0
    law: str = "per-language"
    gamma: float = 1.0
    law_tokens: int = 350_000_000_000
    bytes_per_token: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("sampler", self.sampler, SAMPLERS)
        _one_of("law", self.law, LAWS)
        _within("temperature", self.temperature, 1.0, 1e6)
        _within("max_repeats", self.max_repeats, 1.0, 1e6)
        _within("gamma", self.gamma, 0.0, GREATEST_GAMMA)
        _within("law_tokens", self.law_tokens, 10**9, 10**18)
        _within("budget_tokens", self.budget_tokens, 0, 10**18)
        for language, value in _numbers("bytes_per_token", self.bytes_per_token):
            _within(f"bytes_per_token.{language}", value, 0.1, 1000.0)
        for language, value in _numbers("shares", self.shares):
            _within(f"shares.{language}", value, 0.0, 1.0)
        if sum(self.shares.values()) > 1 + 1e-9:
            total = sum(self.shares.values())
            raise UsageError(f"mix.shares: they sum to {total:g}; give 1 or less in all")
        if bool(self.shares) != (self.sampler == "shares"):
            raise UsageError(
                f"mix.shares: given with the sampler {self.sampler!r}; use sampler = 'shares'"
                if self.shares
                else "mix.shares: none; the sampler 'shares' needs some, as in {Python = 0.5}"
            )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"mix.{name} = {value!r}: choose one of {', '.join(known)}")


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # a NaN is not, either
        raise UsageError(f"mix.{name} = {value}: give {least:g} to {most:g}")


def _numbers(name: str, values: Mapping[str, float]) -> list[tuple[str, float]]:
    for language, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not isfinite(value):
            raise UsageError(f"mix.{name}.{language}: expected a number, got {value!r}")
    return sorted(values.items())
