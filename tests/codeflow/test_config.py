"""Configuration is read strictly: what is wrong is named, with what may have been meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.config import (
    Limits,
    MineConfig,
    Projection,
    Window,
    as_mapping,
    differing_keys,
    from_mapping,
    stage_hash,
)
from codeflow.errors import UsageError
from codeflow.pipeline.settings import Settings, read_settings


def read(text: str, tmp_path: Path) -> MineConfig:
    path = tmp_path / "codeflow.toml"
    path.write_text(text)
    return read_settings(path).mine


def test_no_file_and_an_empty_file_are_the_defaults(tmp_path: Path) -> None:
    assert read_settings(None) == Settings()
    assert MineConfig() == read("", tmp_path) == read("[mine]", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mine]\nkind = ['span']", ["mine: unknown key 'kind'", "did you mean 'kinds'?"]),
        ("[mine.window]\nstrat = 0.1", ["mine.window: unknown key 'strat'", "'start'"]),
        ("[filter]\nfilter = []", ["codeflow.toml: filter: unknown key 'filter'", "'filters'?"]),
        ("[mine]\nxyzzy = 1", ["unknown key 'xyzzy'", "known: kinds, window, projection"]),
        ("[filtre]\n", ["'filtre'", "[mine], [filter]"]),
        ("[dedup]\nthreshold = 2.0", ["threshold"]),
        ("[mix]\nsampler = 'best'", ["sampler"]),
        ("[split]\nby = 'size'", ["by"]),
        ("mine = 3", ["mine must be a table"]),
        ("[mine]\nwindow = 3", ["mine.window: expected a table, got 3"]),
        ("[mine]\nkinds = 'span'", ["mine.kinds: expected a list"]),
        ("[mine]\nkinds = [['span']]", ["kinds: ['span'] is not a name"]),
        ("[mine]\nminers = 3", ["mine.miners: expected a table"]),
        ("[mine.miners]\nspan = 3", ["miners.span: expected a table, got 3"]),
        ("[mine.limits]\nmin_commits = 1.5", ["mine.limits.min_commits: expected int, got 1.5"]),
        ("[mine.limits]\nmin_commits = true", ["expected int, got True"]),
        ("[mine.limits]\nunit_seconds = true", ["expected float, got True"]),
        ("[mine.limits]\nmax_commits = -1", ["max_commits = -1"]),
        ("[mine.limits]\nunit_seconds = nan", ["unit_seconds = nan"]),
        ("[mine.projection]\nmax_file_bytes = 0", ["max_file_bytes = 0"]),
        ("[mine.projection]\nmax_file_bytes = 2147483648", ["under 2 GiB"]),
        ("[mine.window]\nstart = 0.9", ["0.9:0.8"]),
        ("[mine.window]\nby = 'size'", ["commits, time, changes"]),
        ("[mine\n", ["codeflow.toml"]),
    ],
)
def test_what_is_wrong_is_named(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read(text, tmp_path)
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_whole_number_will_do_for_seconds(tmp_path: Path) -> None:
    assert read("[mine.limits]\nunit_seconds = 7", tmp_path).limits.unit_seconds == 7.0


fractions = st.floats(0, 1, allow_nan=False)
configurations = st.builds(
    MineConfig,
    kinds=st.lists(st.sampled_from(["span", "commit", "x"]), unique=True).map(tuple),
    window=st.tuples(fractions, fractions)
    .filter(lambda ab: ab[0] < ab[1])
    .map(lambda ab: Window(*ab)),
    projection=st.builds(Projection, max_file_bytes=st.integers(1, 1 << 30)),
    limits=st.builds(Limits, min_commits=st.integers(1, 99), max_patch_bytes=st.integers(1, 99)),
    miners=st.dictionaries(st.sampled_from(["span"]), st.fixed_dictionaries({"tau": fractions})),
)


@given(configurations)
def test_what_is_stored_reads_back_as_the_same(config: MineConfig) -> None:
    assert from_mapping(MineConfig, as_mapping(config), "mine") == config


@given(configurations, configurations)
def test_different_configurations_have_different_hashes_and_named_differences(
    one: MineConfig, other: MineConfig
) -> None:
    a, b = as_mapping(one), as_mapping(other)
    assert (stage_hash(a) == stage_hash(b)) == (one == other)
    assert bool(differing_keys(a, b)) == (one != other)


def test_every_limit_changes_the_hash() -> None:
    base = MineConfig()
    for field in dataclasses.fields(Limits):
        more: Any = getattr(base.limits, field.name) + 1
        changed = dataclasses.replace(
            base, limits=dataclasses.replace(base.limits, **{field.name: more})
        )
        assert stage_hash(as_mapping(changed)) != stage_hash(as_mapping(base))
        assert differing_keys(as_mapping(base), as_mapping(changed)) == [f"limits.{field.name}"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the configuration: Is a directory"):
        read_settings(tmp_path)


def test_the_order_of_kinds_is_no_other_configuration() -> None:
    one = MineConfig(kinds=("commit", "span", "commit"))
    other = MineConfig(kinds=("span", "commit"))
    assert one == other == MineConfig()
    assert stage_hash(as_mapping(one)) == stage_hash(as_mapping(other))
    assert MineConfig(kinds=("commit",)) != one


@pytest.mark.parametrize(
    "line", ['renderings = ["diffs"]', "renderings = []", "length = 63", "vocab_size = 269"]
)
def test_a_wrong_table_of_tokens_is_named_before_anything_is_mined(
    tmp_path: Path, line: str
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f"[tokens]\n{line}\n")
    with pytest.raises(UsageError, match=f"tokens.{line.split()[0]}"):
        read_settings(file)
