"""Where tests run: an interpreter and packages, as the sandbox sees them.

Packages lie in one folder that is mounted, so that an environment can be moved, shared by tasks,
and cannot be written to by what runs in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

SITE: Final = "/environment/site"
INSIDE: Final = "/codeflow"

# plug-ins that change which tests run, where, or how often
_UNWANTED: Final = frozenset(
    {
        "flaky.flaky_pytest_plugin",
        "pytest_cov.plugin",
        "pytest_randomly",
        "pytest_rerunfailures",
        "pytest_sugar",
        "pytest_timeout",
        "random_order.plugin",
        "xdist.looponfail",
        "xdist.plugin",
    }
)


@dataclass(frozen=True)
class Environment:
    """An interpreter with packages.

    Attributes:
        key: what tells it from others: a hash of all that is in it.
        python: the interpreter, a path inside the sandbox.
        site: folder of its packages on this machine.
        prefix: folder of the interpreter on this machine, which is at the same place inside.
    """

    key: str
    python: str
    site: str
    prefix: str

    @property
    def mounts(self) -> Mapping[str, str]:
        """What the sandbox has to show, by the place where it is seen."""
        shown = {SITE: self.site, INSIDE: str(Path(__file__).parent / "inside")}
        if not self.prefix.startswith("/usr"):  # which is always there
            shown[self.prefix] = self.prefix
        return shown

    @property
    def plugins(self) -> tuple[str, ...]:
        """The pytest plug-ins among its packages, by module, in one order."""
        return tuple(name for name in _entry_points(self.site) if name not in _UNWANTED)

    @property
    def names(self) -> frozenset[str]:
        """The modules that it has at top level."""
        return _top_level(self.site)


@cache
def _entry_points(site: str) -> tuple[str, ...]:
    found = set()
    for path in Path(site).glob("*.dist-info/entry_points.txt"):
        section = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                section = line.strip("[] \t")
            elif section == "pytest11" and "=" in line:
                found.add(line.partition("=")[2].partition(":")[0].strip())
    return tuple(sorted(found))


@cache
def _top_level(site: str) -> frozenset[str]:
    names = (p.name for p in Path(site).iterdir() if p.suffix in ("", ".py", ".so"))
    return frozenset(name.partition(".")[0] for name in names)
