"""What all built-in filters have in common, and the profiles made of them."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codeflow.config import from_mapping
from codeflow.contracts import CONTENTS, COSTS, Filter, Profile
from codeflow.errors import UsageError
from codeflow.records import TRIPLES
from codeflow_filters.registry import FILTERS
from small_history import environment
from triples import triple

NEED_FILES = {"decontaminate", "quality"}  # of the user; they have tests of their own
CLASSES = {
    name: made
    for name, made in FILTERS.items()
    if not isinstance(made, Profile) and name not in NEED_FILES
}
PROFILES = {name: made for name, made in FILTERS.items() if isinstance(made, Profile)}
# in two halves, so that no scanner takes this file for one that leaks
KEY = "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "MIIEpAIBAAKCAQEA7" * 20 + "\n-----END RSA\n"
PYTHON: dict[str, dict[str, str]] = {"a.py": {"language": "Python"}}
OF_ITS_OWN = {
    "reverts": triple(messages=['Revert "x"']),
    "secrets": triple({"key.pem": (None, KEY)}),
    "sweeps": triple({"a.py": ("x = 'a'\n", 'x = "a"\n')}, changes=PYTHON),
    "syntax": triple({"a.py": ("x = 1\n", "x = (1\n")}, changes=PYTHON),
    "worth": triple({"CHANGES.md": ("a\n", "b\n")}, changes={"CHANGES.md": {"file_kind": "docs"}}),
    "trivial": triple({"a.py": ("x = 1\n", "x = 1  # one\n")}, changes=PYTHON),
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_filter_is_a_frozen_record_that_says_what_it_is(name: str) -> None:
    made = CLASSES[name]()
    assert isinstance(made, Filter)
    assert dataclasses.is_dataclass(made)
    assert made.__dataclass_params__.frozen
    assert made.cost in COSTS
    assert made.reads <= {*TRIPLES.names, CONTENTS}
    assert (CONTENTS in made.reads) == (made.cost == "contents")
    assert made.why
    assert "\n" not in made.why
    assert {field.name for field in dataclasses.fields(made)}.isdisjoint({"why", "cost", "reads"})
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("name", CLASSES)
def test_a_filter_looks_at_nothing_but_what_it_says(name: str) -> None:
    """With the other columns missing it still answers: asking for one would raise."""
    made = CLASSES[name]()
    needed = frozenset(made.reads) | ({"repo"} if CONTENTS in made.reads else set())
    files = {f"f{k}.py": (None, "é" * 400 + "\n<<<<<<< x\n") for k in range(3)}
    several = ["wip", 'Revert "that"', "more"]
    # secrets reads the steps of several commits, and these have none: test_secrets_of_steps
    for messages in (["Add a thing here"], several)[: 1 if name == "secrets" else 2]:
        for author, license in (("human", "MIT"), ("bot", None)):
            columns: dict[str, Any] = {"author_kind": author, "license": license}
            whole = made(triple(files, messages, **columns))
            assert made(triple(files, messages, only=needed, **columns)) == whole


NUMBERS = [
    (name, field.name)
    for name, factory in CLASSES.items()
    for field in dataclasses.fields(factory)  # type: ignore[arg-type]
    if type(field.default) in (int, float)
]


@pytest.mark.parametrize(("name", "parameter"), NUMBERS)
def test_a_number_that_makes_no_sense_is_an_error(name: str, parameter: str) -> None:
    bad = [-1, float("nan")]
    if "share" in parameter or parameter == "min_alphanumeric":
        bad.append(1.5)
        CLASSES[name](**{parameter: 1.0})
        CLASSES[name](**{parameter: 0.0})
    for value in bad:
        with pytest.raises(UsageError, match=f"{parameter} = {value}: give"):
            CLASSES[name](**{parameter: value})


def test_names_of_licences_and_files_are_text() -> None:
    with pytest.raises(UsageError, match="allow: 5 is no SPDX id"):
        CLASSES["license"](allow=("MIT", 5))
    with pytest.raises(UsageError, match="files: 5 is no path"):
        FILTERS["decontaminate"](files=(5,))  # type: ignore[operator]


def test_every_filter_can_drop_and_says_why() -> None:
    bad = triple(
        {"vendor/a.min.js": ("", ("x" * 2000 + "\n") * 1200)},
        ["wip"],
        author_kind="bot",
        license=None,
        changes={"vendor/a.min.js": {"language": "JavaScript"}},
    )
    names = {"names": ("owner",)}
    for name, factory in CLASSES.items():
        if name == "swe-bench-repos":
            continue  # what it drops is a matter of names: test_decontaminate
        made = factory(**names) if name == "optout" else factory()
        verdict = made(OF_ITS_OWN.get(name, bad))
        assert not verdict.kept, name
        assert verdict.reason
        assert verdict.reason == verdict.reason.lower().replace(" ", "-")


@pytest.mark.parametrize("name", PROFILES)
def test_the_filters_of_a_profile_exist_and_take_its_parameters(name: str) -> None:
    for filter, values in PROFILES[name].filters.items():
        from_mapping(CLASSES[filter], values, filter)  # type: ignore[arg-type]


def test_strict_keeps_no_more_than_default() -> None:
    default, strict = PROFILES["default"].filters, PROFILES["strict"].filters
    assert default.keys() < strict.keys()
    assert not PROFILES["none"].filters
    small = {"a.py": ("a = 1\n", "a = 1\nb = 2\n")}
    many = {f"f{k}.py": ("", "x = 1\n") for k in range(12)}
    made = {
        name: {f: CLASSES[f](**v) for f, v in PROFILES[name].filters.items()}
        for name in ("default", "strict")
    }
    for files, messages, license in (
        (small, ["Add a second name to the module"], "MIT"),
        (small, ["Add second name"], "MIT"),
        (many, ["Add twelve files of one line each"], "MIT"),
        (small, ["Add a second name to the module"], None),
    ):
        judged = triple(files, messages, license=license)
        verdicts = {n: all(f(judged).kept for f in fs.values()) for n, fs in made.items()}
        assert verdicts["default"]
        assert verdicts["strict"] == (files is small and len(messages[0]) > 20 and license == "MIT")


def test_importing_them_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys, codeflow_filters.registry\n"
        "heavy = {'ray', 'torch', 'rich', 'pygit2', 'codeflow_miners', 'tree_sitter', 'datasketch',"
        " 'detect_secrets', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr
