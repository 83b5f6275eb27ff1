"""Every folder's and file's name in a dataset folder: the one page that says where what lies.

    manifest.json  README.md  report.html       published: what it is, for programs and for people
    triples/ steps/ blobs/ trees/ ledger/        published tables
    mined/  decisions/STAGE/                     what Git gave, and what the stages said of it
    tokens/  runs/  tasks/                       token folders, trained models, executable tasks
    .work/                                       of the run alone: never sent to anybody

Names are relative to the folder, so that it can be moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MANIFEST: Final = "manifest.json"
CARD: Final = "README.md"
REPORT: Final = "report.html"

TRIPLES: Final = "triples"
STEPS: Final = "steps"
BLOBS: Final = "blobs"
TREES: Final = "trees"
LEDGER: Final = "ledger"
TABLES: Final = (TRIPLES, STEPS, BLOBS, TREES, LEDGER)
"""The published tables, a folder of shards each."""
SPLIT_TABLES: Final = (TRIPLES, STEPS)
"""Those whose shards are named for a split."""
SPLITS: Final = ("train", "validation")
"""What shards of triples, steps and tokens are named for, in the order in which they are read."""

STAGES: Final = ("filter", "dedup", "mix", "split")
"""The stages that decide, in order; each has a folder of its name in `decisions/`."""

MINED: Final = "mined"
MINED_INDEX: Final = f"{MINED}/index.json"
MINED_LEDGER: Final = f"{MINED}/ledger.parquet"
DECISIONS: Final = "decisions"
STAGE_RECORD: Final = "stage.json"
"""In the folder of a stage's decisions."""

TOKENS: Final = "tokens"
TOKENIZER: Final = "tokenizer.json"
CHAT_TEMPLATE: Final = "chat_template.jinja"
"""Beside each tokenizer: how conversations are written with it."""
RUNS: Final = "runs"
ROLLOUTS: Final = "rollouts"  # of a run that learns from rewards
TASKS: Final = "tasks"
"""A folder a set of tasks: its table, its ledger, and the environments that they run in."""

WORK: Final = ".work"
LOCK: Final = f"{WORK}/lock"
RUN: Final = f"{WORK}/run.json"
ASKED: Final = f"{WORK}/asked.json"
OPENED: Final = f"{WORK}/opened.json"
GROWING: Final = f"{WORK}/growing.json"
"""Is there while repositories are added to what was mined, or taken out of it."""
SUMMARY: Final = f"{WORK}/summary.json"
COPIED: Final = f"{WORK}/copied.json"
INTERMEDIATE: Final = f"{WORK}/parts"
"""Intermediate tables of units, for later units of the same run."""
DONE: Final = f"{WORK}/done"
"""Markers of units: one that has a marker is done."""
OUTCOME: Final = "outcome.json"
"""In the folder of a repository's markers: what mining it came to."""

OURS: Final = (MINED, DECISIONS, *TABLES, TOKENS)
"""Folders that a run makes, besides `.work/`."""

UPLOAD_MARK: Final = ".codeflow-upload"
"""At a URL: a dataset is being sent there."""

CACHE: Final = Path("~/.cache/codeflow")
CLONES: Final = CACHE / "repositories"
WORK_FOLDERS: Final = CACHE / "runs"
"""Where runs work whose datasets go to a URL."""
COPIES: Final = CACHE / "datasets"
"""Local copies of datasets at URLs."""


def outcome_path(folder: Path, name: str) -> Path:
    """What mining a repository came to; `name` is the folder of its markers."""
    return folder / DONE / name / OUTCOME
