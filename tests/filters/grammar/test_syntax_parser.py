"""The parser's process: what it counts, and what hostile texts do to it and not to us."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest
import tree_sitter

from codeflow.errors import UsageError
from codeflow.text import grammars
from codeflow.text.grammars import Wheel, load
from codeflow_filters.grammar import parser
from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.parser import Limits, errors
from codeflow_filters.grammar.parser_child import UNPARSED_ROOT
from codeflow_filters.syntax import Syntax
from triples import FILES_ONLY, triple

LIMITS = Limits(1 << 20, 1 << 30, 20.0)
TIGHT = Limits(1 << 20, 256 << 20, 0.5)

HOSTILE: dict[str, tuple[str, bytes]] = {
    "memory": ("C", b"x=>" * 30_000),
    "hangs": ("Shell", b"if(x)" * 20_000),
    "crashes": ("Ruby", b"".join(b"<<~A%d, " % n for n in range(110_000)) + b"\n"),
    "nested": ("Python", b"(" * 200_000),
    "operations": ("C", b"f(" * 200_000),
}


@pytest.mark.parametrize("language", GRAMMARS)
def test_every_grammar_fits_the_library(language: str) -> None:
    found = load(language).abi_version
    assert tree_sitter.MIN_COMPATIBLE_LANGUAGE_VERSION <= found <= tree_sitter.LANGUAGE_VERSION


def test_errors_are_counted_in_order() -> None:
    sources = [b"x = 1\n", b"x = = 1\n", b"", b"def f(\n", b"f((\n)\ng(]\n"]
    found = errors("Python", sources, LIMITS)
    assert [bool(count) for count in found] == [False, True, False, True, True]
    assert errors("Shell", [b"if then"], LIMITS)[0] in range(1, 2 * UNPARSED_ROOT)
    assert errors("Python", [], LIMITS) == []


ENDS_AT_ONCE = ("crashes", "nested")  # the others run into a limit, which takes seconds


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c in ENDS_AT_ONCE else pytest.mark.slow) for c in HOSTILE],
)
def test_hostile_text_ends_neither_us_nor_the_next_request(case: str) -> None:
    language, text = HOSTILE[case]
    assert errors(language, [text], TIGHT)[0] != 0  # an answer or none, but no crash
    assert errors("Python", [b"x = 1\n", b"x = = 1\n"], LIMITS) == [0, 1]


@pytest.mark.slow
def test_hostile_files_are_kept_and_counted() -> None:
    _, text = HOSTILE["memory"]
    hostile = triple({"a.c": (None, b"{" + text), "b.c": (None, b"")}, only=FILES_ONLY)
    verdict = Syntax(max_memory_bytes=256 << 20, max_seconds=1)(hostile)
    assert (verdict.kept, verdict.scores) == (True, {"syntax_unparsed": 1.0})


@pytest.mark.slow
def test_the_limit_on_operations_comes_before_the_clock() -> None:
    limits = LIMITS._replace(seconds=600.0)
    text = b"f(" * 200_000
    assert errors("C", [text], limits) == [None]
    assert errors("C", [b"f(1);\n" * 60_000], limits) != [None]


def test_a_child_that_is_killed_is_replaced() -> None:
    assert errors("Go", [b"package a\n"], LIMITS) == [0]
    process = parser._CHILD._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert errors("Go", [b"package a\n"], LIMITS) == [0]


def test_a_grammar_that_is_not_installed_is_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.util.find_spec("tree_sitter_nowhere") is None
    monkeypatch.setattr(grammars, "WHEELS", {"Go": Wheel("tree_sitter_nowhere")})
    with pytest.raises(ModuleNotFoundError):
        load("Go")
    with pytest.raises(UsageError, match="no grammar"):
        errors("Nothing", [b""], LIMITS)


def test_the_child_ends_with_us() -> None:
    program = (
        "from codeflow_filters.grammar import parser\n"
        "parser.errors('Python', [b''], parser.Limits(1, 1 << 30, 9.0))\n"
        "print(parser._CHILD._process.pid, flush=True)\n"
        "import os; os._exit(0)\n"  # no clean-up of ours
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )
    pid = int(done.stdout)
    for _ in range(1000):
        if not _is_running(pid):
            return
        signal.sigtimedwait([], 0.01)
    pytest.fail("it is still there")


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields: Sequence[str] = stat.read().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return False
    return fields[0] != "Z"
