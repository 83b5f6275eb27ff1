"""`paths`: drops changes that lie mostly in files nobody writes by hand.

Vendored and generated files as mining marked them by GitHub's linguist rules (The Stack drops
generated files by the same), and what stands beside its grammar (`parser.c` and `parser.y`); lock
files and build output by name. A triple goes when more than `max_share` of its changed lines lie in
vendored, generated or built files; at half, features that come with a rebuilt manual page went.
Vendored files count from `min_vendored_lines` on: fewer are a fix by hand, not an upgrade. A lock
file is longer than what was done, so lock files only count where fewer than `min_own_lines` are
left without them. Data (tables, translations, pictures as text, fixtures) are part of many good
changes: a triple goes as `data-only` when it has nothing else.

Linguist's "vendored" is meant for statistics of languages and takes in what projects do write: CI
configuration, `.gitignore`, test fixtures, folders named `cache`. Those are not counted here, nor
is a folder called vendor within fixtures: it stands for one.

Cost: 3 µs a changed file; names are remembered.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from codeflow.config import require_within
from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.triple import Triple

_LOCK: Final = re.compile(
    r"(?:^|/)(?:package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.ya?ml|bun\.lockb?"
    r"|Cargo\.lock|Gemfile\.lock|gems\.locked|Podfile\.lock|Cartfile\.resolved|Package\.resolved"
    r"|composer\.lock|poetry\.lock|pdm\.lock|uv\.lock|Pipfile\.lock|conda-lock\.ya?ml|mix\.lock"
    r"|rebar\.lock|pubspec\.lock|flake\.lock|go\.sum|go\.work\.sum|Gopkg\.lock|glide\.lock"
    r"|gradle\.lockfile|packages\.lock\.json|project\.lock\.json|paket\.lock|stack\.yaml\.lock"
    r"|cabal\.project\.freeze|Manifest\.toml|elm-stuff/exact-dependencies\.json|deno\.lock"
    r"|\.terraform\.lock\.hcl|MODULE\.bazel\.lock|Chart\.lock"
    r"|vendor/vendor\.json|vendor/modules\.txt|vendor/manifest|Godeps\.json)\Z"
)
_BUILD: Final = re.compile(
    r"(?:^|/)(?:dist|_build|__pycache__|\.next|\.nuxt|\.gradle|DerivedData|bower_components"
    r"|autom4te\.cache|CMakeFiles|site-packages|[^/]+\.egg-info|[^/]+\.dist-info)/"
    r"|(?:^|/)(?:CMakeCache\.txt|config\.status|config\.log|aclocal\.m4|Makefile\.in)\Z"
    r"|\.(?:min\.(?:js|css|mjs)|bundle\.js|chunk\.js|(?:js|css)\.map|pyc|class|o|tsbuildinfo|prebuilt)\Z"
)
# what linguist calls vendored, and yet belongs to the project
_OWN: Final = re.compile(
    r"(?:^|/)(?:\.github|\.vscode|\.teamcity|cache|env|testdata|[Tt]ests?/fixtures"
    r"|[Ss]pecs?/fixtures|docs?/_?(?:themes?|templates?|static)|debian|inst/extdata)/"
    r"|(?:^|/)(?:\.gitignore|\.gitattributes|\.gitmodules|\.osx|Jenkinsfile|Vagrantfile|fabfile\.py"
    r"|configure|\.gitpod\.Dockerfile|proguard(?:-rules)?\.pro)\Z"
)
_FOREIGN: Final = re.compile(
    r"(?:^|/)(?:deps|vendors?|_vendor(?:ed)?|[Vv]endor|[Ee]xtern(?:als?)?|node_modules|(?:3rd|[Tt]hird)[-_]?[Pp]arty)/"
)
_FIXTURES: Final = re.compile(
    r"(?:^|/)(?:tests?|__tests__|specs?|e2e|fixtures?|testdata|test[-_](?:data|fixtures|resources)"
    r"|playground|examples?)/"
)
# bison, flex and their kin: linguist does not know what they make
_GRAMMAR: Final = re.compile(r"\.(?:y|yy|ypp|l|ll|lpp|lex|rl|peg|g4|leg|re)\Z")
_SOURCE: Final = re.compile(r"\.(?:c|h|cc|cpp|hpp|cxx|hh|java|go|py|js|output)\Z")
_DATA: Final = re.compile(
    r"\.(?:csv|tsv|jsonl|ndjson|geojson|topojson|arff|dat|svg|po|pot|xlf|xliff|pem|crt|cer|asc|hex"
    r"|srec|snap|golden|out|log|lst|obj|stl|ply|dxf|wkt|gpx|kml|bib|fasta|pdb|mtx|ics|vcf|eml)\Z"
    r"|(?:^|/)(?:data|datasets?|fixtures|test[-_]?data|testdata|corpus|corpora|locales?|i18n|l10n"
    r"|translations|snapshots|__snapshots__|golden)/(?:.*/)?[^/]+\.(?:json|xml|ya?ml|txt|html?|sql"
    r"|properties|strings|resx)\Z"
    r"|(?:^|/)(?:AUTHORS|CONTRIBUTORS|\.mailmap|ACKNOWLEDGEMENTS)(?:\.(?:md|rst|txt|adoc))?\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Paths:
    """Drops changes to vendored, generated, locked, built and data files."""

    max_share: float = 0.8
    min_own_lines: int = 10
    min_vendored_lines: int = 100

    why: ClassVar[str] = "changes mostly in vendored, generated, lock or built files, or data only"
    reasons: ClassVar[Mapping[str, str]] = {
        "vendored": "mostly changes of other projects' code that was copied in",
        "generated": "mostly changes of generated files",
        "build-output": "mostly changes of what a build wrote",
        "lock-file": "a lock file with little beside it",
        "data-only": "nothing but data: tables, fixtures, translations, lists of names",
    }
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"files"})

    def __post_init__(self) -> None:
        require_within(
            self, max_share=(0, 1), min_own_lines=(0, math.inf), min_vendored_lines=(0, math.inf)
        )

    def __call__(self, triple: Triple) -> Verdict:
        lines: Counter[str | None] = Counter()
        largest: dict[str | None, tuple[int, str]] = {}
        grammars = _grammars(triple)
        for change in triple.files:
            made = change.generated or (
                bool(grammars) and _stem(change.path) in grammars and _SOURCE.search(change.path)
            )
            what = file_class(change.path, change.vendored, bool(made))
            count = max(1, change.additions + change.deletions)  # a rename is a change, too
            lines[what] += count
            largest[what] = max(largest.get(what, (0, "")), (count, change.path))
        total = lines.total()
        locks, data, own = (lines.pop(what, 0) for what in ("lock-file", "data-only", None))
        reason = None
        if lines["vendored"] < self.min_vendored_lines:
            own += lines.pop("vendored", 0)
        if lines.total() > self.max_share * (total - locks):
            reason = lines.most_common(1)[0][0]
        elif locks > own + data and own < self.min_own_lines:
            reason = "lock-file"
        elif data and not own:
            reason = "data-only"
        return drop(reason, largest[reason][1]) if reason else keep()


def _grammars(triple: Triple) -> frozenset[str]:
    """The stems of changed grammars, from which `parser.c` is made of `parser.y`."""
    return frozenset(_stem(c.path) for c in triple.files if _GRAMMAR.search(c.path))


def _stem(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def is_lock(path: str) -> bool:
    """Whether a file is a package manager's record of exact versions."""
    return _LOCK.search(path) is not None


def is_data(path: str) -> bool:
    """Whether a file holds data: no source, no prose, no configuration."""
    return _DATA.search(path) is not None


@lru_cache(maxsize=1 << 14)
def file_class(path: str, vendored: bool, generated: bool) -> str | None:
    """The reason to drop a change to this file alone; None for files that people write."""
    if is_lock(path):
        return "lock-file"
    foreign = _FOREIGN.search(path) or (vendored and not _OWN.search(path))
    if foreign and not _FIXTURES.search(path):
        return "vendored"
    if _BUILD.search(path):
        return "build-output"
    if generated:
        return "generated"
    return "data-only" if is_data(path) else None
