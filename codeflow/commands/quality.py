"""`codeflow quality`: trains the score that the filter `quality` applies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_OK

_EPILOG = """\
A label is a JSON line, {"id": "id of a triple", "label": 0 to 1}, from a person or a model; a label
from 0.5 up is good. `codeflow inspect DIR ID` shows a triple. The held-out AUC is how often a good
triple scores above a poor one, among triples that the weights were not fitted to: 0.5 is chance.

  codeflow quality train data --labels labels.jsonl --out model.json
  codeflow filter data --config codeflow.toml

where codeflow.toml has

  [filter]
  filters = ["default", "quality"]

  [filter.rules.quality]
  model = "model.json"
  threshold = 0.3
"""


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "train a score of how good triples are"
    quality = commands.add_parser("quality", help=text, description=sentence(text))
    actions = quality.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "fit a model to labels of triples"
    train = actions.add_parser("train", help=text, description=sentence(text), epilog=_EPILOG)
    train.set_defaults(command=_train)
    train.add_argument("dir", metavar="DIR", help="dataset folder, or a URL of fsspec")
    train.add_argument("--labels", required=True, type=Path, metavar="FILE", help="JSON lines")
    train.add_argument("--out", required=True, type=Path, metavar="PATH", help="the model, JSON")


def _train(parsed: argparse.Namespace) -> int:
    from codeflow.dataset import reader as dataset
    from codeflow_filters.quality import train
    from codeflow_filters.quality.features import COLUMNS

    triples = dataset.open(parsed.dir).triples(columns=sorted(COLUMNS))
    done = train(parsed.labels, triples)
    done.model.write(parsed.out)
    print(f"{done.good + done.poor:,} labelled triples: {done.good:,} good, {done.poor:,} poor")
    if done.missing:
        print(f"  {done.missing:,} labels are of triples that are not in this dataset")
    folds = ", ".join("-" if auc is None else f"{auc:.3f}" for auc in done.auc_by_fold)
    print(f"held-out AUC {done.auc:.3f} (by fold {folds}; each {done.folds_by} in one fold)")
    strongest = sorted(done.model.features.items(), key=lambda item: -abs(item[1].weight))[:5]
    print("strongest: " + ", ".join(f"{name} {f.weight:+.2f}" for name, f in strongest))
    print("what a threshold would drop, by held-out scores")
    for threshold, good, poor in done.cuts:
        print(f"  {threshold:.1f}  {poor:,} of {done.poor:,} poor, {good:,} of {done.good:,} good")
    print(f"in {parsed.out}; `codeflow quality train --help` says how the filter takes it")
    return EXIT_OK
