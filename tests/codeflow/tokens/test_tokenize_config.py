"""One configuration of tokenizing: its checks, and that file, options and Python all mean it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeflow.cli import main
from codeflow.config import from_mapping
from codeflow.errors import UsageError
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.stage import tokenize
from token_samples import make, tokenized


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"renderings": ()}, "one or more"),
        ({"renderings": ("diff", 3)}, "renderings = 3: choose of diff"),
        ({"renderings": ("diff", "blocks", "diff")}, "each once"),
        ({"renderings": "diff"}, "renderings = 'diff': expected tuple"),
        ({"length": 63}, "64"),
        ({"length": "64"}, "length = '64': expected int"),
        ({"length": True}, "expected int"),
        ({"name": ".x"}, "letters"),
        ({"name": "a/b"}, "letters"),
        ({"name": "x\n"}, "letters"),
        ({"name": "x", "renderings": ("diff", "blocks")}, "one rendering"),
        ({"tokenizer": "t.json", "vocab_size": 600}, "trained already"),
        ({"vocab_size": -1}, "give 2"),
        ({"vocab_size": 200}, "give 2"),
        ({"loss": "1.5"}, "from 0 to 1"),
        ({"loss": "nan"}, "from 0 to 1"),
        ({"long": "trim"}, "drop or cut"),
        ({"validation": 1}, "without 1"),
        ({"validation": -0.1}, "without 1"),
        ({"validation": float("nan")}, "without 1"),
        ({"seed": 0.5}, "seed = 0.5: expected int"),
    ],
)
def test_what_does_not_do_is_told_before_anything_is_read(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        TokenizeConfig(**values)
    assert "\n" not in str(caught.value)


def test_a_path_a_list_and_a_whole_number_are_taken() -> None:
    given = TokenizeConfig(renderings=["blocks"], tokenizer=Path("t.json"), validation=0)  # type: ignore[arg-type]
    assert given == TokenizeConfig(renderings=("blocks",), tokenizer="t.json", validation=0.0)


def settings_of(folder: Path, name: str) -> Any:
    return json.loads((folder / "tokens" / name / "tokens.json").read_text())["settings"]


def test_options_table_and_python_write_the_same(tmp_path: Path) -> None:
    folder, _ = make(tmp_path)
    tokenized(folder, "first", "diff", 256, vocab_size=600)
    table = {
        "renderings": ["blocks"], "length": 256, "name": "table", "loss": "0.25", "long": "cut",
        "validation": 0.2, "seed": 3,
    }  # fmt: skip
    tokenize(folder, from_mapping(TokenizeConfig, table, "tokens"))
    options = ["--loss", "0.25", "--long", "cut", "--validation", "0.2", "--seed", "3"]
    wanted = ["tokenize", str(folder), "--render", "blocks", "--length", "256"]
    assert main([*wanted, *options, "--name", "options"]) == 0
    one, two = (settings_of(folder, name) for name in ("table", "options"))
    assert one == two
    assert one["loss"] == "0.25"
    for name in ("table", "options"):
        (folder / "tokens" / name / "tokens.json").unlink()
    shards = [
        {p.name: p.read_bytes() for p in (folder / "tokens" / name).iterdir()}
        for name in ("table", "options")
    ]
    assert shards[0] == shards[1]


def test_what_is_not_given_is_the_default_wherever_it_is_asked(tmp_path: Path) -> None:
    folder, _ = make(tmp_path)
    tokenized(folder, "first", "diff", 256, vocab_size=600)
    assert main(["tokenize", str(folder), "--render", "diff", "--length", "256"]) == 0
    both = tokenize(folder, TokenizeConfig(renderings=("diff", "snapshot"), length=256, name=""))
    assert [done.folder.name for done in both] == ["diff-256", "snapshot-256"]
    default = TokenizeConfig()
    for rendering, loss in (("diff", "patch"), ("snapshot", "all")):
        found = settings_of(folder, f"{rendering}-256")
        for key in ("long", "validation", "seed"):
            assert found[key] == getattr(default, key)
        assert found["loss"] == loss


def test_a_dry_run_without_a_tokenizer_says_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = make(tmp_path)
    wanted = ["tokenize", str(folder), "--render", "diff", "--length", "256", "--dry-run"]
    assert main(wanted) == 0
    assert "would be trained, of 32,768 tokens" in capsys.readouterr().out
    assert main([*wanted, "--vocab", "600"]) == 0
    assert "would be trained, of 600 tokens" in capsys.readouterr().out
    assert not (folder / "tokens").exists()
