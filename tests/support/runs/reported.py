"""A dataset to report on: mined for real from hostile repositories, curated by hand.

What the stages would drop is decided here, so that a test knows every figure of the page without
asking the code that counts it. Names, messages, paths and contents try to leave their place.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import codeflow
from codeflow.records import LEDGER, TRIPLES, LedgerRow, table_of
from codeflow.storage import files, layout, manifest
from gitdag import Repo
from small_history import small_history

ATTACK = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2>"
SIDEWAYS = "\u202egnp.exe\u2066\x1b[31m\x07"
HOSTILE_REPO = "a<img src=x onerror=pwned=3>&amp;'b"
PLAIN_REPO = "plain"
SECRET = "hunter2-never-shown"
ADDRESS = "ada.lovelace@analytical.org"
FAILED_REPO = "gone</td></table><script>pwned=4</script>"
COMMITS = 60

DROPS = {
    ("filter", "secrets/secret"): "a changed file holds a secret",
    ("filter", f"message/{ATTACK}"): f"reason {ATTACK} {SIDEWAYS}",
    ("dedup", "near"): "nearly the same change as another of its kind",
    ("dedup", "exact"): "the same change as another of its kind",
    ("mix", "over-share"): "its language has more than its share of the mix",
}


@dataclass
class Reported:
    """A published folder, and what its page must say.

    Attributes:
        rules: drops by stage and rule.
        kept: published triples, as rows.
        languages: of the mix, as its figures have them.
    """

    folder: Path
    mined: int
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: list[dict[str, Any]] = field(default_factory=list)
    languages: dict[str, dict[str, Any]] = field(default_factory=dict)


def hostile_repository(path: Path) -> None:
    """JavaScript, with attacks in messages, paths and contents."""
    repo = Repo.create(path)
    repo.commit({"app.js": "", 'x"><script>pwned=5<script>.js': "", "README.md": "# a\n"})
    for k in range(1, COMMITS):
        lines = "".join(f"value[{i}] = '{ATTACK}' + '{SIDEWAYS}'; // {i}\n" for i in range(k))
        changes: dict[str | bytes, Any] = {
            "app.js": lines + f"mail = '{ADDRESS}'; // {k}\nkey = '{SECRET}'; // {k}\n",
        }
        if k % 3 == 0:
            changes['x"><script>pwned=5<script>.js'] = f"let a = {k};\n</code></div>{ATTACK}\n"
        repo.commit(changes, message=f"{ATTACK} {SIDEWAYS} {k}\n\nbody")


def mined(folder: Path) -> Path:
    """Both repositories, mined into `folder/data` and nothing more."""
    hostile_repository(folder / HOSTILE_REPO)
    small_history(folder / PLAIN_REPO, COMMITS)
    listed = [str(folder / HOSTILE_REPO), str(folder / PLAIN_REPO)]
    codeflow.mine(repos=listed, out=folder / "data", until="mine")
    return folder / "data"


def curated(folder: Path) -> Reported:
    """The same with stages that dropped some, a repository that failed, and training runs."""
    data = mined(folder)
    rows = [row for path in _triples(data) for row in pq.read_table(path).to_pylist()]
    rows.sort(key=lambda row: row["id"])
    reported = Reported(data, len(rows))
    ledger = [
        LedgerRow("open", "missing", f"no such folder {ATTACK}", FAILED_REPO),
    ]
    near: dict[str, dict[str, Any]] = {}  # by kind, the latest that stayed
    first, second, *_ = DROPS  # rules drop unlike numbers
    wheel = [None, None, *DROPS, None, first, second, None, first]
    for number, row in enumerate(rows):
        if number % 4 == 3:  # these histories have no spans of their own
            both = {"commits": row["commits"] * 2, "messages": row["messages"] * 2}
            row |= {"kind": "span", **both}
        drop = wheel[number % len(wheel)]
        twin = near.get(row["kind"])
        if drop is None or (drop == ("dedup", "near") and twin is None):
            reported.kept.append(row)
            near[row["kind"]] = row
            continue
        reported.rules[drop] += 1
        detail = f"detail {ATTACK}"
        if drop == ("dedup", "near") and twin is not None:
            detail = f"{twin['id']} similarity 0.812"
        ends = (row["repo"], row["old_commit"], row["new_commit"])
        ledger.append(LedgerRow(*drop, DROPS[drop], *ends, detail))
    _mix(reported)
    _publish(reported, ledger)
    write_run(data, f"run {ATTACK[:20]}"[:20].replace("/", "_"), steps=200)
    return reported


def _mix(reported: Reported) -> None:
    counts = Counter(row["language"] for row in reported.kept)
    over = reported.rules["mix", "over-share"]
    for number, (name, n) in enumerate(sorted(counts.items())):
        reported.languages[name] = {
            "triples": n + (over if number == 0 else 0),
            "kept": n,
            "tokens": 1000 * (number + 1),
            "tokens_after": 500 * (number + 2),
            "target_share": 1 / len(counts),
        }


def _publish(reported: Reported, rows: Sequence[LedgerRow]) -> None:
    """Rewrites shards, ledger and manifest of a mined folder for what is kept."""
    data = reported.folder
    values = manifest.read(data)
    [shard] = _triples(data)
    kept = pa.Table.from_pylist(reported.kept, schema=TRIPLES)
    with files.parquet(shard, TRIPLES) as writer:
        writer.write(kept)
    [path] = sorted((data / "ledger").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(path).cast(LEDGER), table_of(rows, LEDGER)])
    with files.parquet(path, LEDGER) as writer:
        writer.write(table)
    by_stage: Counter[str] = Counter()
    for (stage, _), n in reported.rules.items():
        by_stage[stage] += n
    left, stages = reported.mined, []
    curve = [[n / 20, 1 - (1 - (n / 20) ** 7) ** 16] for n in range(21)]
    for name, figures in (
        ("filter", {}),
        ("dedup", {"clusters": {"2": 3, "5": 1}, "curve": curve}),
        ("mix", {"languages": reported.languages}),
    ):
        counts = {"in": left, "out": left - by_stage[name]}
        left -= by_stage[name]
        settings = {"threshold": 0.7} if name == "dedup" else {}
        record = {"stage": name, "hash": "0", "settings": settings, "figures": counts | figures}
        stages.append(record)
    (data / layout.MANIFEST).write_bytes(manifest.seal({**values, "stages": stages}))


def _triples(data: Path) -> list[Path]:
    return sorted((data / "triples").glob("*.parquet"))


def write_run(data: Path, name: str, steps: int) -> None:
    """`metrics.jsonl` of a run as the trainer writes it: a bad step in it, and a torn last line."""
    folder = data / "runs" / name
    folder.mkdir(parents=True)
    lines = []
    for step in range(1, steps + 1):
        loss = 2 + 5 * math.exp(-step / 40)
        values: dict[str, Any] = {"loss": loss if step != 7 else "nan", "tokens": step * 1024}
        values |= {"grad_norm": 1.0, "tokens_per_s": 1000.0 + step, "bad_steps": int(step >= 7)}
        lines.append({"event": "step", "step": step, **values})
        if step % 50 == 0:
            languages = {"Python": loss + 0.1, ATTACK: loss + 0.3}
            values = {"loss": loss + 0.2, "languages": languages, "kinds": {"commit": loss}}
            lines.append({"event": "validation", "step": step, "sources": {}, **values})
            gate = {"mean": 0.8, "std": 0.1, "below_0.1": 0.0, "above_0.9": 0.25}
            values = {"pass1_grad_norm": 0.5, "pass2_grad_norm": 0.25, "pass2_change": 0.3}
            gates = {f"layer{n}": {**gate, "mean": 0.8 - 0.05 * n} for n in range(12)}
            lines.append({"event": "diagnostics", "step": step, **values, "gate": gates})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"event": "st', encoding="utf-8")
