"""LoopCoder against dense models, and triples against snapshots, on one dataset folder.

    python benchmarks/compare.py DIR --out RUNS [--seeds 3] [--steps 250] [--workers 1]

Five arms, each trained once a seed on equally many tokens and judged on the same held-out rows:

- `loop`: LoopCoder of L layers, on triples (rendering `diff`, loss on everything);
- `dense, parameters`: the same layers run once; `dense, operations`: 2L untied layers;
- `snapshots`: the loop on what the files look like afterwards (rendering `snapshot`);
- `snapshots 4 : triples 1`: the same with a fifth of triples, since a model that never saw a patch
  also pays for not knowing how one is written.

The figure is the loss on the *patches* of held-out triples, in nats a token; beside it that on
held-out snapshots. A seed fixes initial values and the order of rows, and all arms share it, so
differences from `loop` are paired by seed: mean and 95% t-interval over the seeds. Runs that are
complete are not run again, so an interrupted comparison goes on with the same command. Costs, at
the defaults, 2 to 3 minutes of one core a run, and 15 runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from codeflow.shards.reader import TokenShards
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.stage import tokenize
from codeflow.train import metrics, recipe

LENGTH = 512
PATCH, TRIPLES, SNAPSHOTS = "compare-patch", "compare-triples", "compare-snapshots"
FOLDERS = {PATCH: ("diff", "patch"), TRIPLES: ("diff", "all"), SNAPSHOTS: ("snapshot", "all")}
JUDGED = (PATCH, SNAPSHOTS)
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # by degrees of freedom


class Arm(NamedTuple):
    """A model and what it reads."""

    sources: dict[str, int]
    loop_num: int = 2
    deeper: int = 1


ARMS = {
    "loop": Arm({TRIPLES: 1}),
    "dense, parameters": Arm({TRIPLES: 1}, loop_num=1),
    "dense, operations": Arm({TRIPLES: 1}, loop_num=1, deeper=2),
    "snapshots": Arm({SNAPSHOTS: 1}),
    "snapshots 4 : triples 1": Arm({SNAPSHOTS: 4, TRIPLES: 1}),
}
FIRST = "loop"


class Every(TokenShards):
    """Evenly spaced rows of a split, so that every repository is among them."""

    chosen: Sequence[int] | None = None

    def __init__(self, folder: Path, rows: int) -> None:
        super().__init__(folder, "validation")
        held = len(self)
        self.chosen = [i * held // rows for i in range(rows)] if rows < held else None

    def __len__(self) -> int:
        return super().__len__() if self.chosen is None else len(self.chosen)

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index if self.chosen is None else self.chosen[index])


def recipe_of(arm: Arm, seed: int, vocab_size: int, parsed: argparse.Namespace) -> recipe.Recipe:
    """The arm's run. All arms share everything but the model and the sources."""
    width, layers = parsed.width, parsed.layers
    shape = {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_attention_heads": width // 32,
        "num_key_value_heads": width // 64,
        "head_dim": 32,
        "num_hidden_layers": layers * arm.deeper,
        "loop_num": arm.loop_num,
    }
    steps = parsed.steps
    return recipe.Recipe(
        name="compare",
        seed=seed,
        model=recipe.Model("tiny", shape),
        data=recipe.Data(arm.sources),
        batch=recipe.Batch(LENGTH, parsed.rows, parsed.rows),
        optimizer=recipe.Optimizer("muon", lr=parsed.lr),
        schedule=recipe.Schedule("wsd", steps, max(1, steps // 14), steps // 4),
        run=recipe.Run(checkpoint_every_steps=0, diagnose_every_steps=0),
        validation=recipe.Validation(every_steps=0, rows=parsed.judged),
    )


def one(name: str, seed: int, parsed: argparse.Namespace) -> dict[str, Any]:
    """Trains one arm with one seed, or finds it trained, and judges it. In a process of its own."""
    import torch

    from codeflow.train.state import checkpoint
    from codeflow.train.state.parallel import World, make_model, unwrapped
    from codeflow.train.trainer import train
    from codeflow.train.validation import validate

    torch.set_num_threads(parsed.threads)
    folder = parsed.dir / "tokens"
    vocab_size = TokenShards(folder / PATCH).description.vocab_size
    made = recipe_of(ARMS[name], seed, vocab_size, parsed)
    out = parsed.out / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    stored = out / "judged.json"
    cpu = time.process_time()
    result = train(made, parsed.dir, out)
    cpu = time.process_time() - cpu
    if stored.exists():
        return dict(json.loads(stored.read_text()))
    model = unwrapped(make_model(made.model.config, made.compute, World(), seed))
    with checkpoint.opened(result.checkpoint, checkpoint.read_meta(result.checkpoint)) as reader:
        checkpoint.load_model(reader, model)
    judging = dataclasses.replace(made, batch=recipe.Batch(LENGTH, 8, 8))
    losses = {
        part: validate(model, [Every(folder / part, parsed.judged)], judging, World())
        for part in JUDGED
    }
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = {
        "arm": name,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "operations": metrics.step_flops(made.model.config, LENGTH, 1),
        "tokens": made.tokens,
        "seconds": sum(line["seconds"] for line in lines if line["event"] == "step"),
        "cpu_s": cpu,
        "train_loss": sum(line["loss"] for line in lines[-10:]) / len(lines[-10:]),
        **losses,
    }
    stored.write_text(json.dumps(found, indent=1))
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95% t-interval; infinite for a single value."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.inf
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, T_975[min(len(values) - 2, len(T_975) - 1)] * math.sqrt(variance / len(values))


def table(found: Sequence[dict[str, Any]]) -> str:
    """One line an arm, for people and for the log."""
    lines = [
        "| arm | parameters | operations a token | longest run, processor time "
        "| patches of held-out triples | minus `loop`, paired "
        "| held-out snapshots | minus `loop`, paired |",
        "|---|---|---|---|---|---|---|---|",
    ]
    by_arm = {name: {f["seed"]: f for f in found if f["arm"] == name} for name in ARMS}
    for name, runs in by_arm.items():
        if not runs:
            continue
        first = next(iter(runs.values()))
        cells = [
            name,
            f"{first['parameters'] / 1e6:.2f} M",
            f"{first['operations'] / 1e6:.1f} M",
            f"{max(run['cpu_s'] for run in runs.values()):.0f} s",
        ]
        for part in JUDGED:
            mean, _ = interval([run[part]["loss"] for run in runs.values()])
            shared = sorted(runs.keys() & by_arm[FIRST].keys())
            pairs = [runs[s][part]["loss"] - by_arm[FIRST][s][part]["loss"] for s in shared]
            cells += [f"{mean:.4f}", "" if name == FIRST else _shown(pairs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(differences: Sequence[float]) -> str:
    if not differences:
        return "?"
    mean, half = interval(differences)
    return f"{mean:+.4f}" + (f" ± {half:.4f}" if math.isfinite(half) else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("dir", type=Path, help="dataset folder; three token folders are added")
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--rows", type=int, default=4, help="of a step")
    parser.add_argument("--judged", type=int, default=192, help="held-out rows to judge by")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--vocab", type=int, default=4096, help="of a tokenizer to train")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--json", action="store_true", help="all figures, instead of the table")
    parsed = parser.parse_args()
    for name, (rendering, loss) in FOLDERS.items():
        wanted = TokenizeConfig(
            renderings=(rendering,),
            length=LENGTH,
            name=name,
            vocab_size=parsed.vocab,
            loss=loss,
            validation=0.1,
        )
        tokenize(parsed.dir, wanted)
    jobs = [
        (name, seed)
        for seed in range(parsed.first_seed, parsed.first_seed + parsed.seeds)
        for name in parsed.arms
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(parsed.workers, mp_context=spawn, max_tasks_per_child=1) as pool:
        running = [pool.submit(one, name, seed, parsed) for name, seed in jobs]
        found = []
        for future in running:
            found.append(future.result())
            last = found[-1]
            if not parsed.json:
                print(
                    f"{last['arm']:24} seed {last['seed']}  {last['seconds']:5.0f} s  "
                    f"patches {last[PATCH]['loss']:.4f}  snapshots {last[SNAPSHOTS]['loss']:.4f}",
                    flush=True,
                )
    print(json.dumps(found, indent=1) if parsed.json else f"\n{table(found)}")


if __name__ == "__main__":
    main()
