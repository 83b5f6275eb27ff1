"""Whether a filter that changed is told from the one before: its text, and all it works with."""

from __future__ import annotations

import functools
import linecache
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeflow import keep
from codeflow.errors import UsageError
from codeflow.plugins.entry_points import load_filters
from codeflow.plugins.fingerprint import fingerprint

LIMIT = 1
NESTED = {"deep": [1, {2, 3}]}


class Most:
    """At most so many."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, triple: Any) -> bool:
        return len(triple.files) <= self.limit

    def judge(self, triple: Any) -> bool:
        return len(triple.files) <= self.limit


def at_most(triple: Any, limit: int) -> bool:
    return len(triple.files) <= limit


def helper(triple: Any) -> bool:
    return len(triple.files) <= LIMIT


class Helped:
    @property
    def limit(self) -> int:
        return LIMIT

    def __call__(self, triple: Any) -> bool:
        return len(triple.files) <= self.limit


def through_a_helper(triple: Any) -> bool:
    return helper(triple)


def with_a_table(triple: Any) -> bool:
    return len(triple.files) in NESTED["deep"]


def closed_over(limit: int) -> Callable[[Any], bool]:
    def inner(triple: Any) -> bool:
        return len(triple.files) <= limit

    return inner


def by_default(limit: int) -> Callable[[Any], bool]:
    def inner(triple: Any, limit: int = limit) -> bool:
        return len(triple.files) <= limit

    return inner


class Array:
    """A table that has no attributes to look at, and a long one."""

    def __init__(self, middle: int) -> None:
        self.known = np.zeros(5000, np.int64)
        self.known[2500] = middle

    def __call__(self, triple: Any) -> bool:
        return len(triple.files) in self.known


MAKERS: list[Callable[[int], Any]] = [
    Most,
    lambda limit: Most(limit).judge,
    lambda limit: functools.partial(at_most, limit=limit),
    closed_over,
    by_default,
    Array,
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_value_it_was_made_with_makes_another(make: Callable[[int], Any]) -> None:
    assert fingerprint(make(1)) == fingerprint(make(1))
    assert fingerprint(make(1)) != fingerprint(make(2))


def test_what_it_names_in_its_module_makes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = (through_a_helper, with_a_table, Helped(), at_most)
    before = [fingerprint(each) for each in filters]
    monkeypatch.setitem(globals(), "LIMIT", 2)
    monkeypatch.setitem(globals(), "NESTED", {"deep": [1, {2, 4}]})
    after = [fingerprint(each) for each in filters]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, False, True]


def test_lambdas_of_one_line_differ() -> None:
    pair = (lambda t: len(t.files) < 2, lambda t: len(t.files) < 3)
    assert fingerprint(pair[0]) != fingerprint(pair[1])


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "WORDS = {'wip', 'fixup', 'squash', 'tmp'}\n"
        "def known(triple):\n"
        "    return triple.messages[0][0] in WORDS\n"
        "class Known:\n"
        "    words = frozenset(WORDS)\n"
        "    @property\n"
        "    def why(self): return 'known'\n"
        "    @staticmethod\n"
        "    def of(triple): return known(triple)\n"
        "    def __call__(self, triple): return self.of(triple)\n"
    )
    code = (
        "import own; from codeflow_filters.size import Size\n"
        "from codeflow.plugins.fingerprint import fingerprint\n"
        "print(*(fingerprint(each) for each in (own.known, own.Known(), Size(max_files=3))))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


def test_a_class_of_a_notebook_has_a_fingerprint() -> None:
    """`inspect` finds the source of its methods and not its own."""
    text = "class Few:\n    most = {}\n    def __call__(self, triple):\n        return self.most\n"
    found = []
    for number in (1, 2):
        source, name = text.format(number), f"<ipython-input-{number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        made: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(source, name, "exec"), made)
        found.append(fingerprint(made["Few"]()))
    assert found[0] != found[1]


def test_a_recursive_function_comes_to_an_end() -> None:
    def down(number: int) -> int:
        return down(number - 1) if number else 0

    assert len(fingerprint(down)) == 16


def test_of_a_file_its_own_imports_count_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directly, through a package, relatively, and within a function; wherever all of it lies."""
    sources = {
        "mine.py": "import json\nimport pyarrow\nfrom helpers import words\n"
        "def known(triple):\n    import late\n    return words.WORDS, late.X\n",
        "helpers/__init__.py": "",
        "helpers/words.py": "from . import more\nfrom .numbers import ONE\nWORDS = {'wip'}\n",
        "helpers/more.py": "X = 1\n",
        "helpers/numbers.py": "ONE = 1\n",
        "helpers/unused.py": "X = 1\n",
        "late.py": "X = 1\n",
    }
    code = (
        "from codeflow.plugins.entry_points import load_filters\n"
        "[found] = load_filters(['mine.py:known'], {})\n"
        "print(found.identity['source'])"
    )

    def digest(folder: str, **changed: str) -> str:
        place = tmp_path / folder
        for name, text in {**sources, **changed}.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        env = {"PYTHONPATH": ":".join([str(place), *sys.path])}
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    plain = digest("plain")
    assert digest("elsewhere/deep") == plain
    assert digest("unused", **{"helpers/unused.py": "X = 2\n"}) == plain
    for name in sources.keys() - {"helpers/unused.py"}:
        assert digest(name.replace("/", "-"), **{name: sources[name] + "# edited\n"}) != plain


def test_without_its_source_it_is_refused() -> None:
    made: dict[str, Any] = {}
    exec("def made(triple): return None", made)
    with pytest.raises(UsageError, match="source cannot be read"):
        fingerprint(made["made"])
    with pytest.raises(UsageError, match="source cannot be read"):
        fingerprint(len)


def test_two_filters_of_one_name_are_refused_and_none_is_lost() -> None:
    def size(triple: Any) -> Any:
        return keep()

    pair = [lambda t: keep() if t.files else None, lambda t: keep({"one": 1.0})]
    twice = [closed_over(1), closed_over(2)]
    cases: list[list[Any]] = [pair, ["default", size], [size, "default"], twice]
    for filters in cases:
        with pytest.raises(UsageError, match="two filters are called"):
            load_filters(filters, {})
    assert [loaded.name for loaded in load_filters([size, size], {})] == ["size"]
    assert len(load_filters(["default", "size", "strict"], {})) == len(load_filters(["strict"], {}))
