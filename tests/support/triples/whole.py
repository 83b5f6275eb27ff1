"""A whole history mined with examples/whole-history.toml, in this process."""

from __future__ import annotations

from pathlib import Path

from codeflow.cli import main
from small_history import ROOT

RECIPE = ROOT / "examples/whole-history.toml"


def mine_whole(repo: Path, out: Path, *words: str, config: Path = RECIPE) -> int:
    """Exit status of `codeflow mine` with the recipe, or another configuration."""
    listing = out.with_suffix(".txt")
    listing.write_text(f"{repo}\n")
    arguments = ["--config", str(config), "--workers", "1", *words]
    return main(["mine", "--repos", str(listing), "--out", str(out), *arguments])
