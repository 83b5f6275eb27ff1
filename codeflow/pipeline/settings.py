"""All of `codeflow.toml`: one table a stage, read strictly, defaults for what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from codeflow.config import MineConfig, from_mapping, read_toml
from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.split.stage import SplitConfig
from codeflow.errors import UsageError
from codeflow.tokens.config import TokensConfig


@dataclass(frozen=True)
class Settings:
    """What every stage is to do; the fields are the tables of the file."""

    mine: MineConfig = field(default_factory=MineConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    tokens: TokensConfig = field(default_factory=TokensConfig)


def read_settings(path: Path | None) -> Settings:
    """The settings of a file; without one, the defaults.

    Raises:
        UsageError: names the file and the key that is wrong.
    """
    if path is None:
        return Settings()
    tables = read_toml(path)
    known = [f.name for f in fields(Settings)]
    for name, values in tables.items():
        if name not in known:
            listed = ", ".join(f"[{one}]" for one in known)
            raise UsageError(f"{path}: unknown table or key {name!r}; known: {listed}")
        if not isinstance(values, Mapping):
            raise UsageError(f"{path}: {name} must be a table")
    return from_mapping(Settings, tables, f"{path}: ") if tables else Settings()
