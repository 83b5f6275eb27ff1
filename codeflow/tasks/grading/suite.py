"""Runs the tests of a task in the sandbox, once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from codeflow.git.apply import File
from codeflow.sandbox.job import WORK, Job, Limits, Sandbox
from codeflow.tasks.grading.canary import canaries
from codeflow.tasks.grading.environment import INSIDE, SITE, Environment
from codeflow.tasks.grading.results import Results, read_results

RUNNERS: Final = ("pytest", "unittest")
_OUTPUT_BYTES: Final = 8 << 20


@dataclass(frozen=True)
class Suite:
    """Which tests, and how they are run.

    Attributes:
        tests: files, relative to the repository.
        roots: folders from which the project is imported, relative; "" for the top.
        ini: the configuration of pytest.
        metadata: files that an installed project would have beside it, by path inside.
    """

    runner: str
    tests: tuple[str, ...]
    roots: tuple[str, ...] = ("",)
    ini: str = "[pytest]\n"
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ran:
    """One run: what came of the tests, and what it cost."""

    results: Results
    cpu_s: float
    end: str
    output: str


def run_suite(
    sandbox: Sandbox,
    environment: Environment,
    suite: Suite,
    files: Mapping[str, File],
    cpu_limit_s: float,
    seed: int = 0,
) -> Ran:
    """Runs tests with canaries among them.

    Args:
        files: the whole repository.
        seed: of hashes, and of the order of the tests (0: as they stand).

    Raises:
        SandboxError: they could not be run, which is no fault of theirs.
    """
    nonce = secrets.token_hex(16)
    birds = canaries(suite.runner, suite.tests[0], nonce)
    request = {
        "nonce": nonce,
        "seed": seed,
        "tests": sorted([*suite.tests, birds.path]),
        "roots": [f"{WORK}/{root}".rstrip("/") for root in suite.roots] + _described(suite),
        "site": [SITE],
        "programs": [f"{SITE}/bin", environment.python.rpartition("/")[0]],
        "plugins": list(environment.plugins) if suite.runner == "pytest" else [],
        "ini": suite.ini,
        "metadata": dict(suite.metadata),
    }
    job = Job(
        (environment.python, "-s", "-S", f"{INSIDE}/run_{suite.runner}.py"),
        {**files, birds.path: birds.file},
        environment.mounts,
        {
            "PYTHONHASHSEED": str(seed),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        json.dumps(request).encode(),
        limits=Limits(cpu_s=cpu_limit_s, output_bytes=_OUTPUT_BYTES),
    )
    outcome = sandbox.run(job)
    results = read_results(outcome, nonce)
    lied, whole = birds.verdict(results.tests)
    known = {birds.passing, *birds.failing}
    results = Results(
        {name: said for name, said in results.tests.items() if name not in known},
        {name: why for name, why in results.reasons.items() if name not in known},
        results.broken,
        results.forged or ("a test that must fail did not" if lied else None),
        results.ended and whole,
    )
    tail = (outcome.stdout.text + outcome.stderr.text)[-4000:].decode(errors="replace")
    return Ran(results, outcome.cpu_s or 0.0, outcome.end, tail)


def _described(suite: Suite) -> list[str]:
    """The folder that holds the metadata of the project, if any."""
    return [METADATA] if suite.metadata else []


METADATA: Final = "/tmp/codeflow-metadata"
