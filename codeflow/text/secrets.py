"""Secrets in files: keys and tokens whose form says what they are, found by detect-secrets.

The detector is `bc-detect-secrets`, the line of detect-secrets that still has releases (the
original has had none since 2024). Its plug-ins are chosen for precision, because a finding drops a
triple, or a file from the projection:

- kept: formats that a provider chose to be recognised (a prefix, a fixed length), and private keys
  that come with key material;
- left out: `BasicAuth` (`http://user:pass@host` is in every client's tests), `Keyword` and both
  entropy plug-ins (any `password = "..."`, any hash), `Artifactory`, `Cloudant`, `IbmCloudIam`,
  `IbmCosHmac` and `Softlayer` (short prefixes or names followed by plain letters and digits).

A few documented prefixes that the release does not know are in `PREFIXED`. Values that are plainly
made up (they say EXAMPLE, or repeat a few characters) are no secrets, nor are other samples
(`codeflow.text.sample_keys`). Nothing is ever verified over the network. Encrypted and PGP
keys are not found.

Cost: plug-ins in pure Python are slow, so each has *needles*, byte strings of which one is in every
match of it. A file costs one search for all needles (`codeflow.text.needles`); only lines
that hold one reach the plug-in. Of a line longer than 3,840 bytes, pieces of that size around the
needles are looked at: a value that is longer than its piece may be missed, and no line takes more
than linear time.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from codeflow.text.needles import Needle, Needles
from codeflow.text.sample_keys import (
    is_no_aws_secret,
    is_sample_jwt,
    made_up,
    stands_in_documentation,
)

if TYPE_CHECKING:
    from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector


class Finding(NamedTuple):
    """A secret: which detector found it, and the line it starts on, from 1. Never its value."""

    kind: str
    line: int


PREFIXED: Final = {
    # documented as such by each provider; what follows is long enough not to be a name
    "GitHub Fine-Grained Token": ("github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    "GitLab Token": ("glpat-", r"glpat-[A-Za-z0-9_\-]{20,50}(?![\w-])"),
    "Google API Key": ("AIza", r"\bAIza[0-9A-Za-z_\-]{35}(?![\w-])"),
    "OpenAI Token": ("T3BlbkFJ", r"[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"),
    "PyPI Token": ("pypi-AgE", r"pypi-AgE[A-Za-z0-9-_]{80,}"),
}

PRIVATE_KEY: Final = "Private Key"  # of detect-secrets
PIECE_BYTES: Final = 3840  # the plug-in for Azure sees nothing in lines of over 4,000
_BEFORE_BYTES: Final = 256
_STEP_BYTES: Final = 2048
# what stands between the lines of a key that is quoted, escaped, indented or commented
_BETWEEN_LINES: Final = re.compile(rb"[ \t\r\"'+,;\\n]{0,16}\n[ \t\"'#*/+]{0,64}")


class _Detector(Protocol):
    """A plug-in of detect-secrets, as far as it is used here."""

    @property
    def secret_type(self) -> str: ...

    def analyze_string(self, string: str) -> Iterable[str]: ...


@dataclass(frozen=True)
class _Prefixed:
    secret_type: str
    pattern: re.Pattern[str]

    def analyze_string(self, string: str) -> Iterable[str]:
        return self.pattern.findall(string)


@dataclass(frozen=True)
class _Sifted:
    """A plug-in, without those of its values that are known to be none."""

    plugin: RegexBasedDetector
    is_none: Callable[[str], bool]
    secret_type: str

    def analyze_string(self, string: str) -> Iterable[str]:
        return [value for value in self.plugin.analyze_string(string) if not self.is_none(value)]


@dataclass(frozen=True)
class _WholeMatch:
    """A plug-in whose groups hold a prefix, or nothing: its values are whole matches."""

    plugin: RegexBasedDetector
    secret_type: str

    def analyze_string(self, string: str) -> Iterable[str]:
        return [m[0] for pattern in self.plugin.denylist for m in pattern.finditer(string)]


@dataclass(frozen=True)
class _WholeLine:
    """A plug-in that decides by what else the line says, which only `analyze_line` knows."""

    plugin: BasePlugin
    secret_type: str

    def analyze_string(self, string: str) -> Iterable[str]:
        found = self.plugin.analyze_line(filename="", line=string)
        return [secret.secret_value or "" for secret in found]


@dataclass(frozen=True)
class Rule:
    """A detector, and needles of which every match of it holds one (or `pattern`).

    Attributes:
        token: for a detector whose expression takes more than linear time: matches from the needle
            on, with a group when there is something to find; the match is all the detector sees.
        several_lines: whether a match goes on after the line of its needle.
    """

    detector: _Detector
    needles: tuple[bytes, ...] = ()
    folded: bool = False
    pattern: re.Pattern[bytes] | None = None
    token: re.Pattern[bytes] | None = None
    several_lines: bool = False


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """The chosen plug-ins. Importing them takes a quarter of a second, once per process."""
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.discord import DiscordBotTokenDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.jwt import JwtTokenDetector
    from detect_secrets.plugins.mailchimp import MailchimpDetector
    from detect_secrets.plugins.npm import NpmDetector
    from detect_secrets.plugins.private_key import PrivateKeyDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.square_oauth import SquareOAuthDetector
    from detect_secrets.plugins.stripe import StripeDetector
    from detect_secrets.plugins.twilio import TwilioKeyDetector

    azure, github, npm = AzureStorageKeyDetector(), GitHubTokenDetector(), NpmDetector()
    aws = _Sifted(AWSKeyDetector(), is_no_aws_secret, AWSKeyDetector.secret_type)
    alphanumeric = (string.ascii_lowercase + string.digits).encode()
    return (
        Rule(aws, (b"A3T", b"ABIA", b"ACCA", b"AKIA", b"ASIA")),
        # where Python ignores case, a long s is an s
        Rule(aws, (b"aws", "aw\u017f".encode()), folded=True),
        Rule(_WholeLine(azure, azure.secret_type), (b"azure", b"account"), folded=True),
        # digits of other scripts are digits to Python, of up to four bytes each
        Rule(
            DiscordBotTokenDetector(),
            pattern=re.compile(rb"\.[\w\x80-\xff-]{6,24}\.[\w\x80-\xff-]{27}"),
        ),
        Rule(
            _WholeMatch(github, github.secret_type), (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")
        ),
        Rule(
            _Sifted(JwtTokenDetector(), is_sample_jwt, JwtTokenDetector.secret_type),
            (b"eyJ",),
            token=re.compile(rb"[A-Za-z0-9_=-]++(\.[A-Za-z0-9_=-][A-Za-z0-9_=./+-]*+)?"),
        ),
        Rule(MailchimpDetector(), tuple(b"-us%d" % digit for digit in range(10))),
        Rule(_WholeMatch(npm, npm.secret_type), (b"npm_", b"_authToken", b"NPM")),
        Rule(PrivateKeyDetector(), (b"PRIVATE KEY", b"PuTTY-User-Key-File-2"), several_lines=True),
        Rule(SendGridDetector(), (b"SG.",)),
        Rule(SlackDetector(), (b"xox", b"://hoo"), folded=True),
        Rule(SquareOAuthDetector(), (b"sq0csp-",)),
        Rule(StripeDetector(), (b"k_live_",)),
        Rule(
            TwilioKeyDetector(),
            tuple(b"%s%c" % (start, byte) for start in (b"AC", b"SK") for byte in alphanumeric),
        ),
        *(
            Rule(_Prefixed(kind, re.compile(pattern)), (needle.encode(),))
            for kind, (needle, pattern) in PREFIXED.items()
        ),
    )


_EMULATED: Final = b"devstoreaccount1"  # of Azure's emulator, whose one key its manual prints


@lru_cache(maxsize=1)
def _needles() -> tuple[Needles, tuple[Rule, ...]]:
    """All needles, and the rule of each."""
    every = [(Needle(text, rule.folded), rule) for rule in rules() for text in rule.needles]
    return Needles(needle for needle, _ in every), tuple(rule for _, rule in every)


def find_secrets(data: bytes) -> list[Finding]:
    """The secrets of a file, each (kind, line) once, in order of lines. Depends on nothing else."""
    needles, owners = _needles()
    places: dict[int, tuple[Rule, list[int]]] = {}
    for at, number in needles.find(data):
        rule = owners[number]
        places.setdefault(id(rule), (rule, []))[1].append(at)
    for rule in rules():
        if rule.pattern is not None:
            places[id(rule)] = rule, [match.start() for match in rule.pattern.finditer(data)]
    found = [finding for rule, starts in places.values() for finding in _look(rule, data, starts)]
    return sorted(set(found), key=lambda finding: (finding.line, finding.kind))


def _look(rule: Rule, data: bytes, starts: list[int]) -> Iterator[Finding]:
    starts.sort()
    done = 0
    for number, at in enumerate(starts):
        if at < done:
            continue
        if rule.token is not None:
            token = rule.token.match(data, at)
            assert token is not None
            start, stop = token.span()
            done = stop
            if token.lastindex is None:
                continue
        else:
            start, stop, done = _piece(data, at)
        if rule.several_lines:
            following = starts[number + 1] if number + 1 < len(starts) else len(data)
            stop, done = min(at + PIECE_BYTES, following), following
        piece = data[start:stop]
        if _EMULATED in piece:
            continue
        if rule.several_lines:
            if stands_in_documentation(piece):
                continue
            piece = _BETWEEN_LINES.sub(b"\n", piece)
        if any(real(value) for value in _values(rule.detector, piece.decode(errors="replace"))):
            yield Finding(rule.detector.secret_type, data.count(b"\n", 0, at) + 1)


def _piece(data: bytes, at: int) -> tuple[int, int, int]:
    """Bounds of the line around a needle, or of a piece of a long one; where to look for more."""
    above = data.rfind(b"\n", max(0, at - PIECE_BYTES), at)
    below = data.find(b"\n", at, at + PIECE_BYTES)
    if below < 0 and len(data) <= at + PIECE_BYTES:
        below = len(data)
    if below >= 0 and (above >= 0 or at <= PIECE_BYTES) and below - above <= PIECE_BYTES:
        return above + 1, below, below + 1
    start = max(above + 1, at - _BEFORE_BYTES)
    stop = min(below if below >= 0 else len(data), start + PIECE_BYTES)
    return start, stop, max(at + 1, min(stop, at + _STEP_BYTES))


def _values(detector: _Detector, text: str) -> Iterable[str]:
    try:
        return list(detector.analyze_string(text))
    except RecursionError:  # JSON in a token, nested deeper than any token's
        return ()


def real(value: str) -> bool:
    """Whether a value may be a secret at all, and not a placeholder in a text about secrets."""
    return not made_up(value)


@lru_cache(maxsize=1)
def several_lines() -> tuple[bytes, ...]:
    """Needles of what goes on after their line."""
    return tuple(needle for rule in rules() if rule.several_lines for needle in rule.needles)
