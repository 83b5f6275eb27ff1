"""Whether a run's folder belongs to the recipe and the data that are given for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeflow.config import differing_keys, from_mapping
from codeflow.errors import UsageError
from codeflow.storage.files import read_json
from codeflow.train import recipe as recipes
from codeflow.train.data import data_hash
from codeflow.train.state.parallel import World


def require_recipe(out: Path, recipe: recipes.Recipe, world: World) -> None:
    """Raises UsageError, on every rank, when the folder holds a run of another recipe."""
    stored = world.gather(read_json(out / "recipe.json"))[0]
    if stored is None:
        return
    old = {key: value for key, value in stored.items() if key in recipes.RESULT}
    same = from_mapping(recipes.Recipe, old, str(out / "recipe.json"))  # keys that it lacked
    keys = differing_keys(same.result, recipe.result)
    if keys:
        raise UsageError(
            f"{out}: holds a run of another recipe, different in {', '.join(keys)}; "
            "choose another --out"
        )


def require_data(path: Path, meta: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Raises UsageError when a checkpoint was trained on other shards."""
    if meta["data_hash"] == data_hash(described):
        return
    what = ", ".join(differing_keys(meta["data"], described)) or "another order of sources"
    raise UsageError(
        f"{path}: was trained on other shards than those given ({what}); "
        "give the same data, or another --out"
    )
