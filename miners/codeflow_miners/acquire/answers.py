"""What a web server said when it refused: its status, and when to come back. git does not tell.

git writes the headers that it received to a file (`GIT_TRACE_CURL`), with secrets taken out. The
last answer in it is the one that git gave up on.
"""

from __future__ import annotations

import email.utils
import re
from pathlib import Path
from typing import Final, NamedTuple

_HEADER: Final = re.compile(r"<= Recv header: ([^\r\n]*)")
_STATUS: Final = re.compile(r"HTTP/[\d.]+ (\d{3})")
_LIMIT_TEXT: Final = re.compile(r"rate limit|too many requests|abuse detection", re.IGNORECASE)
_UNTOLD_WAIT_S: Final = 60.0
"""What GitHub asks for after a secondary limit that names no time (docs.github.com, "Rate limits
for the REST API")."""


class Answer(NamedTuple):
    """The last answer of a server.

    Attributes:
        status: of HTTP; None where no server answered.
        wait_s: seconds until it wants to be asked again, where it limits how often it is asked;
            None for any other answer.
    """

    status: int | None = None
    wait_s: float | None = None


def read_answer(trace: Path, complaint: str, now: float) -> Answer:
    """The last answer of a server.

    Args:
        trace: what git wrote; it may be missing.
        complaint: what git said, which holds the words of the server.
        now: seconds since 1970, for times of day.
    """
    try:
        lines = trace.read_text("utf-8", "replace")
    except OSError:
        return Answer()
    status, headers = None, dict[str, str]()
    for line in _HEADER.findall(lines):
        if found := _STATUS.match(line):
            status, headers = int(found[1]), {}
        else:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
    return Answer(status, _wait_s(status, headers, complaint, now))


def _wait_s(
    status: int | None, headers: dict[str, str], complaint: str, now: float
) -> float | None:
    """RFC 9110, section 10.2.3 (Retry-After), and the headers of GitHub, GitLab and their kin."""
    if status not in (403, 429, 503):
        return None
    if "retry-after" in headers:
        told = _seconds(headers["retry-after"], now)
        if told is not None:
            return told
    for name in ("x-ratelimit", "ratelimit"):
        if headers.get(f"{name}-remaining") == "0":
            reset = headers.get(f"{name}-reset", "")
            at = float(reset) if reset.isdecimal() else now + _UNTOLD_WAIT_S
            return max(0.0, at - now if at > now / 2 else at)  # a moment, or seconds from now
    if status == 429 or (status == 403 and _LIMIT_TEXT.search(complaint)):
        return _UNTOLD_WAIT_S
    return None


def _seconds(value: str, now: float) -> float | None:
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
