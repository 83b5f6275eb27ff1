"""Which steps are upkeep that no piece of work is made of, and so tie to nothing.

Two dependency bumps, two releases, a change and its revert, or two edits of a list of sponsors
look more alike than two steps of real work, and would hold together whatever lies between them.
Such a step gets no tie at all: a span needs a tie for each of its steps, so none holds one.

- *release, bump*: by the subject (`codeflow.text.releases`), a bump unless source or tests change
  with it; or a few lines of nothing but lists of dependencies;
- *revert*: says that it takes something back, or takes back the lines of a step before it; that
  step counts as well, as it is no work that stayed;
- *lists*: nothing but changelogs, news, authors, sponsors, translators, a TODO;
- *formatter*: `blacken`, `run prettier` and their kin, and nothing more;
- *nothing said*: no message, a merge without words, or `Update README.md` as a host proposes it;
- *bot*: the work of a program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from codeflow.contracts import Commit
from codeflow.text.messages import own_text, title
from codeflow.text.releases import is_dependency_bump, is_proposed, is_version_bump
from codeflow_miners.kinds.span.steps import Steps

REVERTED = 0.8  # share of a step's lines that another takes back exactly, to count as its revert
REACH = 32  # steps among which a revert is looked for by its lines
MIN_LINES = 3  # fewer changed lines come back by chance

_REVERT: Final = re.compile(
    r"\W*(?:\w[\w -]*(?:\([^)]*\))?: +)?(?:revert(?:s|ed|ing)?|back(?:ed|ing)? ?out)\b"
    r"|\W*re-?(?:land|appl)(?:y|ies|ied|ed|ing)?\b",
    re.IGNORECASE,
)
_REVERTS_ID: Final = re.compile(r"^(?:This )?reverts commits? [0-9a-f]{7,40}\b", re.M | re.I)
_RELEASE: Final = re.compile(
    r"\W*(?:\w[\w -]*(?:\([^)]*\))?: +)?"
    r"(?:(?:prepar\w+|cut|tag|mark|start|begin|finish|post|pre|next)[ -](?:\w+ ){0,3})?"
    r"(?:release|version|development|snapshot)\b.{0,12}\d+\.\d+|\W*v?\d+\.\d+(?:\.\d+)?\b\W*\Z",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"[^\W\d_]+")
_FORMATTER: Final = re.compile(
    r"\W*(?:style: *)?(?:re-?)?(?:run |apply )?(?:the )?"
    r"(?:black|blacken(?:ed|ing)?|prettier|gofmt|rustfmt|clang-format|isort|standard|format(?:ted|ting)?|formatter|lint(?:ing)?)"
    r"(?: (?:the )?(?:code|code ?base|files?|sources?|again|fix(?:es)?))*\W*",
    re.IGNORECASE,
)
_LISTS: Final = re.compile(
    r"(?:^|/)(?:changes|change[-_]?logs?|history|news|release[-_ ]?notes|releases?|whats[-_]?new"
    r"|authors|contributors|maintainers|thanks|credits|acknowledge?ments|sponsors?|backers"
    r"|team|translators|todo)(?:[-_.]?[\dx.]+)?(?:\.(?:md|mdx|rst|txt|adoc|markdown|ya?ml|json|xml))?\Z"
    r"|(?:^|/)(?:changelog|changelogs|changes|news|newsfragments|release[-_]?notes|\.changeset)/"
    r"|(?:^|/)\.mailmap\Z|sponsors?\.\w+\Z",
    re.IGNORECASE,
)
_DEPENDENCIES: Final = re.compile(
    r"(?:^|/)(?:package(?:-lock)?\.json|yarn\.lock|pnpm-lock\.yaml|cargo\.(?:toml|lock)|go\.(?:mod|sum)"
    r"|gemfile(?:\.lock)?|[\w.-]+\.gemspec|composer\.(?:json|lock)|pipfile(?:\.lock)?|poetry\.lock"
    r"|[\w-]*requirements[\w-]*\.(?:txt|in)|pom\.xml|libs\.versions\.toml|dependencies\.\w+)\Z"
    r"|(?:^|/)requirements/[^/]+\Z",
    re.IGNORECASE,
)
FEW_LINES = 6  # changed lines of lists of dependencies that are no more than new versions


def chores(commits: Sequence[Commit], steps: Steps) -> npt.NDArray[np.bool_]:
    """(N,): whether each step is upkeep. `commits[k + 1]` is the one that made step k."""
    few = np.bincount(steps.line_step, minlength=steps.count) <= FEW_LINES
    found = reverted(steps) | _only(_LISTS, steps) | (_only(_DEPENDENCIES, steps) & few)
    has_source = np.zeros(steps.count, dtype=bool)
    has_source[steps.row_step[steps.row_work]] = True
    for k, commit in enumerate(commits[1:]):
        found[k] |= commit.author_kind == "bot" or _says(commit.messages, bool(has_source[k]))
    return found


def _only(names: re.Pattern[str], steps: Steps) -> npt.NDArray[np.bool_]:
    """(N,): steps that change files of such names and no others."""
    found = np.zeros(steps.count, dtype=bool)
    found[steps.row_step] = True
    found[steps.row_step[[names.search(path) is None for path in steps.row_path]]] = False
    return found


def _says(messages: Sequence[str], has_source: bool) -> bool:
    """Whether a message tells of a revert, or of new versions and nothing else."""
    text = own_text(messages)
    if not text:
        return True
    # subjects run on into other lines where nobody left a blank one
    return any(_tells(line, text, has_source) for line in {title(text), text.partition("\n")[0]})


def _tells(line: str, text: str, has_source: bool) -> bool:
    """The same of one way to read the subject."""
    if _FORMATTER.fullmatch(line):
        return True
    if is_proposed(line) and len(_TOKEN.findall(text.partition("\n")[2])) < 3:
        return True
    if _REVERT.match(line) or _REVERTS_ID.search(text):
        return True
    if is_version_bump(line) or _RELEASE.match(line):
        return True
    return not has_source and is_dependency_bump(line)


def reverted(steps: Steps) -> npt.NDArray[np.bool_]:
    """(N,): steps that undo one of the `REACH` before them line by line, and those undone."""
    order = np.lexsort((steps.line_sign, steps.line_step, steps.line_key))
    key, at = steps.line_key[order], steps.line_step[order]
    sign = steps.line_sign[order]
    fresh = np.ones(len(key), dtype=bool)
    fresh[1:] = (key[1:] != key[:-1]) | (at[1:] != at[:-1]) | (sign[1:] != sign[:-1])
    key, at, sign = key[fresh], at[fresh], sign[fresh]
    total = np.bincount(at, minlength=steps.count)
    undone = np.zeros(steps.count * REACH, dtype=np.int64)
    for lag in range(1, 2 * REACH):  # of one line a step holds at most two events
        far = at[lag:] - at[:-lag]
        same = (key[lag:] == key[:-lag]) & (far < REACH)
        if not same.any():  # nor is there any pair further apart
            break
        pair = same & (sign[lag:] != sign[:-lag]) & (far > 0)
        undone += np.bincount(at[:-lag][pair] * REACH + far[pair], minlength=len(undone))
    first, ahead = np.divmod(np.flatnonzero(undone >= MIN_LINES), REACH)
    shared = undone.reshape(-1, REACH)[first, ahead]
    both = np.maximum(total[first], total[first + ahead])
    first, ahead = first[shared >= REVERTED * both], ahead[shared >= REVERTED * both]
    found = np.zeros(steps.count, dtype=bool)
    found[first] = found[first + ahead] = True
    return found
