"""`gpu_check`'s sections by name, and two of them: the machine, and resuming and ranks."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_correct import Line, correct, line
from gpu_speed import TOY, fact, memory, profile, seconds_of, speed

from codeflow.loopcoder.config import Compute
from codeflow.shards.format import Description, Row
from codeflow.shards.writer import write_shards
from codeflow.train import metrics
from codeflow.train import recipe as recipes
from codeflow.train.resume import verify_resume
from codeflow.train.state import checkpoint
from codeflow.train.trainer import train

SMALL = {**TOY, "hidden_size": 256, "intermediate_size": 512, "head_dim": 64}


# -- machine ---------------------------------------------------------------------------------------


def machine(cpu: bool, out: Path) -> Iterator[Line]:
    yield fact("python", platform.python_version())
    yield fact("torch", torch.__version__)
    device = "cpu" if cpu else "cuda"
    if not cpu:
        yield fact("device", torch.cuda.get_device_name())
        yield fact("memory-GB", torch.cuda.get_device_properties(0).total_memory / 1e9)
        peak = metrics.peak_flops("cuda", "bfloat16")
        yield fact("peak-TFLOP/s", peak / 1e12 if peak else metrics.UNKNOWN)
        import triton

        yield fact("triton", triton.__version__)
    size = 1 << (24 if cpu else 32)
    yield fact("copy-GB/s", 2 * size / copying(size, device) / 1e9)
    n = 512 if cpu else 8192
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    seconds = seconds_of(lambda: a @ a, device)
    yield fact(f"matmul-{n}-bfloat16-TFLOP/s", 2 * n**3 / seconds / 1e12)


def copying(size: int, device: str) -> float:
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return seconds_of(lambda: target.copy_(source), device)


# -- resume and ranks ------------------------------------------------------------------------------


def rows(tokens: int, vocab: int, count: int) -> Iterator[Row]:
    chance = np.random.default_rng(0)
    for _ in range(count):
        cut = int(chance.integers(tokens // 4, tokens // 2))
        yield Row(
            chance.integers(vocab, size=tokens, dtype=np.uint32),
            np.array([cut, tokens - cut], np.int32),
            np.array([cut, tokens - cut], np.int32),
            np.array([0.5, 1.0], np.float32),
            ("a" * 32,) * 2,
            ("Python",) * 2,
            ("commit",) * 2,
            (None,) * 2,
        )


def made_data(folder: Path, tokens: int, vocab: int) -> Path:
    shards = folder / "tokens" / "random"
    shards.mkdir(parents=True)
    about = Description(tokens, "random", vocab, "random", "random")
    for split, count in (("train", 64), ("validation", 5)):
        for _ in write_shards(shards, split, rows(tokens, vocab, count), about):
            pass
    return folder


def a_recipe(shape: dict[str, Any], tokens: int, compute: Compute, steps: int) -> recipes.Recipe:
    return recipes.Recipe(
        name="check",
        model=recipes.Model("tiny", shape),
        compute=compute,
        data=recipes.Data({"random": 1}),
        batch=recipes.Batch(tokens, 4, 2),
        optimizer=recipes.Optimizer("muon", lr=3e-3),
        schedule=recipes.Schedule(steps=steps, warmup_steps=1, decay_steps=1),
        run=recipes.Run(checkpoint_every_steps=0, diagnose_every_steps=0),
        validation=recipes.Validation(every_steps=2, rows=5),
    )


def resume(cpu: bool, out: Path) -> Iterator[Line]:
    """The proof is `codeflow verify-resume`; that it can fail is shown by a flipped bit."""
    tokens, shape = (64, TOY) if cpu else (1024, SMALL)
    compute = Compute("bfloat16", compile=not cpu)
    with tempfile.TemporaryDirectory() as folder:
        data = made_data(Path(folder) / "data", tokens, shape["vocab_size"])
        file = Path(folder) / "recipe.toml"
        file.write_text(as_toml(a_recipe(shape, tokens, compute, 6)))
        proof = verify_resume(file, data, Path(folder) / "work", steps=6, at=3)
        yield {
            "name": "six-steps-against-three-and-three",
            "state": "PASS" if proof.ok else "FAIL",
            "measured": f"{proof.straight[:12]} {proof.resumed[:12]}",
            "bound": "equal",
        }
        last = checkpoint.latest(Path(folder) / "work/straight/checkpoints")
        assert last is not None
        shard = last / "rank-00000.safetensors"
        content = bytearray(shard.read_bytes())
        content[-3] ^= 1
        shard.write_bytes(content)
        seen = checkpoint.state_hash(last) != proof.straight
        yield {"name": "seen-flipped-bit", "state": "PASS" if seen else "FAIL", "measured": ""}


def as_toml(recipe: recipes.Recipe) -> str:
    """A recipe as a file; enough for what stands in this check's."""

    def value(of: Any) -> str:
        return json.dumps(of)

    tables: dict[str, Any] = dataclasses.asdict(recipe)
    text = [f"{k} = {value(v)}" for k, v in tables.items() if not isinstance(v, dict)]
    for name, table in tables.items():
        if isinstance(table, dict):
            text.append(f"[{name}]")
            text += [f"{k} = {value(v)}" for k, v in table.items() if not isinstance(v, dict)]
            for inner, fields in table.items():
                if isinstance(fields, dict):
                    text.append(f"[{name}.{inner}]")
                    text += [f"{k} = {value(v)}" for k, v in fields.items()]
    return "\n".join(text) + "\n"


def ranks(cpu: bool, out: Path) -> Iterator[Line]:
    """One rank by the collectives of many: the losses of one process alone."""
    tokens, shape = (64, TOY) if cpu else (1024, SMALL)
    with tempfile.TemporaryDirectory() as folder:
        data = made_data(Path(folder) / "data", tokens, shape["vocab_size"])
        plain = a_recipe(shape, tokens, Compute(), 3)

        def losses(recipe: recipes.Recipe, name: str) -> list[float]:
            train(recipe, data, Path(folder) / name)
            lines = (Path(folder) / name / "metrics.jsonl").read_text().splitlines()
            found = [json.loads(k) for k in lines]
            return [float(k["loss"]) for k in found if k["event"] in ("step", "validation")]

        expected = losses(plain, "alone")
        for name, mode, checkpointing in (
            ("ddp", "ddp", False),
            ("fsdp2", "fsdp2", False),
            ("fsdp2-checkpointing", "fsdp2", True),
        ):
            torch.compiler.reset()
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            os.environ |= {
                "RANK": "0",
                "WORLD_SIZE": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            recipe = dataclasses.replace(
                plain,
                parallel=recipes.Parallel(mode),
                compute=Compute(activation_checkpointing=checkpointing),
            )
            found = losses(recipe, name)
            worst = max(abs(a / b - 1) for a, b in zip(found, expected, strict=True))
            yield line(f"losses-{name}", worst, 1e-4)
        wrong = dataclasses.replace(plain, parallel=recipes.Parallel("fsdp2"), seed=1)
        other = losses(wrong, "other-seed")
        worst = max(abs(a / b - 1) for a, b in zip(other, expected, strict=True))
        yield line("seen-other-seed", worst, 1e-3, at_least=True)


SECTIONS: dict[str, Callable[[bool, Path], Iterator[Line]]] = {
    "machine": machine,
    "correct": correct,
    "resume": resume,
    "ranks": ranks,
    "memory": memory,
    "speed": speed,
    "profile": profile,
}
