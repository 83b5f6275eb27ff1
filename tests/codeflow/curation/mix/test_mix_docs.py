"""docs/mix.md says what the code does: its keys, its samplers, every figure it computes."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from codeflow.curation.mix.config import SAMPLERS, MixConfig
from codeflow.curation.mix.estimate import BYTES_PER_TOKEN, OTHER_BYTES
from codeflow.curation.mix.laws import FITS, LANGUAGES, PUBLISHED, SYNERGY
from codeflow.curation.mix.samplers import optimum
from codeflow.curation.split.stage import SplitConfig
from small_history import ROOT

TEXT = (ROOT / "docs" / "mix.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|")
]
EQUAL = dict.fromkeys(LANGUAGES, 1 / 7)
SHARES = {name: tokens / 350 for name, tokens in PUBLISHED.items()}


def cosine(found: dict[str, float]) -> float:
    moved = np.array([found[name] - 1 / 7 for name in LANGUAGES])
    shift = np.array([SHARES[name] - 1 / 7 for name in LANGUAGES])
    return float(moved @ shift / np.linalg.norm(moved) / np.linalg.norm(shift))


def test_every_key_is_there_with_its_default() -> None:
    written = {row[0].strip("`"): row[1].strip("`") for row in ROWS if "." in row[0].strip("`")}
    expected = {
        f"{name}.{field.name}": json.dumps(getattr(config, field.name))
        for name, config in (("mix", MixConfig()), ("split", SplitConfig()))
        for field in dataclasses.fields(config)
    }
    assert written == expected


def test_every_sampler_is_there() -> None:
    assert [row[0].strip("`") for row in ROWS if row[0].strip("`") in SAMPLERS] == list(SAMPLERS)


def test_the_optima_are_those_of_the_code() -> None:
    rows = [row for row in ROWS if len(row) == 9 and row[0].isdigit()]
    assert len(rows) == 4
    for gamma, *billions, agreement in rows:
        config = MixConfig(sampler="optimal", gamma=float(gamma))
        found = optimum("per-language", config, EQUAL, dict.fromkeys(LANGUAGES, 1.0))
        expected = [350 * found[name] for name in LANGUAGES]
        assert [float(cell) for cell in billions] == pytest.approx(expected, abs=0.0501)
        assert float(agreement) == pytest.approx(cosine(found), abs=0.00501)
    [published] = [row for row in ROWS if row[0] == "published"]
    expected = [PUBLISHED[name] for name in LANGUAGES]
    assert [float(cell) for cell in published[1:8]] == pytest.approx(expected, abs=0.0501)


def test_the_agreement_at_other_sizes_is_that_of_the_code() -> None:
    found = re.search(
        r"(\S+) at 1 billion, (\S+) at 10, (\S+) at 50, (\S+) at\s1,000", TEXT.replace("−", "-")
    )
    assert found
    for size, text in zip((1, 10, 50, 1000), found.groups(), strict=True):
        config = MixConfig(sampler="optimal", law_tokens=size * 10**9)
        shares = optimum("per-language", config, EQUAL, dict.fromkeys(LANGUAGES, 1.0))
        assert float(text) == pytest.approx(cosine(shares), abs=0.00501)


def test_the_four_comparisons_are_those_of_the_table() -> None:
    def means(shares: dict[str, float]) -> list[float]:
        fits = {name: FITS[name] for name in shares}
        gained = sum(shares[i] * shares[j] * SYNERGY[i][j] for i in shares for j in shares)
        return [
            sum(shares[name] * fits[name].floor for name in shares),
            sum(shares[name] * fits[name].alpha_n for name in shares),
            sum(shares[name] * fits[name].alpha_d for name in shares),
            gained,
        ]

    rows = [row for row in ROWS if len(row) == 4 and "(p)" in row[0] + "(p)" * ("Σ" in row[0])]
    written = [[float(row[k]) for row in rows] for k in (1, 2)]
    for line, shares in zip(written, (SHARES, EQUAL), strict=True):
        assert line == pytest.approx(means(shares), abs=0.000501)


def test_the_range_of_the_estimate_is_that_of_the_code() -> None:
    least, most = (
        choose(BYTES_PER_TOKEN, key=lambda name: BYTES_PER_TOKEN[name]) for choose in (min, max)
    )
    assert f"to {BYTES_PER_TOKEN[most]} ({most})" in TEXT
    assert f"from {BYTES_PER_TOKEN[least]} (TOML)" in TEXT
    assert f"the mean, {OTHER_BYTES}, TypeScript and C# among them" in TEXT
    assert not {"TypeScript", "C#"} & set(BYTES_PER_TOKEN)
