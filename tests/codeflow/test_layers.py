"""The plan of the house, held against the imports as they are: rooms, layers, doors, no circles.

A room is a folder or a lone file of `codeflow/`; the miners and the filters are a room each. A room
imports from the layers below its own and from rooms of its own layer, as long as no circle comes of
it. An import within a function counts like any other, and is allowed only where a command or a door
waits with it; what is imported for types alone keeps the layers, too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from small_history import ROOT, environment

LAYERS = (  # from the ground up; rooms that are still to come have their place already
    "errors version text records",
    "config git storage sandbox",
    "triple loopcoder shards",
    "contracts execution dataset documents",
    "miners filters plugins tokens",
    "mining curation train tasks",
    "publish rl evaluate",
    "pipeline terminal",
    "api commands",
    "cli __main__ __init__",
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms.split()}
FOR_PLUGINS = {"records", "contracts", "errors", "config", "triple", "text"}
DOORS = {
    "miners": ("codeflow.mining",),
    "filters": (
        "codeflow.curation.dedup",
        "codeflow.curation.documents",
        "codeflow.commands.quality",
    ),
}
"""Which modules may import the miners and the filters by name; others go through the plug-ins."""
LAZY = ("codeflow.commands", "codeflow.cli", "codeflow.api.dataset", "codeflow.mining")
"""Whose functions may import modules of ours: what is imported there costs time at start-up."""
PACKAGES = {
    "codeflow": ROOT / "codeflow",
    "codeflow_miners": ROOT / "miners/codeflow_miners",
    "codeflow_filters": ROOT / "filters/codeflow_filters",
}
ELSEWHERE = ROOT / "codeflow/loopcoder/remote"
"""Its files are written into exported folders and run there, importing each other as neighbours."""
EXAMPLES = sorted((ROOT / "examples/release_miner").rglob("*.py"))


class Import(NamedTuple):
    """One name that a line imports; `lazy` where the line is within a function.

    `base` is what stands after `from`: the name is its module, or something in it.
    """

    name: str
    base: str
    line: int
    lazy: bool


def read_house() -> dict[str, str]:
    """The source of every module that ships, by its dotted name."""
    house = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            if path.parent == ELSEWHERE and path.stem != "__init__":
                continue
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            house[".".join(parts).removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return house


@cache
def imports(source: str) -> tuple[Import, ...]:
    """Everything that a source imports, anywhere in it; `import_module("a.b")` counts, too."""

    def found(node: ast.AST, within: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            lazy = within or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            match child:
                case ast.Import():
                    for alias in child.names:
                        yield Import(alias.name, alias.name, child.lineno, within)
                case ast.ImportFrom():
                    base = "." * child.level + (child.module or "")
                    for alias in child.names:
                        yield Import(f"{base}.{alias.name}", base, child.lineno, within)
                case ast.Call(
                    func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    yield Import(name, name, child.lineno, True)
            yield from found(child, lazy)

    return tuple(found(ast.parse(source), False))


def ours(source: str, modules: Mapping[str, str]) -> Iterator[tuple[str, int, bool]]:
    """Modules of ours that a source imports: name, line, whether within a function."""
    for one in imports(source):
        name = one.name if one.name in modules else one.base
        if name.split(".")[0] in PACKAGES or name.startswith("."):
            yield name, one.line, one.lazy


def room(module: str) -> str:
    """The room that a module stands in."""
    package, _, rest = module.partition(".")
    if package != "codeflow":
        return package.removeprefix("codeflow_")
    return rest.split(".")[0] if rest else "__init__"


def faults(house: Mapping[str, str]) -> list[str]:
    """What breaks the plan, a line each."""
    told: list[str] = []
    rooms: dict[str, set[str]] = {}
    modules: dict[str, set[str]] = {}
    for module, source in house.items():
        here = room(module)
        if here not in LEVEL:
            told.append(f"{module}: the room {here} has no layer")
            continue
        for name, line, lazy in ours(source, house):
            where = f"{module}:{line} imports {name}"
            if name not in house:
                told.append(f"{where}, which is not there")
                continue
            there = room(name)
            modules.setdefault(module, set()).add(name)
            if here != there:
                rooms.setdefault(here, set()).add(there)
                if LEVEL.get(there, -1) > LEVEL[here]:
                    told.append(f"{where}, against the layers")
                if there in DOORS and not module.startswith(DOORS[there]):
                    told.append(f"{where}, and is no door")
                if here in DOORS and there not in FOR_PLUGINS:
                    told.append(f"{where}, which is not for plug-ins")
            if lazy and not module.startswith(LAZY):
                told.append(f"{where} within a function")
    for what, graph in (("rooms", rooms), ("modules", modules)):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            told.append(f"a circle of {what}: {' -> '.join(error.args[1])}")
    return told


HOUSE = read_house()


def test_the_house_is_as_planned() -> None:
    assert faults(HOUSE) == []


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("codeflow.git.objects", "import codeflow.git.apply", "a circle of modules"),
        ("codeflow.git.objects", "from codeflow import storage\n", "a circle of rooms"),
        (
            "codeflow.git.objects",
            "def f():\n    import codeflow.git.apply",
            "a circle of modules",
        ),
        ("codeflow.storage.files", "from codeflow.pipeline import run", "against the layers"),
        (
            "codeflow.triple",
            "if TYPE_CHECKING:\n    from codeflow.dataset.reader import Dataset",
            "against the layers",
        ),
        (
            "codeflow.triple",
            "import importlib\nshow = importlib.import_module('codeflow.terminal.notebook')",
            "against the layers",
        ),
        (
            "codeflow.storage.files",
            "def f():\n    from codeflow.storage import store",
            "a function",
        ),
        (
            "codeflow.pipeline.run",
            "class A:\n    def f(self):\n        import codeflow.mining.index",
            "a function",
        ),
        ("codeflow.pipeline.run", "import codeflow_miners.flow", "no door"),
        ("codeflow.curation.chain", "import codeflow_filters.registry", "no door"),
        ("codeflow_miners.tables", "import codeflow_filters.size", "not for plug-ins"),
        ("codeflow_filters.size", "import codeflow_miners.tables", "no door"),
        ("codeflow_filters.size", "from codeflow.git import objects", "not for plug-ins"),
        ("codeflow.loopcoder.model", "import codeflow.mining.index", "against the layers"),
        ("codeflow.terminal.progress", "from codeflow.gone import x", "not there"),
        ("codeflow.terminal.progress", "from .inspect import x", "not there"),
        ("codeflow.attic.box", "", "no layer"),
    ],
)
def test_a_planted_fault_is_told(module: str, line: str, said: str) -> None:
    planted = {**HOUSE, module: f"{HOUSE.get(module, '')}\n{line}\n"}
    if said == "a circle of rooms":
        planted["codeflow.storage.files"] += "\nfrom codeflow.git import objects\n"
    found = faults(planted)
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_of_a_plug_in_imports_what_plug_ins_may(path: Path) -> None:
    found = {room(name) for name, _, _ in ours(path.read_text(encoding="utf-8"), HOUSE)}
    assert found <= FOR_PLUGINS


@pytest.mark.parametrize("module", sorted(HOUSE))
def test_a_module_is_short_and_says_what_it_is(module: str) -> None:
    text = HOUSE[module]
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text))


def test_the_hall_is_small_and_so_are_the_rooms() -> None:
    assert len(list(PACKAGES["codeflow"].glob("*.py"))) <= 14
    for package, folder in PACKAGES.items():
        for place in {path.parent for path in folder.rglob("*.py")} - {PACKAGES["codeflow"]}:
            files = [path for path in place.glob("*.py") if path.name != "__init__.py"]
            # a filter is a file of its own, and there are as many as there are filters
            limit = 20 if package == "codeflow_filters" and place == folder else 14
            assert len(files) <= limit, place


def test_tests_are_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("codeflow.cli", "pyarrow numpy pygit2 ray torch rich"),
        ("codeflow.dataset.reader", "pygit2 ray torch rich codeflow_miners"),
        ("codeflow.dataset.verify", "pygit2 ray torch rich codeflow_miners"),
        ("codeflow.api.dataset", "pygit2 ray torch rich codeflow_miners"),
        ("codeflow.pipeline.run", "ray torch rich codeflow_miners"),
        ("codeflow.shards.reader", "pygit2 ray torch rich codeflow_miners codeflow_filters"),
        ("codeflow.loopcoder.config", "pygit2 ray rich codeflow_miners codeflow_filters"),
        ("codeflow_miners", "ray torch rich codeflow_filters"),
    ],
)
def test_a_module_imports_no_more_than_it_needs(module: str, heavy: str, tmp_path: Path) -> None:
    program = f"import sys, {module}; sys.exit(repr(set({heavy.split()!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == "set()"
