"""What is kept of a commit's author: whether it is a person or a program, and a pseudonym.

Later stages never see identities, so this is decided here, from name and address alone. In doubt it
is a person: `Bot` and `Robot` are surnames too, so a bare last word "Bot" needs an address that
agrees, while a hyphen or underscore (`scala-bot`), a capital (`BuildBot`) or GitHub's `[bot]` is
enough. GitHub's web-flow (`GitHub <noreply@github.com>`) stands for a person at the web editor and
is not a bot. Cost: 2 µs, then remembered.

Code agents are programs, too: what they commit under their own name is nobody's own work. A person
who committed with an agent's help is a person.

A merge is the work of what it brings in: merge queues (bors, Prow, Copybara) commit the merges of
whole projects. It is a program's only when all commits that it brings in are.

A pseudonym is a hash of the repository's identity and of a number: authors are counted in the order
in which they first appear, along the first-parent chain, after each merge those of what it brings
in. Neither name nor address goes into it, so nobody can try out known addresses on it, there is no
salt that could leak with a configuration, and the same history gives the same ids. Later commits
change no earlier id, and one person has another id in each repository, so that ids link nobody
across projects.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

from codeflow_miners.history.commit import identity

AuthorKind = Literal["human", "bot"]

# Whole names, compared in lower case with spaces, dots and underscores as hyphens.
_NAMES: Final = frozenset({
    "allcontributors", "android-build-team-robot", "appveyor", "azure-pipelines", "bors",
    "bors-servo", "buildbot", "circleci", "ci-bot", "codecov", "codecov-io", "copybara-service",
    "crowdin",
    "dependabot", "dependabot-preview", "dependabot-support", "deepsource-autofix", "depfu",
    "doc-bot", "github-action", "github-actions", "github-merge-queue", "gitlab-ci",
    "google-oss-prow", "greenkeeper", "greenkeeperio", "homu", "hosted-weblate", "imgbot",
    "imgbotapp", "jenkins", "k8s-merge-robot", "lgtm-com", "lgtm-migrator", "mergify",
    "pre-commit-ci", "pyup", "release-please", "renovate", "requires-io", "restyled-io",
    "scala-steward", "semantic-release", "sentry-autofix", "snyk", "sourcery-ai",
    "swift-ci", "the-codecov-bot", "transifex", "transifex-github-integration", "travis-ci",
    "travisci", "weblate", "whitesource", "zeebe-bors", "bot", "robot",
    # queues, importers and services of single projects
    "a-unique-tensorflower", "aosp-merger", "chromium-autoroll", "chromium-cq", "commit-bot",
    "copybara", "facebook-github-bot", "gopherbot", "jenkins-ci", "llvm-gn-syncbot", "mssonicbld",
    "openstack-proposal-bot", "openstack-release-bot", "prow-robot", "pytorchmergebot",
    "pytorchupdatebot", "release-plz", "rust-bors", "rustbot", "rust-highfive", "rust-timer",
    "skia-autoroll", "skia-commit-bot", "snyk-bot", "tensorflower-gardener", "v8-autoroll",
    "v8-ci-autoroll-builder", "webkit-commit-queue", "zuul",
})  # fmt: skip
# Agents that write code, by the names and addresses they commit under. Some are surnames or first
# names as well, so these need an address that is the agent's.
_AGENTS: Final = frozenset({
    "aider", "amp-code", "blackbox-agent", "claude-code", "codegen-sh", "copilot",
    "copilot-swe-agent", "cursor-agent", "cursoragent", "devin-ai", "devin-ai-integration",
    "gemini-cli", "gemini-code-assist", "github-copilot", "google-labs-jules", "gpt-engineer",
    "kiro-agent", "open-swe", "openai-codex", "openhands", "openhands-agent", "roo-code",
    "sweep-ai", "sweepai",
})  # fmt: skip
_AGENT_ADDRESS: Final = re.compile(
    r"""^(?:noreply|no-reply|claude|code)@anthropic\.com$
    | ^(?:codex|noreply|no-reply)@openai\.com$
    | ^(?:cursoragent|agent)@cursor\.(?:com|sh)$
    | ^(?:copilot|noreply)@(?:copilot\.)?github\.com$ (?<!^noreply@github\.com)
    | ^openhands@(?:all-hands|openhands)\.dev$
    | ^(?:\d+\+)?(?:copilot|devin-ai-integration|google-labs-jules|openhands-agent)(?:\[bot\])?@
      users\.noreply\.github\.com$
    """,
    re.VERBOSE,
)
_HYPHENATED: Final = re.compile(r"(?:^|.[-_])(?:bot|robot)\d*$|^bot[-_].|\[bot\]")
_CAMEL: Final = re.compile(r"^\S*[a-z0-9]Bot$")  # in the name as written
_SPACED: Final = re.compile(r"\b(?:bot|robot)$")
_ADDRESS: Final = re.compile(
    r"""\[bot\]@
    | ^(?:.+[-_+])?(?:bot|robot)@
    | ^(?:\d+\+)?(?:dependabot|renovate|greenkeeper|imgbot|mergify|pyup|snyk)(?:[-_]\w+)?@
    | ^actions?@github\.com$
    | ^(?:noreply|no-reply|hosted|support|admin)@
      (?:renovateapp|whitesourcesoftware|dependabot|greenkeeper|weblate|transifex)\.(?:com|io|org)$
    """,
    re.VERBOSE,
)
_SEPARATORS: Final = re.compile(r"[\s._-]+")


@lru_cache(maxsize=1 << 14)
def author_kind(name: bytes, email: bytes) -> AuthorKind:
    """The kind of author; any bytes are taken, those that are not UTF-8 as unknown letters."""
    written = name.decode("utf-8", "replace").strip()
    text = written.lower()
    address = email.decode("utf-8", "replace").strip().strip("<>").lower()
    joined = _SEPARATORS.sub("-", text)
    if (
        joined in _NAMES
        or joined in _AGENTS
        or _AGENT_ADDRESS.search(address)
        or _HYPHENATED.search(text)
        or _CAMEL.search(written)
        or _ADDRESS.search(address)
        or (_SPACED.search(text) and _names_a_program(address))
    ):
        return "bot"
    return "human"


@lru_cache(maxsize=1 << 14)
def is_agent(name: bytes, email: bytes) -> bool:
    """Whether an author is an agent that writes code, by the name or the address it has."""
    joined = _SEPARATORS.sub("-", name.decode("utf-8", "replace").strip().lower())
    address = email.decode("utf-8", "replace").strip().strip("<>").lower()
    return joined in _AGENTS or _AGENT_ADDRESS.search(address) is not None


def _names_a_program(address: str) -> bool:
    """Whether an address backs a name that ends in "Bot": its own part says bot, or no reply."""
    local = address.partition("@")[0]
    local = local.rpartition("+")[2]
    return local.startswith(("noreply", "no-reply", "bot")) or local.endswith(("bot", "robot"))


def merge_kind(own: AuthorKind, brought: Iterable[AuthorKind]) -> AuthorKind:
    """Whose work a merge is: a program's when all that it brings in is.

    Args:
        own: the kind of the merge's own author, which decides where it brings nothing in.
        brought: the kinds of the commits it brings in that are no merges themselves.
    """
    kinds = set(brought) or {own}
    return "human" if "human" in kinds else "bot"


def author_ids(repo: str, authors: Iterable[bytes]) -> list[str]:
    """A pseudonym of 16 hex digits for each of the author lines of a history, oldest first.

    Who has the same address, in whatever case, is one author; where there is none, the same name.
    """
    numbers: dict[tuple[bool, bytes], int] = {}
    found = []
    for line in authors:
        name, address = identity(line)
        who = (bool(address), address.lower() or name)
        found.append(_pseudonym(repo, numbers.setdefault(who, len(numbers))))
    return found


@lru_cache(maxsize=1 << 14)
def _pseudonym(repo: str, number: int) -> str:
    return hashlib.sha256(f"author\0{repo}\0{number}".encode()).hexdigest()[:16]
