"""An outside judge for an exported folder: mlx-lm, which runs the released architecture on CPUs.

    python3 -m venv mlxenv && mlxenv/bin/pip install 'mlx[cpu]' mlx-lm
    python benchmarks/judge_mlx.py DIR --mlx-python mlxenv/bin/python

mlx-lm lives in its own environment and is no dependency: this script runs codeflow's side, and
runs itself under the other interpreter for mlx-lm's. Compared are the logits of every position,
on prompts below and past the window, and greedy continuations: tokens, and with a tokenizer in
the folder the text. Exit status 1 when anything differs. A folder in bfloat16 is judged in
bfloat16 by mlx-lm and cannot meet the tolerance: export float32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-4  # of the largest logit
LENGTHS = (1, 63, 64, 65, 200, 700)
PROMPTS = (5, 64, 150)
NEW_TOKENS = 100


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mlx-python", default="mlxenv/bin/python")
    parser.add_argument("--mlx-side", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.mlx_side:
        _mlx_side(arguments.folder, arguments.mlx_side)
        return 0
    return _judge(arguments.folder, arguments.mlx_python)


def _judge(folder: Path, mlx_python: str) -> int:
    import torch

    from codeflow.loopcoder import generate, load

    model = load(folder)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, model.config.vocab_size, n).tolist() for n in LENGTHS]
    prompts = [rng.integers(0, model.config.vocab_size, n).tolist() for n in PROMPTS]
    with tempfile.TemporaryDirectory() as work:
        request = {"rows": rows, "prompts": prompts, "new_tokens": NEW_TOKENS}
        (Path(work) / "request.json").write_text(json.dumps(request))
        subprocess.run([mlx_python, __file__, str(folder), "--mlx-side", work], check=True)
        theirs = dict(np.load(Path(work) / "logits.npz"))
        continued = json.loads((Path(work) / "continued.json").read_text())

    print(f"{folder}: {_describe(model)}")
    failed = False
    with torch.no_grad():
        for row in rows:
            ours, other = model(torch.tensor([row]))[0].double().numpy(), theirs[str(len(row))]
            error = float(np.abs(ours - other).max() / np.abs(ours).max())
            failed |= not error <= TOLERANCE
            print(f"  logits, {len(row):4} tokens: relative difference {error:.1e}")
    greedy = generate(model, prompts, NEW_TOKENS)
    for prompt, tokens, other in zip(prompts, greedy, continued["tokens"], strict=True):
        failed |= tokens != other
        same = sum(a == b for a, b in zip(tokens, other, strict=False))
        print(f"  greedy after {len(prompt):3} tokens: {same} of {len(tokens)} tokens equal")
    if continued["texts"] is not None:
        texts = _texts(folder, greedy)
        equal = [a == b for a, b in zip(texts, continued["texts"], strict=True)]
        failed |= not all(equal)
        print(f"  greedy text through mlx-lm's own loader: {sum(equal)} of {len(equal)} equal")
    print("FAILED" if failed else f"passed (tolerance {TOLERANCE:g})")
    return int(failed)


def _texts(folder: Path, rows: list[list[int]]) -> list[str]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.decode(row).removeprefix(" ") for row in rows]


def _describe(model: Any) -> str:
    config = model.config
    text = f"{sum(p.numel() for p in model.parameters()):,} parameters"
    if config.loop_num == 1:
        return text + ", dense"
    largest = max(float(gate.weight.detach().abs().max()) for gate in model.model.gate_projections)
    blind = "" if largest else ": all 0, a wrong gate would not be seen"
    return text + f", loop; largest gate weight {largest:.2g}{blind}"


def _mlx_side(folder: Path, work: Path) -> None:
    import mlx.core as mx
    from mlx_lm import load, stream_generate
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load_model

    request = json.loads((work / "request.json").read_text())
    model, _ = load_model(folder)
    logits = {str(len(row)): np.array(model(mx.array([row]))[0]) for row in request["rows"]}
    np.savez(work / "logits.npz", allow_pickle=True, **logits)
    count = request["new_tokens"]
    tokens = [
        [int(token) for token, _ in generate_step(mx.array(prompt), model, max_tokens=count)]
        for prompt in request["prompts"]
    ]
    texts = None
    if (folder / "tokenizer.json").exists():
        model, tokenizer = load(str(folder))
        texts = [
            "".join(
                part.text for part in stream_generate(model, tokenizer, prompt, max_tokens=count)
            ).removeprefix(" ")  # which mlx-lm drops when a text starts with one
            for prompt in request["prompts"]
        ]
    (work / "continued.json").write_text(json.dumps({"tokens": tokens, "texts": texts}))


if __name__ == "__main__":
    sys.exit(main())
