"""The chain of stages at tiny size on real shards of every kind: texts, questions, trajectories,
commits and holes train together, resume to the bit, and every kind is learnt."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from codeflow.curation.documents.config import DocumentsConfig
from codeflow.curation.documents.stage import tokenize_documents
from codeflow.shards.reader import TokenShards
from codeflow.train import recipe as recipes
from codeflow.train.state import checkpoint
from token_samples import make, tokenized
from training_runs import SHAPE, hash_of, run, small

pytestmark = pytest.mark.slow
SOURCES = {"text": 2, "qa": 1, "trajectory": 2, "diff": 1, "fim": 1}  # text is the replay


def words(random: Random, count: int) -> str:
    return " ".join(random.choice(("load", "pack", "view", "set", "run")) for _ in range(count))


def rows(kind: str) -> list[dict[str, Any]]:
    random = Random(kind)
    found: list[dict[str, Any]] = []
    for k in range(40):
        if kind == "text":
            found.append({"text": words(random, 80), "source": "web"})
        elif kind == "qa":
            question, thought = words(random, 20), words(random, 10)
            answer = f"<think>\n{thought}\n</think>\n\n{words(random, 15)}"
            found.append({"question": question, "answer": answer, "source": "forum"})
        else:
            call = {"name": "bash", "arguments": {"cmd": words(random, 5)}}
            found.append(
                {
                    "instance_id": f"a__b-{k}",
                    "trajectory": [
                        {"role": "user", "content": words(random, 20)},
                        {"role": "assistant", "content": "look", "tool_calls": [call]},
                        {"role": "tool", "content": words(random, 25)},
                        {"role": "assistant", "content": words(random, 10)},
                    ],
                }
            )
    return found


def shards(data: Path, length: int) -> dict[str, float]:
    """A folder of each source for rows of so many tokens; their shares by name."""
    for kind in ("text", "qa", "trajectory"):
        path = data / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows(kind)))
        config = DocumentsConfig(
            (str(path),), kind, length, name=f"{kind}-{length}", validation=0.2, near=False
        )
        done = tokenize_documents(data, config)
        assert set(TokenShards(done.folder)[0].kinds) - {"padding"} == {kind}
    for name, rendering in (("diff", "diff"), ("fim", "fim-file")):
        tokenized(data, f"{name}-{length}", rendering, length, validation=0.3)
    return {f"{name}-{length}": share for name, share in SOURCES.items()}


def test_every_kind_is_learnt_through_four_stages(tmp_path: Path) -> None:
    data = make(tmp_path)[0]
    tokenized(data, "first", "diff", 512, vocab_size=600, validation=0.3)  # trains the tokenizer
    vocab = TokenShards(data / "tokens" / "first").description.vocab_size
    stages = (("pretrain", 1024, 1), ("anneal", 1024, 1), ("mid-1", 2048, 2), ("mid-2", 2048, 2))
    by_length = {length: shards(data, length) for length in (1024, 2048)}
    parent = ""
    told = []
    for name, length, loops in stages:
        recipe = small(
            8,
            name=name,
            model=recipes.Model("tiny", {**SHAPE, "vocab_size": vocab, "loop_num": loops}),
            data=recipes.Data(by_length[length]),
            batch=recipes.Batch(length, rows_per_step=2, micro_batch_rows=1),
            parent=recipes.Parent(parent, fold=bool(parent) and name == "mid-1"),
            run={"checkpoint_every_steps": 4},
            validation=recipes.Validation(every_steps=4, rows=1),
        )
        out = tmp_path / "runs" / name
        run(recipe, data, out)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
        told += [line for line in lines if line["event"] == "validation"]
        parent = name
        if name == "mid-1":
            other = tmp_path / "again"
            other.mkdir()
            (other / "anneal").symlink_to(tmp_path / "runs" / "anneal")
            run(recipe, data, other / "mid-1", stop_after=5)
            run(recipe, data, other / "mid-1")
            assert hash_of(other / "mid-1") == hash_of(out)
    meta = checkpoint.read_meta(tmp_path / "runs/mid-2/checkpoints/step-00000008")
    assert meta["parent"]["name"] == "mid-1"
    first, last = told[0], told[-1]
    assert {"text", "qa", "trajectory", "commit"} <= first["kinds"].keys()
    assert {"web", "forum"} == set(first["origins"])
    for what in ("kinds", "origins"):
        for label, loss in first[what].items():
            assert last[what][label] < loss - 0.05, (what, label)
    for source, loss in first["sources"].items():
        after = last["sources"][source.replace("1024", "2048")]
        assert after < loss - 0.05, source
