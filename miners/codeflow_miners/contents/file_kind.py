"""What a changed file is for: the column `file_kind` of a triple's files, decided here alone.

By the path first, as people read it (`setup.py` is configuration, though it is Python), then by the
language. What a program wrote is `generated`, whatever else it may be. Filters, weights and the
miner of spans read this; where in doubt a file with a language is source, one without is data.
Cost: 4 µs a file.
"""

from __future__ import annotations

import re
from typing import Final

SOURCE: Final = "source"
TEST: Final = "test"
DOCS: Final = "docs"
CONFIGURATION: Final = "configuration"
DATA: Final = "data"
GENERATED: Final = "generated"

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
_DOCS_SUFFIX = re.compile(r"\.(md|mdx|rst|adoc|txt|tex|texi|pod|[1-9])$", re.IGNORECASE)
_CONFIG = re.compile(
    r"(^|/)\.[^/]+(/|$)|\.(ya?ml|toml|ini|cfg|conf|properties|gradle(?:\.kts)?|cmake|mk|am|ac|in|lock|nix"
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


def file_kind(path: str, language: str | None, generated: bool = False) -> str:
    """Says what a file is for.

    Args:
        path: path in the repository, with `/`.
        language: what the language mapping says of the file, None if it does not know it.
        generated: whether a program wrote it, by linguist's rules.
    """
    if generated:
        return GENERATED
    if _CONFIG.search(path):
        return CONFIGURATION
    if _TEST.search(path):
        return TEST
    if _DOCS_SUFFIX.search(path) or language in _PROSE:
        return DOCS
    if language is None and _DOCS_NAME.search(path):
        return DOCS
    if _DATA.search(path):
        return DATA
    if language is None:
        return DOCS if _DOCS_FOLDER.search(path) else DATA
    return DOCS if _DOCS_FOLDER.search(path) and language in ("CSS", "HTML", "Shell") else SOURCE
