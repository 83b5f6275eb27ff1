"""`license`: drops what its licence does not allow to be used.

An allow-list of SPDX ids, as The Stack takes permissive licences only. Of "A OR B" one has to be
allowed, of "A AND B" both; "A WITH exception" counts as A, because an exception only adds
permissions. The licence is the repository's at the start commit; where none was recognised,
`keep_unknown` decides. Cost: 4 µs a triple.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.errors import UsageError
from codeflow.triple import Triple

PERMISSIVE: Final = (
    "0BSD", "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-1-Clause", "BSD-2-Clause",
    "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSD-4-Clause", "BSL-1.0",
    "BlueOak-1.0.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "NCSA", "PSF-2.0", "PostgreSQL",
    "Python-2.0", "UPL-1.0", "Unicode-DFS-2016", "Unlicense", "WTFPL", "X11", "Zlib", "curl",
)  # fmt: skip
_TOKEN: Final = re.compile(r"[()]|[^\s()]+")


@dataclass(frozen=True)
class License:
    """Drops triples of repositories whose licence is not on the list."""

    allow: tuple[str, ...] = PERMISSIVE
    keep_unknown: bool = False

    why: ClassVar[str] = "licences that are not on the list of allowed SPDX ids"
    reasons: ClassVar[Mapping[str, str]] = {
        "no-license": "no licence was recognised at its start commit",
        "not-allowed": "its licence is not on the list of allowed ones",
    }
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"license"})

    def __post_init__(self) -> None:
        for id in self.allow:
            if not isinstance(id, str):
                raise UsageError(f"allow: {id!r} is no SPDX id; write it as 'MIT'")

    def __call__(self, triple: Triple) -> Verdict:
        if triple.license is None:
            return keep() if self.keep_unknown else drop("no-license")
        allowed = {id.lower() for id in self.allow}
        return keep() if allows(triple.license, allowed) else drop("not-allowed", triple.license)


def allows(expression: str, allowed: Container[str]) -> bool:
    """Whether an SPDX expression is met by licences of a set (in lower case).

    AND binds closer than OR. An expression that does not parse is not allowed.
    """
    tokens = _TOKEN.findall(expression)
    value, rest = _any_of(tokens, allowed)
    return value and not rest


def _any_of(tokens: list[str], allowed: Container[str]) -> tuple[bool, list[str]]:
    value, tokens = _all_of(tokens, allowed)
    while tokens and tokens[0].upper() == "OR":
        other, tokens = _all_of(tokens[1:], allowed)
        value = value or other
    return value, tokens


def _all_of(tokens: list[str], allowed: Container[str]) -> tuple[bool, list[str]]:
    value, tokens = _one(tokens, allowed)
    while tokens and tokens[0].upper() == "AND":
        other, tokens = _one(tokens[1:], allowed)
        value = value and other
    return value, tokens


def _one(tokens: list[str], allowed: Container[str]) -> tuple[bool, list[str]]:
    if not tokens:
        return False, ["missing"]
    if tokens[0] == "(":
        value, tokens = _any_of(tokens[1:], allowed)
        return (value, tokens[1:]) if tokens[:1] == [")"] else (False, ["missing"])
    value, tokens = tokens[0].lower() in allowed, tokens[1:]
    return (value, tokens[2:]) if tokens[:1] and tokens[0].upper() == "WITH" else (value, tokens)
