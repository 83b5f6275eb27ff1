"""The container engine's command line, and how its answer is read. No engine runs here: what
stands in for one is a script that is given the same words."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeflow.errors import UsageError
from codeflow.sandbox.choose import find_sandbox
from codeflow.sandbox.engine import ContainerEngine
from codeflow.sandbox.job import Job, Limits, SandboxError

JOB = Job(
    ("sh", "-c", "echo out; echo err >&2; echo said > $CODEFLOW_RESULTS; cat x; cat; exit 3"),
    files={"x": ("100644", b"file\n")},
    mounts={"/wheels": "/srv/wheels"},
    environment={"A": "b c"},
    stdin=b"input\n",
    limits=Limits(cpu_s=5, memory_bytes=1 << 20, processes=7),
)

# Runs what follows the entry point where the container would, and knows `rm`.
ENGINE = """#!/bin/sh
echo "$@" >> {log}
[ "$1" = rm ] && exit 0
while [ "$1" != python:3.12 ]; do shift; done
shift
mkdir -p {root} && cd {root}
CODEFLOW_RESULTS={root}/results exec /bin/sh "$@"
"""


def engine(folder: Path, script: str = ENGINE) -> ContainerEngine:
    program = folder / "docker"
    program.write_text(script.format(log=folder / "log", root=folder / "root"))
    program.chmod(0o755)
    return ContainerEngine(str(program), "python:3.12")


def test_a_container_is_shut_in() -> None:
    words = ContainerEngine("/usr/bin/docker", "python:3.12").argv(JOB, "codeflow-1", 10240)
    text = " ".join(words)
    assert words[:3] == ["/usr/bin/docker", "run", "--rm"]
    for part in (
        "--network none",
        "--read-only",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--user 1000:1000",
        "--pull never",
        "--memory 1048576",
        "--memory-swap 1048576",
        "--pids-limit 7",
        "--ulimit cpu=6:6",
        "--mount type=bind,source=/srv/wheels,target=/wheels,readonly",
        "--env A=b c",
        "--workdir /work",
    ):
        assert part in text, part
    assert words[words.index("python:3.12") + 1] == "-c"
    assert words[-3:] == list(JOB.argv)


def test_its_answer_is_read_like_any_other(tmp_path: Path) -> None:
    outcome = engine(tmp_path).run(JOB)
    assert (outcome.end, outcome.exit_status, outcome.cpu_s) == ("exit", 3, None)
    assert outcome.stdout.text == b"out\nfile\ninput\n"
    assert (outcome.stderr.text, outcome.results.text) == (b"err\n", b"said\n")
    assert "rm --force codeflow-" in (tmp_path / "log").read_text()


def test_an_engine_that_fails_is_no_outcome(tmp_path: Path) -> None:
    broken = "#!/bin/sh\necho 'Cannot connect to the daemon' >&2; exit 125\n"
    with pytest.raises(SandboxError, match="Cannot connect to the daemon"):
        engine(tmp_path, broken).run(JOB)
    with pytest.raises(SandboxError, match="nosuch"):
        ContainerEngine("/nosuch/docker", "python:3.12").run(JOB)


@pytest.mark.parametrize("name", ["docker", "docker:", "chroot:x", ""])
def test_other_names_are_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="docker:IMAGE"):
        find_sandbox(name)
