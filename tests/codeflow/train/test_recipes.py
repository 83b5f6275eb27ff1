"""Recipes: read strictly, hashed by what decides weights, and the shipped ones complete."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from codeflow.errors import CodeflowError, UsageError
from codeflow.loopcoder.attention import Documents
from codeflow.loopcoder.config import ModelConfig
from codeflow.loopcoder.model import build
from codeflow.shards.mixture import Position
from codeflow.train import data, metrics
from codeflow.train import recipe as recipes
from codeflow.train.dry_run import dry_run
from codeflow.train.recipe import Recipe, read_recipe
from codeflow.train.state import checkpoint
from codeflow.train.state.memory import memory_bytes
from codeflow.train.state.parallel import World
from token_shards import random_rows, write_shard
from training_runs import TOKENS, losses, make_data, run, small, together

RECIPES = Path(__file__).parents[3] / "examples/recipes"
CHAIN = ("pretrain", "anneal", "midtrain-32k", "midtrain-128k")
PATHS = ("sft-think", "sft-instruct")  # where the chain forks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[modle]\npreset = 'tiny'", "did you mean 'model'"),
        ("[optimizer]\nname = 'sgd'", "choose one of adamw, muon"),
        ("[optimizer]\nlr = '1'", "optimizer.lr: expected float"),
        ("[schedule]\nsteps = 5", "warm-up and decay take 30 of 5 steps"),
        ("[batch]\nrows_per_step = 6\nmicro_batch_rows = 4", "not a multiple"),
        ("[parent]\nfold = true", "need parent.run"),
        ("[parallel]\ncontext = 0", "parallel.context = 0: must be positive"),
        ("[parallel]\nranks = 6\ncontext = 4", "ranks = 6 is not a multiple of parallel.context"),
        ("[parallel]\nranks = 3\ncontext = 3", "sequence_tokens = 512 does not divide so"),
        ("[parallel]\nranks = 8\ncontext = 8", "no shorter than the window of 64"),
        ("[data.sources]\na = 0", "must be positive"),
        ("[data.sources]\na = inf", "data.sources.a = inf: must be positive and finite"),
        ("[data.sources]\na = true", "data.sources.a = True: must be positive"),
        ("[optimizer]\nlr = 1e300", "optimizer.lr = 1e+300: at most 1e+18"),
        ("[optimizer]\nlr = nan", "optimizer.lr = nan: must be positive"),
        ("[optimizer]\nweight_decay = inf", "optimizer.weight_decay = inf: must be 0 or more"),
        ("seed = 9223372036854775808", "seed = 9223372036854775808: must fit in 64 bits"),
        ("[data]\nsources = {}", "data.sources is empty"),
        ("[model.overrides]\nhidden = 3", "unknown key 'hidden'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text if "sources" in text else f"{text}\n[data.sources]\na = 1\n")
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert message in str(caught.value)


def test_hash_follows_what_decides_the_weights() -> None:
    base = small()
    assert small(run={"data_workers": 7}, guard={"max_bad_steps": 1}).hash == base.hash
    assert small(validation={"rows": 1}, parallel={"mode": "fsdp2"}).hash == base.hash
    others = [
        small(optimizer={"lr": 1.0}),
        small(batch={"micro_batch_rows": 1}),
        small(data={"sources": {"a": 1, "b": 1}}),
        dataclasses.replace(base, seed=1),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 5


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_dry_run(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    report = dry_run(recipe, tmp_path, tmp_path / "runs" / recipe.name)
    missing = [f"token folder {tmp_path / 'tokens' / name}" for name in recipe.data.sources]
    assert list(report.problems[: len(missing)]) == missing
    assert len(report.problems) == len(missing) + bool(recipe.parent.run)
    assert "memory a GPU" in str(report)
    assert sum(memory_bytes(recipe).values()) < 0.9 * 80e9  # a tenth for what is left out
    assert "more than the 80 GB" not in str(report)


@pytest.mark.parametrize("name", ["midtrain-32k", "midtrain-128k"])
def test_rows_on_one_gpu_would_not_fit(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(RECIPES / f"{name}.toml")
    whole = dataclasses.replace(recipe, parallel=recipes.Parallel("fsdp2", 512))
    assert "more than the 80 GB of a usual GPU" in str(dry_run(whole, tmp_path, tmp_path / "out"))


def test_memory_of_the_released_size_by_hand() -> None:
    """32,768 tokens over 4 ranks, 160 layer inputs of 5,120 float32; K, V of 8 heads of 128."""
    parts = memory_bytes(read_recipe(RECIPES / "midtrain-32k.toml"))
    assert parts["parameters"] == 4 * 39_794_696_320 / 512
    assert parts["kept: the input of each layer in each pass"] == 8192 * 160 * 5120 * 4
    assert parts["kept: K1, V1 of all layers"] == 8192 * 80 * 2 * 8 * 128 * 2
    assert parts["K, V of whole rows, of one layer"] == 4 * 32768 * 2 * 8 * 128 * 2
    assert "gradients of pass 2 that wait for pass 1's" not in parts
    plain = small(parallel=recipes.Parallel("fsdp2", 2))
    of_layers = sum(
        p.numel() for n, p in build(plain.model.config).named_parameters() if ".layers." in n
    )
    waiting = memory_bytes(plain)["gradients of pass 2 that wait for pass 1's"]
    assert waiting == pytest.approx(4 * of_layers)


@pytest.mark.parametrize("name", ["pretrain", "midtrain-32k"])
def test_a_dry_run_shows_one_layer(name: str, tmp_path: Path) -> None:
    """Every layer has the same names but for its number, gates included."""
    recipe = read_recipe(RECIPES / f"{name}.toml")
    shown = [re.sub(r"\.0\.", ".N.", line.split()[0]) for line in shapes(recipe, tmp_path)]
    every = {re.sub(r"\.\d+\.", ".N.", n) for n, _ in build(recipe.model.config).named_parameters()}
    assert len(shown) == len(set(shown))
    assert set(shown) == every


def shapes(recipe: Recipe, folder: Path) -> list[str]:
    lines = dry_run(recipe, folder, folder / "out").lines
    return [line for line in lines if line.startswith("  ") and "[" in line]


def test_a_dry_run_finds_what_would_stop_the_run(tmp_path: Path) -> None:
    folder = make_data(tmp_path)
    recipe = small(validation={"every_steps": 2})
    assert not dry_run(recipe, folder, tmp_path / "out").problems

    def problem() -> str:
        (found,) = dry_run(recipe, folder, tmp_path / "out").problems
        with pytest.raises(CodeflowError) as caught:
            run(recipe, folder, tmp_path / "out")
        assert str(caught.value) == found
        return found

    rows = random_rows(4, TOKENS, 8, 0)
    (held_out,) = (folder / "tokens/b").glob("validation-*")
    held_out.rename(tmp_path / "away")
    assert "no validation-*.arrow in it; give `codeflow tokenize` a --validation" in problem()
    write_shard(held_out, rows, tokenizer="t1")
    assert "tokenizer t1" in problem()
    (tmp_path / "away").rename(held_out)
    for path in (folder / "tokens/b").glob("train-*"):
        write_shard(path, rows, tokenizer="t1")
    assert "made with tokenizer t1, this run needs t0" in problem()
    for path in (folder / "tokens/b").glob("train-*"):
        write_shard(path, rows, vocab_size=33)
    assert "its tokenizer has 33 tokens, the recipe's model 32" in problem()


def test_the_readme_makes_shards_that_the_tiny_recipe_takes() -> None:
    """The tokenizer that its command trains, and the folder and length that it writes."""
    readme = (RECIPES.parents[1] / "README.md").read_text()
    (command,) = re.findall(r"^codeflow tokenize data (--render .*)$", readme, flags=re.M)
    options = dict(re.findall(r"(--\w+) (\S+)", command))
    recipe = read_recipe(RECIPES / "tiny.toml")
    assert int(options.get("--vocab", 32768)) <= recipe.model.config.vocab_size
    assert int(options["--length"]) == recipe.batch.sequence_tokens
    assert list(recipe.data.sources) == [f"{options['--render']}-{options['--length']}"]


def test_chain_hands_on_and_keeps_the_mix() -> None:
    stages = [read_recipe(RECIPES / f"{name}.toml") for name in CHAIN]
    for before, after in itertools.pairwise(stages):
        assert after.parent.run == before.name
    assert [stage.model.config.loop_num for stage in stages] == [1, 1, 2, 2]
    assert [stage.batch.sequence_tokens for stage in stages] == [4096, 4096, 32768, 131072]
    for stage in stages[2:]:
        assert sum(stage.data.sources.values()) == pytest.approx(300)
        assert stage.tokens == pytest.approx(300e9, rel=1e-3)
    assert stages[2].data.sources["commits-32k"] == 5
    assert stages[3].data.sources["trajectories-128k"] == pytest.approx(0.9 * 110)


@pytest.mark.slow
def test_twin_chain_runs(tmp_path: Path) -> None:
    """The stages at tiny size, shortened, each from the one before, and both paths behind them."""
    for name in (*CHAIN, *PATHS):
        recipe = read_recipe(RECIPES / f"tiny-{name}.toml")
        for source in recipe.data.sources:
            rows = random_rows(6, recipe.batch.sequence_tokens, 64, seed=len(source))
            folder = tmp_path / "tokens" / source
            write_shard(folder / "train-00000.arrow", rows)
            write_shard(folder / "validation-00000.arrow", rows[:2])
        out = tmp_path / "runs" / recipe.name
        small_head = {**recipe.model.overrides, "vocab_size": 64}
        short = dataclasses.replace(
            recipe,
            model=dataclasses.replace(recipe.model, overrides=small_head),
            validation=recipes.Validation(100, 2),
        )
        result = run(short, tmp_path, out, stop_after=2)
        assert len(losses(out)) == 2
    ancestors, meta = [], checkpoint.read_meta(result.checkpoint)
    while meta["parent"]:
        meta = meta["parent"]
        ancestors.append(meta["name"])
        assert meta["data"]
    assert ancestors == ["tiny-midtrain-128k", "tiny-midtrain-32k", "tiny-anneal", "tiny-pretrain"]
    first = json.loads((tmp_path / "runs/tiny-midtrain-32k/metrics.jsonl").open().readline())
    assert first["event"] == "fold"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-midtrain-32k", "tiny-midtrain-128k"])
def test_long_twins_run_with_their_rows_split(name: str, tmp_path: Path) -> None:
    """On as many ranks as they plan for, from nothing, two steps; one process gives the same."""
    recipe = read_recipe(RECIPES / f"{name}.toml")
    assert recipe.parallel.context == recipe.parallel.ranks > 1
    for source in recipe.data.sources:
        rows = random_rows(6, recipe.batch.sequence_tokens, 64, seed=len(source))
        write_shard(tmp_path / "tokens" / source / "train-00000.arrow", rows)
    head = {**recipe.model.overrides, "vocab_size": 64}
    short = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, overrides=head),
        batch=dataclasses.replace(recipe.batch, rows_per_step=2, micro_batch_rows=1),
        schedule=recipes.Schedule("wsd", 2, 0, 0),
        parent=recipes.Parent(),
        validation=recipes.Validation(0),
    )
    assert together(short, tmp_path, tmp_path / "split", recipe.parallel.ranks) == []
    run(short, tmp_path, tmp_path / "one")
    assert losses(tmp_path / "split") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.parametrize("loops", [1, 2])
def test_operations_counted_one_by_one(loops: int) -> None:
    config = ModelConfig(50, 24, 40, 3, 4, 2, 8, 512, loops, loop_window_size=16)
    tokens, adds = 70, 0
    for t in range(tokens):
        for turn in range(loops):
            for _ in range(3):
                adds += 24 * 32 * 2 + 24 * 16 * 2 + 3 * 24 * 40  # q, o; k, v; gate, up, down
                adds += 2 * 4 * 8 * (t + 1)  # scores and values of what a query sees
                if turn == 1:
                    adds += 2 * 4 * 8 * len(range(max(0, t - 15), t + 1)) + 4 * 8
        adds += 24 * 50
    assert metrics.step_flops(config, tokens, tokens) == pytest.approx(6 * adds)


def test_mfu_is_unknown_rather_than_wrong() -> None:
    assert metrics.peak_flops("cpu", "bfloat16") is None
    assert metrics.mfu(1e12, 1.0, None, 1) == "unknown"
    assert metrics.mfu(1e12, 2.0, 1e12, 2) == pytest.approx(0.25)


def test_diagnostics_are_of_the_loop(tmp_path: Path) -> None:
    recipe = small(2, run={"diagnose_every_steps": 1, "checkpoint_every_steps": 0})
    run(recipe, make_data(tmp_path / "data"), tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").open()]
    found = [line for line in lines if line["event"] == "diagnostics"]
    assert len(found) == 2
    assert found[0]["gate"]["layer1"]["mean"] == pytest.approx(0.880797, abs=1e-5)  # sigmoid(2)
    assert found[0]["gate"]["layer1"]["std"] < 1e-5
    assert found[1]["gate"]["layer1"]["std"] > 1e-6
    assert 0 < found[0]["pass2_change"] < 1
    assert found[0]["pass1_grad_norm"] > 0
    assert found[0]["pass2_grad_norm"] > 0
    (step, _) = [line for line in lines if line["event"] == "step"]
    parts = found[0]["grad_norm"]
    assert set(parts) == {"embed_tokens", "layer0", "layer1", "norm", "gate_projections", "lm_head"}
    assert math.hypot(*parts.values()) == pytest.approx(step["grad_norm"], rel=1e-5)


@pytest.mark.parametrize("loops", [1, 2])
def test_attended_operations_counted_one_by_one(loops: int) -> None:
    """Packed rows: a query sees its own document, as far as the window reaches."""
    config = ModelConfig(50, 24, 40, 3, 4, 2, 8, 512, loops, loop_window_size=16)
    documents = Documents.of([[1, 15, 16, 17, 21], [70]])
    causal = near = 0
    for row in documents.lengths:
        for length in row:
            for query in range(length):
                causal += len(range(query + 1))
                near += len(range(max(0, query - 15), query + 1))
    assert documents.pairs() == causal
    assert documents.pairs(16) == near
    whole, packed = Documents.whole(2, 70), 140
    spared = metrics.step_flops(config, 70, packed) - metrics.attended_flops(
        config, packed, causal, near
    )
    fewer = loops * (whole.pairs() - causal) + (loops - 1) * (whole.pairs(16) - near)
    assert spared == pytest.approx(3 * 2 * 3 * 2 * 4 * 8 * fewer)


def test_rates_count_what_the_step_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Target tokens and both MFUs of a step, against its rows read one by one."""
    monkeypatch.setattr(metrics, "peak_flops", lambda device, dtype: 1e9)
    folder, recipe = make_data(tmp_path / "data"), small(1, batch={"micro_batch_rows": 2})
    run(recipe, folder, tmp_path / "out")
    line = json.loads((tmp_path / "out/metrics.jsonl").read_text().splitlines()[0])
    (step,) = itertools.islice(
        data.steps(
            data.mixture_of(data.sources_of(recipe, folder)[0], recipe),
            recipe,
            World(),
            Position((0, 0)),
        ),
        1,
    )
    rows = [row for micro in step.micros for row in micro.rows]
    lengths = [n for row in rows for n in row.doc_lengths]
    targets = 0
    for row in rows:
        first = set(np.cumsum([0, *row.doc_lengths]).tolist())
        targets += sum(w > 0 and i not in first for i, w in enumerate(row.token_weights))
    assert line["target_tokens_per_s"] * line["seconds"] == pytest.approx(targets)
    config = recipe.model.config
    causal = sum(n * (n + 1) / 2 for n in lengths)  # all are shorter than the window
    flops = metrics.attended_flops(config, 4 * TOKENS, causal, causal)
    assert line["mfu_attended"] * line["seconds"] * 1e9 == pytest.approx(flops)
    assert line["mfu"] > line["mfu_attended"]


BASE = """[data.sources]
a = 1
[optimizer]
lr = 1e-3
"""


@pytest.mark.parametrize(
    ("settings", "table", "key", "value"),
    [
        (["optimizer.lr=3e-4"], "optimizer", "lr", 3e-4),
        (["optimizer.lr = 1"], "optimizer", "lr", 1.0),
        (["optimizer.name=muon"], "optimizer", "name", "muon"),
        (['optimizer.name="muon"'], "optimizer", "name", "muon"),
        (["parent.run=/runs/dense-1.5"], "parent", "run", "/runs/dense-1.5"),
        (["run.sinks=['wandb']"], "run", "sinks", ("wandb",)),
        (["data.sources.diff-512=2.5"], "data", "sources", {"a": 1, "diff-512": 2.5}),
        (["schedule.steps=30", "schedule.warmup_steps=0"], "schedule", "steps", 30),
    ],
)
def test_a_value_is_set_from_the_command_line(
    tmp_path: Path, settings: list[str], table: str, key: str, value: object
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(BASE)
    found = getattr(getattr(read_recipe(path, settings), table), key)
    assert found == value
    assert type(found) is type(value)
    shape = read_recipe(path, ["model.overrides.vocab_size=99"]).model.config
    assert shape.vocab_size == 99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["optimizer.lr"], "write it as KEY=VALUE"),
        (["optimizer.lr="], "write it as KEY=VALUE"),
        (["=3"], "write it as KEY=VALUE"),
        (["optimizer..lr=3"], "write it as KEY=VALUE"),
        (["optimizer.lr=fast"], r"r.toml (with --set).optimizer.lr: expected float, got 'fast'"),
        (["optimizer.lr='1'"], "expected float, got '1'"),
        (["optimizer.momentun=1"], "unknown key 'momentun'; did you mean 'momentum'"),
        (["optimiser.lr=1"], "unknown key 'optimiser'; did you mean 'optimizer'"),
        (["optimizer.lr.x=1"], "optimizer.lr is a value, not a table"),
        (["optimizer.lr=nan"], "must be positive and finite"),
        (["parent.fold=True"], "expected bool, got 'True'"),
        (["run.sinks=['wand']"], "run.sinks = 'wand': choose one of tensorboard, wandb, trackio"),
        (["schedule.steps=1.5"], "expected int, got 1.5"),
        (["optimizer.name=a b"], "neither a TOML value nor a word"),
        (["seed=1\nname='x'"], "neither a TOML value nor a word"),
        (["optimizer.lr=1", "optimizer.lr = 2"], "optimizer.lr: given 2 times"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, settings: list[str], message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(BASE)
    with pytest.raises(UsageError, match=re.escape(message)):
        read_recipe(path, settings)
