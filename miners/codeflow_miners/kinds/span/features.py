"""What the content pass keeps of each changed file: hashes of lines and identifiers, and its kind.

Selection needs to know which steps talk about the same things and whether a line lives to the end
of a span, not what the line says. Hashes carry both across units without contents, and they are
the same in every process (`hash()` is not). Cost: about 0.3 s per 10 MB of hunks.
"""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

CODE: Final = "code"
TEST: Final = "test"
DOCS: Final = "docs"
CONFIG: Final = "config"
DATA: Final = "data"
OTHER: Final = "other"

_ADDED = re.compile(rb"^\+(.*)", re.MULTILINE)
_REMOVED = re.compile(rb"^-(.*)", re.MULTILINE)
# Three characters or more: shorter names (i, x, if) occur everywhere and link nothing. Bytes from
# 0x80 belong to letters outside ASCII.
_IDENTIFIER = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]{2,63}")


class LineFeatures(NamedTuple):
    """The hashes of one file's change: the last three columns of `STEP_FEATURES`.

    `identifiers` is (I,) uint32, each once, sorted; `added_lines` (A,) and `removed_lines` (R,) are
    uint64, with repeats, in order.
    """

    identifiers: npt.NDArray[np.uint32]
    added_lines: npt.NDArray[np.uint64]
    removed_lines: npt.NDArray[np.uint64]


def line_features(hunks: bytes) -> LineFeatures:
    """Hashes the changed lines of one file, and the identifiers on them.

    Args:
        hunks: the body of a unified diff from its first `@@` line on (no `---`/`+++` header).
    """
    added, removed = _ADDED.findall(hunks), _REMOVED.findall(hunks)
    names = set(_IDENTIFIER.findall(b"\n".join(added + removed)))
    identifiers = np.fromiter(map(zlib.crc32, names), np.uint32, len(names))
    return LineFeatures(np.unique(identifiers), _hash_lines(added), _hash_lines(removed))


def _hash_lines(lines: list[bytes]) -> npt.NDArray[np.uint64]:
    """64 bits a line: CRC-32 below, Adler-32 above; two CRCs would not be independent."""
    low = np.fromiter(map(zlib.crc32, lines), np.uint64, len(lines))
    high = np.fromiter(map(zlib.adler32, lines), np.uint64, len(lines))
    return low | (high << np.uint64(32))


_TEST = re.compile(
    r"(^|/)(tests?|specs?|__tests__|testing|testdata|fixtures)/"
    r"|(^|/)(test|spec)[_-][^/]*$|(^|/)conftest\.py$"
    r"|[._-](test|tests|spec|specs)\.[^/.]+$|(^|/)[^/]*[a-z0-9]Tests?\.[^/.]+$",
)
_DOCS_FOLDER = re.compile(r"(^|/)(docs?|documentation|man|website)/", re.IGNORECASE)
_DOCS_NAME = re.compile(
    r"(^|/)(readme|changes|changelog|history|news|authors|contributing|contributors|copying"
    r"|license|licence|notice|todo|thanks|security|releasing|code_of_conduct)[^/]*$",
    re.IGNORECASE,
)
_DOCS_SUFFIX = re.compile(r"\.(md|mdx|rst|adoc|txt|tex|texi|html?|pod|[1-9])$", re.IGNORECASE)
_CONFIG = re.compile(
    r"(^|/)\.[^/]+(/|$)|\.(ya?ml|toml|ini|cfg|conf|properties|gradle|cmake|mk|am|ac|in|lock|nix"
    r"|gemspec|csproj|sln|props|targets|spec)$"
    r"|(^|/)(makefile|dockerfile|gemfile|rakefile|cmakelists\.txt|build|requirements[^/]*\.txt"
    r"|package(-lock)?\.json|go\.(mod|sum)|cargo\.(toml|lock)|pom\.xml|setup\.cfg|setup\.py"
    r"|manifest\.in|pipfile|tox\.ini|procfile|jenkinsfile|configure)$",
    re.IGNORECASE,
)
_DATA = re.compile(
    r"\.(json|jsonl|csv|tsv|xml|svg|sql|po|pot|pem|crt|key|log|dat|geojson|snap)$", re.IGNORECASE
)
_PROSE: Final = frozenset({"Markdown", "reStructuredText", "AsciiDoc", "Text", "TeX", "Org"})


def file_kind(path: str, language: str | None) -> str:
    """Says what a file is for, by its path first: code, test, docs, config, data or other.

    Args:
        path: path in the repository, with `/`.
        language: what the language mapping says of the file, None if it does not know it.
    """
    if _CONFIG.search(path):
        return CONFIG
    if _TEST.search(path):
        return TEST
    if _DOCS_SUFFIX.search(path) or language in _PROSE:
        return DOCS
    if language is None and _DOCS_NAME.search(path):
        return DOCS
    if _DATA.search(path):
        return DATA
    if language is None:
        return DOCS if _DOCS_FOLDER.search(path) else OTHER
    return DOCS if _DOCS_FOLDER.search(path) and language in ("CSS", "HTML", "Shell") else CODE
