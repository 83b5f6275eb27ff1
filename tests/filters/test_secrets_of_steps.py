"""A secret that one step adds and a later one takes back is published with the steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeflow.dataset import reader as reading
from codeflow_filters.secrets import Secrets
from secret_samples import pem, token
from tiny_dataset import Git, build, history

KEY = token()["Stripe Access Key"]


@pytest.mark.parametrize(
    ("path", "between", "kept"),
    [
        ("a.py", f"b = 2\nkey = '{KEY}'\n", False),
        ("a.py", pem(), False),
        ("a.py", "b = 2\n", True),
        ("tests/a.pem", pem(), True),  # a sample, as in a change of its own
    ],
)
def test_a_step_may_hold_no_secret(tmp_path: Path, path: str, between: str, kept: bool) -> None:
    git = Git(tmp_path / "r.git")
    texts = ["x = 1\n", f"x = 1\n{between}", "x = 1\ny = 1\n", "x = 1\ny = 2\n"]
    chain = history(git, [{path: ("100644", text.encode())} for text in texts])
    dataset = reading.open(build(tmp_path / "data", {"r": (git, chain)}, spans=(1, 3)))
    [span] = dataset.triples(kind="span")
    verdict = Secrets()(span)
    assert verdict.kept is kept
    if not kept:
        assert verdict.reason == "secret"
        assert (verdict.detail or "").startswith(f"{path} (step 1): ")
        assert KEY not in str(verdict)
