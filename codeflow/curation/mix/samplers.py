"""Samplers: from the tokens that are there to the share that each language shall have.

`guided` and `optimal` speak of the seven languages of the paper. What the others have between them
stays as it is: the seven share the part of the budget that they have of the tokens there, and
nothing moves between the two parts, so a repeat of Java is never paid with Makefiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from codeflow.curation.mix.allocate import fill
from codeflow.curation.mix.config import LAWS, MixConfig
from codeflow.curation.mix.laws import LANGUAGES, PUBLISHED, literal, per_language
from codeflow.curation.mix.search import minimise
from codeflow.errors import UsageError

Tokens = Mapping[str, float]


@dataclass(frozen=True)
class Mix:
    """What a sampler made of the tokens that are there.

    Attributes:
        budget: tokens that there shall be in all.
        targets: the share each language shall have; they sum to 1.
        tokens: what each gets, under the cap on repeats.
        optima: for `guided` and `optimal`, among the languages of the paper that are there and
            under the same cap: the shares by each law, and the published ones.
    """

    budget: float
    targets: dict[str, float]
    tokens: dict[str, float]
    optima: dict[str, dict[str, float]]


def mix(config: MixConfig, there: Tokens) -> Mix:
    """Decides the tokens of each language.

    Args:
        there: tokens by language, each more than 0.

    Raises:
        UsageError: the sampler has nothing to go by in these languages.
    """
    whole = sum(there.values())
    budget = float(config.budget_tokens or whole)
    if not there:
        return Mix(budget, {}, {}, {})
    limits = {language: config.max_repeats * tokens for language, tokens in there.items()}
    if config.sampler in ("guided", "optimal"):
        return _by_paper(config, there, limits, budget)
    targets = _SAMPLERS[config.sampler](config, there)
    return Mix(budget, targets, fill(targets, limits, budget), {})


def _natural(config: MixConfig, there: Tokens) -> dict[str, float]:
    return _normal(there)


def _temperature(config: MixConfig, there: Tokens) -> dict[str, float]:
    shares = _normal(there)
    return _normal({name: share ** (1 / config.temperature) for name, share in shares.items()})


def _uniform(config: MixConfig, there: Tokens) -> dict[str, float]:
    return _normal(dict.fromkeys(there, 1.0))


def _shares(config: MixConfig, there: Tokens) -> dict[str, float]:
    """What is given; the rest of 1 by what is there. Languages that are not there count for none.

    What their absence leaves goes to the others in proportion, as with a cap.
    """
    rest = 1 - sum(config.shares.values())
    others = {name: tokens for name, tokens in there.items() if name not in config.shares}
    shares = {name: config.shares[name] for name in there if name in config.shares}
    if rest > 1e-9 and others:
        shares |= {name: rest * share for name, share in _normal(others).items()}
    if not sum(shares.values()):
        raise UsageError(
            f"mix.shares: nothing is asked of the languages that are there ({_some(there)})"
        )
    return dict.fromkeys(there, 0.0) | _normal(shares)


_SAMPLERS: Mapping[str, Callable[[MixConfig, Tokens], dict[str, float]]] = {
    "natural": _natural,
    "temperature": _temperature,
    "uniform": _uniform,
    "shares": _shares,
}


def _by_paper(config: MixConfig, there: Tokens, limits: Tokens, budget: float) -> Mix:
    inside = {name: there[name] for name in LANGUAGES if name in there}
    outside = {name: tokens for name, tokens in there.items() if name not in inside}
    if not inside:
        raise UsageError(
            f"mix.sampler = {config.sampler!r}: it knows {', '.join(LANGUAGES)}, and none of them "
            f"is there ({_some(there)}); choose another sampler"
        )
    part = sum(inside.values()) / sum(there.values())
    published = _normal({name: PUBLISHED[name] for name in inside})
    bounds = {name: min(1.0, limits[name] / (part * budget)) for name in inside}
    capped = fill(published, bounds, 1.0)
    optima = {law: optimum(law, config, inside, bounds) for law in LAWS} | {"published": capped}
    if config.sampler == "guided":
        wanted, target = capped, published
    else:
        wanted = optima[config.law]
        target = optimum(config.law, config, inside, dict.fromkeys(inside, 1.0))
    targets = {name: part * share for name, share in target.items()}
    tokens = fill(wanted, {name: limits[name] for name in inside}, part * budget)
    if outside:
        targets |= {name: (1 - part) * share for name, share in _normal(outside).items()}
        tokens |= fill(outside, limits, (1 - part) * budget)
    return Mix(budget, targets, tokens, optima)


def optimum(
    law: str, config: MixConfig, there: Tokens, bounds: Mapping[str, float]
) -> dict[str, float]:
    """The shares that minimise a law, each at most its bound; all bounds where they sum to less.

    Args:
        there: languages of the paper, and their tokens.
    """
    if sum(bounds.values()) <= 1:
        return _normal(bounds)
    loss = {"per-language": per_language, "literal": literal}[law]
    shapes = [_normal(there), dict.fromkeys(there, 1.0)]
    shapes += [{other: 99.0 if other == name else 1.0 for other in there} for name in there]
    return minimise(
        partial(loss, tokens=config.law_tokens / 1e9, gamma=config.gamma),
        [fill(shape, bounds, 1.0) for shape in shapes],
        bounds,
    )


def _normal(values: Tokens) -> dict[str, float]:
    total = sum(values.values())
    return {name: value / total for name, value in values.items()}


def _some(there: Tokens) -> str:
    """The largest languages, for a message."""
    names = sorted(there, key=lambda name: (-there[name], name))
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
