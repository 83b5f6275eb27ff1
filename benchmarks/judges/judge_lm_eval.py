"""An outside judge for an exported folder: lm-eval, on a task that is made here, without a network.

    pip install lm-eval
    python benchmarks/judges/judge_lm_eval.py DIR

lm-eval brings 27 packages, so it is no dependency of the tests. The task is multiple choice: short
pieces of Python, each with two ways to go on. lm-eval scores each choice by the log-likelihood that
transformers gives it; here every choice is scored again by `codeflow.loopcoder` alone, and the
accuracy and every choice have to agree. Exit status 1 when they do not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

TASK = """\
task: goes_on
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: right
target_delimiter: ""
metric_list:
  - metric: acc
"""
ROWS = [
    {"prompt": f"x = {n}\ny = x", "choices": [" + 1\n", " ) 1\n"], "right": 0} for n in range(8)
] + [
    {"prompt": f"def f{n}(a):\n    return", "choices": [" (((\n", " a\n"], "right": 1}
    for n in range(8)
]
TOLERANCE = 1e-3  # of a log-likelihood


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="exported with --remote-code, in float32")
    folder = parser.parse_args().folder
    theirs = _theirs(folder)
    samples = theirs["samples"]["goes_on"]
    ours = [_ours(folder, row) for row in ROWS]
    failed = len(samples) != len(ROWS)
    worst = 0.0
    for sample in samples:
        found = [float(one[0][0]) for one in sample["resps"]]
        own = ours[int(sample["doc_id"])]
        worst = max(worst, *(abs(a - b) for a, b in zip(found, own, strict=True)))
    accuracy = float(theirs["results"]["goes_on"]["acc,none"])
    right = [own.index(max(own)) == row["right"] for own, row in zip(ours, ROWS, strict=True)]
    failed |= worst > TOLERANCE or accuracy != sum(right) / len(right)
    print(f"lm-eval: accuracy {accuracy:.4f} on {len(samples)}; ours {sum(right) / len(right):.4f}")
    print(f"log-likelihoods differ by {worst:.1e} at most")
    print("FAILED" if failed else f"passed (tolerance {TOLERANCE:g})")
    return int(failed)


def _theirs(folder: Path) -> dict[str, Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as work:
        data = Path(work) / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        (Path(work) / "goes_on.yaml").write_text(TASK.format(file=data))
        found: dict[str, Any] = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(folder), "trust_remote_code": True, "dtype": "float32"},
            tasks=["goes_on"],
            task_manager=TaskManager(include_path=work, include_defaults=False),
            batch_size=4,
            device="cpu",
            log_samples=True,
            bootstrap_iters=0,
        )
    return found


def _ours(folder: Path, row: dict[str, Any]) -> list[float]:
    """The log-likelihood of each choice after the prompt."""
    import torch
    from tokenizers import Tokenizer

    from codeflow.loopcoder import load

    model, tokenizer = load(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    scores = []
    for choice in row["choices"]:
        before = tokenizer.encode(row["prompt"], add_special_tokens=False).ids
        ids = tokenizer.encode(row["prompt"] + choice, add_special_tokens=False).ids
        with torch.no_grad():
            logs = model(torch.tensor([ids]))[0].log_softmax(-1)
        targets = torch.tensor(ids[len(before) :])
        picked = logs[len(before) - 1 : -1].gather(1, targets[:, None])
        scores.append(float(picked.sum()))
    return scores


if __name__ == "__main__":
    sys.exit(main())
