"""`worth`: what a change is worth by the kinds of files it touches, and by how little it does.

Dropped is what only keeps a project's books: changelogs and lists of people (`changelog-only`),
configuration of CI, of bots and of the host (`ci-only`), and documentation of which hardly a line
changes: links, capitals, typos (`docs-touch`). Such changes are as good as never about the code,
and their subjects promise more than a reader could do by them.

Weighed less, and kept, is what teaches something, but less than its share of a history: prose
(`docs-only`), build metadata and other configuration (`configuration-only`), and changes of one or
two lines (`tiny`). Several of these multiply.

Measured on seven audited histories, 9,064 kept changes: 15.4 % docs only, 3.5 % CI only, 1.4 %
changelogs, 3.8 % build metadata, 14.6 % two lines or fewer. Of 58 of them that were read, the 8
useless ones were 4 of documentation by a line, 3 of CI or a pin, 1 of comments.

Cost: 5 µs a changed file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from codeflow.config import require_within
from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.triple import Triple

_BOOKS: Final = re.compile(
    r"""(?:^|/)(?:
      (?:change(?:s|[-_]?logs?)?|history|news|whats[-_]?new|what'?s[-_]?new|release[-_]?notes?|releases?
        |upgrading|authors|contributors|credits|thanks|acknowledge?ments|backers|sponsors|maintainers
        |emeritus|governance|team)
      (?:[-_.]?v?\d[\w.]*)? (?:\.(?:md|mdx|rst|txt|adoc|asciidoc|markdown|textile|rdoc|org|html))?
    | \.mailmap | \.all-contributorsrc
    )\Z
    | (?:^|/)(?:change(?:s|[-_]?logs?)|news|newsfragments?|release[-_]?notes?|changelog\.d
        |\.changes?|\.changesets?|\.changelog|unreleased|whats[-_]?new)/
      (?:.*/)?(?:[^/.]+|[^/]*\.(?:md|mdx|rst|txt|adoc|ya?ml|feature|bugfix|docs?|removal|misc
        |trivial|vendor|process|change[sd]?|breaking|deprecat\w+|fix(?:ed)?|added|security|dev|\d+))\Z
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CI: Final = re.compile(
    r"""(?:^|/)(?:
      (?:\.github|\.gitlab|\.circleci|\.buildkite|\.semaphore|\.azure-?pipelines|azure-pipelines
        |\.tekton|\.prow|\.builds|\.teamcity|\.kokoro|\.husky|\.vscode|\.idea)/.*
    | \.(?:travis|appveyor|drone|cirrus|gitlab-ci|mergify|codecov|coveralls|codeclimate|lgtm
        |scrutinizer|styleci|hound|readthedocs|pre-commit-config|pre-commit-hooks|landscape|sonarcloud
        |golangci|landscape|gitpod|dependabot|renovate|kodiak|stale|pyup|deepsource|semaphore|wercker
        |zuul|whitesource|lift|sourcery|fossa|release-please\w*)(?:\.[a-z0-9]+)?
    | (?:appveyor|azure-pipelines[\w-]*|bitbucket-pipelines|buildkite|circle|codecov|cloudbuild
        |renovate|shippable|wercker|codeship-\w+|netlify|vercel|readthedocs|codecov|docker-cloud
        |release-please-config)\.(?:ya?ml|json5?|toml)
    | \.renovaterc(?:\.json5?)? | Jenkinsfile | CODEOWNERS | OWNERS(?:_ALIASES)? | PROJECT
    | SECURITY_CONTACTS | FUNDING\.ya?ml | \.coveragerc | \.bumpversion\.(?:cfg|toml)
    | \.(?:git(?:ignore|attributes|modules)|git-blame-ignore-revs|editorconfig|dockerignore
        |npmignore|npmrc|yarnrc(?:\.yml)?|nvmrc|node-version|ruby-version|python-version
        |tool-versions|release-please-manifest\.json|eslintignore|prettierignore|markdownlint\.\w+
        |typos\.toml|cspell\.json|codespellrc|mention-bot)
    )\Z""",
    re.VERBOSE,
)
_SCRIPT: Final = re.compile(r"(?:^|/)\.github/.*\.(?:sh|bash|py|js|cjs|mjs|ts|rb|go|ps1)\Z")
_PROSE: Final = frozenset({"docs"})
_SETUP: Final = frozenset({"docs", "configuration", "generated"})  # a lock file beside


@dataclass(frozen=True)
class Worth:
    """Drops what keeps books, and weighs less what teaches less.

    Attributes:
        docs_touch_lines: documentation alone, of at most so many added and so many removed lines.
        ci_lines: configuration of CI with more changed lines than this is weighed and not dropped.
        tiny_lines: added and removed lines, together, up to which a change is tiny.
        docs_weight, configuration_weight, tiny_weight: what each counts for.
    """

    docs_touch_lines: int = 2
    ci_lines: int = 40
    tiny_lines: int = 2
    docs_weight: float = 0.3
    configuration_weight: float = 0.5
    tiny_weight: float = 0.5

    why: ClassVar[str] = "changes that keep a project's books; prose and tiny changes weigh less"
    reasons: ClassVar[Mapping[str, str]] = {
        "changelog-only": "nothing but changelogs, news and lists of people",
        "ci-only": "nothing but configuration of CI, of bots and of the host",
        "docs-touch": "documentation of which hardly a line changes: a link, a typo",
        "docs-only": "nothing but documentation",
        "configuration-only": "nothing but build metadata and other configuration",
        "tiny": "so few lines that there is little to learn",
    }
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"additions", "deletions", "files"})

    def __post_init__(self) -> None:
        require_within(
            self,
            docs_touch_lines=(0, math.inf),
            ci_lines=(0, math.inf),
            tiny_lines=(0, math.inf),
            docs_weight=(0.001, 1000),
            configuration_weight=(0.001, 1000),
            tiny_weight=(0.001, 1000),
        )

    def __call__(self, triple: Triple) -> Verdict:
        kinds = {book(change.path, change.file_kind) for change in triple.files}
        lines = triple.additions + triple.deletions
        if kinds <= {"changelog"}:
            return drop("changelog-only", triple.files[0].path) if kinds else keep()
        own = kinds - {"changelog"}
        if own == {"ci"} and lines <= self.ci_lines:
            return drop("ci-only", _largest(triple, "ci"))
        prose = own - {"ci"} <= _PROSE and "docs" in own
        few = max(triple.additions, triple.deletions) <= self.docs_touch_lines
        if prose and few:
            return drop("docs-touch", triple.files[0].path)
        weight = 1.0
        reason = None
        if prose:
            weight = self.docs_weight
            reason = "docs-only"
        elif own - {"ci"} <= _SETUP:
            weight = self.configuration_weight
            reason = "configuration-only"
        if lines <= self.tiny_lines:
            weight *= self.tiny_weight
            if reason is None:
                reason = "tiny"
        return keep(weight=weight, reason=reason)


def _largest(triple: Triple, kind: str) -> str:
    changes = [c for c in triple.files if book(c.path, c.file_kind) == kind]
    return max(changes, key=lambda c: c.additions + c.deletions).path


@lru_cache(maxsize=1 << 14)
def book(path: str, file_kind: str) -> str:
    """`changelog` or `ci` for a file that keeps a project's books; for any other its kind."""
    if _CI.search(path) and not _SCRIPT.search(path):
        return "ci"
    if file_kind in ("docs", "data", "configuration") and _BOOKS.search(path):
        return "changelog"
    return file_kind
