"""What a Python project says of itself: requirements, where its modules lie, pytest's settings.

Nothing of the project is run to learn it. Files are parsed; what they compute is not known, and
left out.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from codeflow.git.apply import File

_TESTING: Final = frozenset({"test", "tests", "testing", "dev", "develop", "development"})
_REQUIREMENTS: Final = re.compile(
    r"(^|/)(requirements/)?((requirements[-_.])?(tests?|testing|dev|develop)([-_.]requirements)?"
    r"|requirements)\.(txt|in)$"
)
_KEPT: Final = frozenset(
    {
        "anyio_mode",
        "asyncio_default_fixture_loop_scope",
        "asyncio_mode",
        "consider_namespace_packages",
        "django_settings_module",
        "doctest_optionflags",
        "filterwarnings",
        "junit_family",
        "markers",
        "norecursedirs",
        "python_classes",
        "python_files",
        "python_functions",
        "pythonpath",
        "trio_mode",
        "usefixtures",
        "xfail_strict",
    }
)
# of what is listed for developers, what no test imports
_TOOLS: Final = re.compile(
    r"(sphinx|furo|myst|pallets-sphinx|mkdocs|mypy|pyright|ruff|black|flake8|isort|pylint|pre-commit"
    r"|tox|nox|coverage|codecov|coveralls|pytest-cov|pytest-xdist|twine|build$|wheel$|setuptools$"
    r"|pip|bump|towncrier|poetry|docutils|types-|pyupgrade|bandit|readme|check-manifest|ipython"
    r"|jupyter|pyperf|asv|pytest-benchmark|pytest-randomly|pytest-sugar|virtualenv)"
)


@dataclass(frozen=True)
class Project:
    """What is needed to run a project's tests.

    Attributes:
        requirements: what it needs, then what its tests do; each once.
        needed: how many of them are the project's own.
        roots: folders that its modules are imported from.
    """

    name: str
    version: str
    python: str
    requirements: tuple[str, ...]
    needed: int
    roots: tuple[str, ...]
    ini: str
    scripts: Mapping[str, str]


def read_project(files: Mapping[str, File]) -> Project:
    """Reads a project off its files."""
    pyproject, setup_cfg = _toml(files), _ini(files, "setup.cfg")
    setup = _setup(files)
    table = pyproject.get("project", {})
    poetry = pyproject.get("tool", {}).get("poetry", {})
    name = _first(table.get("name"), poetry.get("name"), _cfg(setup_cfg, "metadata", "name"), setup)
    roots = _roots(files)
    own = [
        *_strings(table.get("dependencies")),
        *(name for name in poetry.get("dependencies", {}) if name != "python"),
        *_lines(_cfg(setup_cfg, "options", "install_requires")),
        *_strings(setup.get("install_requires")),
    ]
    needed = _clean(own, name, tools=False)
    testing = _clean(_for_tests(files, pyproject, setup_cfg, setup), name, tools=True)
    known = {canonicalize_name(Requirement(text).name) for text in needed}
    more = [t for t in testing if canonicalize_name(Requirement(t).name) not in known]
    return Project(
        name or "project",
        _version(files, _first(table.get("version"), poetry.get("version"), setup.get("version"))),
        _first(
            table.get("requires-python"),
            _cfg(setup_cfg, "options", "python_requires"),
            setup.get("python_requires"),
        ),
        (*needed, *more),
        len(needed),
        roots,
        _pytest_ini(files, pyproject, setup_cfg),
        {str(k): str(v) for k, v in table.get("scripts", {}).items()},
    )


def allows(python: str, version: str) -> bool:
    """Whether `requires-python` admits a version such as 3.12."""
    try:
        return SpecifierSet(python).contains(f"{version}.99" if python else version)
    except InvalidSpecifier:
        return True


def metadata_of(project: Project, folder: str) -> dict[str, str]:
    """What installing the project would leave beside it, by path."""
    place = f"{folder}/{project.name.replace('-', '_')}-{project.version}.dist-info"
    text = f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
    found = {f"{place}/METADATA": text}
    if project.scripts:
        lines = (f"{name} = {target}\n" for name, target in sorted(project.scripts.items()))
        found[f"{place}/entry_points.txt"] = "[console_scripts]\n" + "".join(lines)
    return found


def _for_tests(
    files: Mapping[str, File],
    pyproject: Mapping[str, Any],
    setup_cfg: configparser.ConfigParser,
    setup: Mapping[str, Any],
) -> Iterator[str]:
    extras = dict(pyproject.get("project", {}).get("optional-dependencies", {}))
    extras |= (
        pyproject.get("tool", {}).get("flit", {}).get("metadata", {}).get("requires-extra", {})
    )
    groups = pyproject.get("dependency-groups", {})
    for source in (extras, groups):
        for key, values in source.items():
            if key.lower() in _TESTING:
                yield from _strings(values)
    poetry = pyproject.get("tool", {}).get("poetry", {})
    yield from poetry.get("dev-dependencies", {})
    for key, group in poetry.get("group", {}).items():
        if key in _TESTING:
            yield from group.get("dependencies", {})
    yield from _lines(_cfg(setup_cfg, "options", "tests_require"))
    for key in _TESTING:
        yield from _lines(_cfg(setup_cfg, "options.extras_require", key))
        yield from _strings(setup.get("extras_require", {}).get(key))
    yield from _strings(setup.get("tests_require"))
    tox = _ini(files, "tox.ini")
    for line in _lines(_cfg(tox, "testenv", "deps")):
        if not re.match(r"[\w{},.!-]+:", line):  # of some environments only
            yield line
    for path in sorted(p for p in files if _REQUIREMENTS.search(p) and p.count("/") < 2):
        if not (path.endswith(".txt") and path[:-3] + "in" in files):
            yield from _lines(files[path][1].decode(errors="replace"))


def _clean(texts: Iterable[str], name: str, tools: bool) -> list[str]:
    """Requirements that can be resolved by name, each once; pins of tests are let go."""
    found: dict[str, str] = {}
    for text in texts:
        try:
            wanted = Requirement(re.split(r"\s#", text)[0].strip())
        except InvalidRequirement:
            continue
        key = canonicalize_name(wanted.name)
        if wanted.url or key == canonicalize_name(name or "") or (tools and _TOOLS.match(key)):
            continue
        if tools and any(part.operator in ("==", "===") for part in wanted.specifier):
            wanted.specifier = SpecifierSet()
        found.setdefault(key, str(wanted))
    return list(found.values())


def _roots(files: Mapping[str, File]) -> tuple[str, ...]:
    """`src` or `lib` where packages lie below it, then the top."""
    found = []
    for folder in ("src", "lib", "python"):
        inside = re.compile(rf"{folder}/(\w+/__init__|\w+)\.py$")
        if any(inside.match(path) for path in files) and f"{folder}/__init__.py" not in files:
            found.append(folder)
    return (*found, "")


def _version(files: Mapping[str, File], given: str) -> str:
    if re.fullmatch(r"[\w.!+]+", given):
        return given
    for path in sorted(files, key=lambda p: (p.count("/"), p)):
        if re.search(r"(__init__|_?_?version_?_?|__about__|setup)\.py$", path):
            text = files[path][1].decode(errors="replace")
            match = re.search(r"^\s*_?_?version_?_?\s*=\s*[\"']([\w.!+]+)[\"']", text, re.M | re.I)
            if match is not None and match[1][0].isdigit():
                return match[1]
    return "0"


def _pytest_ini(
    files: Mapping[str, File], pyproject: Mapping[str, Any], cfg: configparser.ConfigParser
) -> str:
    """The settings that decide what a test is, without those that decide how it is told."""
    tool = pyproject.get("tool", {}).get("pytest", {})
    settings: dict[str, Any] = {}
    for config, section in ((_ini(files, "pytest.ini"), "pytest"), (None, "")):
        if config is not None and config.has_section(section):
            settings = dict(config[section])
    if not settings and tool:
        settings = dict(tool.get("ini_options", tool))
    for config, section in ((_ini(files, "tox.ini"), "pytest"), (cfg, "tool:pytest")):
        if not settings and config.has_section(section):
            settings = dict(config[section])
    text = "[pytest]\n"
    for key, value in settings.items():
        if key.lower() not in _KEPT:
            continue
        lines = value if isinstance(value, list) else str(value).splitlines()
        kept = [str(line).strip() for line in lines if str(line).strip()]
        if key == "filterwarnings":  # errors of the time, not of what came later
            kept = [line for line in kept if not line.startswith("error")]
        if isinstance(value, bool):
            kept = [str(value).lower()]
        if kept:
            text += f"{key} =\n" + "".join(f"    {line}\n" for line in kept)
    return text


def _toml(files: Mapping[str, File]) -> dict[str, Any]:
    try:
        return tomllib.loads(files["pyproject.toml"][1].decode())
    except (KeyError, ValueError):
        return {}


def _ini(files: Mapping[str, File], path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(files[path][1].decode())
    except (KeyError, ValueError, configparser.Error):
        return configparser.ConfigParser()
    return parser


def _setup(files: Mapping[str, File]) -> dict[str, Any]:
    """The literal arguments of `setup()` in setup.py, names of literals included."""
    try:
        tree = ast.parse(files["setup.py"][1])
    except (KeyError, SyntaxError, ValueError, RecursionError):
        return {}
    known: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = _literal(node.value, known)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setup"):
            for keyword in node.keywords:
                if keyword.arg is not None:
                    found[keyword.arg] = _literal(keyword.value, known)
    wanted = {"extras_require": dict, "install_requires": list, "tests_require": list}
    return {k: v for k, v in found.items() if v is not None and isinstance(v, wanted.get(k, str))}


def _literal(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Dict):  # what can be known of it
        pairs = zip(node.keys, node.values, strict=True)
        return {k.value: _literal(v, known) for k, v in pairs if isinstance(k, ast.Constant)}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return None


def _cfg(parser: configparser.ConfigParser, section: str, key: str) -> str:
    return parser.get(section, key, fallback="")


def _first(*values: Any) -> str:
    for value in values:
        if isinstance(value, Mapping):
            value = value.get("name")
        if isinstance(value, str) and value:
            return value
    return ""


def _strings(values: Any) -> list[str]:
    return [value for value in values or () if isinstance(value, str)]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
