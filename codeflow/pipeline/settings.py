"""All of `codeflow.toml`: one table a stage, read strictly, defaults for what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from codeflow.config import MineConfig, from_mapping, read_toml
from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.split.stage import SplitConfig
from codeflow.errors import UsageError
from codeflow.tokens.config import TokenizeConfig


@dataclass(frozen=True)
class Settings:
    """What every stage is to do; the fields are the tables of the file."""

    mine: MineConfig = field(default_factory=MineConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    tokens: TokenizeConfig = field(default_factory=TokenizeConfig)


def read_settings(path: Path | None, base: Settings | None = None) -> Settings:
    """The settings of a file; a table that it does not have is that of `base`, or the default.

    Raises:
        UsageError: names the file and the key that is wrong.
    """
    base = base or Settings()
    return base if path is None else with_tables(base, read_toml(path), str(path))


def with_tables(base: Settings, tables: Mapping[str, Any], where: str) -> Settings:
    """The settings with these tables in place of their own; `where` they are from.

    Raises:
        UsageError: names the table or key that is wrong.
    """
    known = [f.name for f in fields(Settings)]
    for name, values in tables.items():
        if name not in known:
            listed = ", ".join(f"[{one}]" for one in known)
            raise UsageError(f"{where}: unknown table or key {name!r}; known: {listed}")
        if not isinstance(values, Mapping):
            raise UsageError(f"{where}: {name} must be a table")
    read = from_mapping(Settings, tables, f"{where}: ")
    return replace(base, **{name: getattr(read, name) for name in tables})
