"""What git's complaints about a remote mean: whose fault it is, and whether it may pass."""

from __future__ import annotations

import errno
import re
from typing import Final
from urllib.parse import unquote

from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.acquire.answers import Answer
from codeflow_miners.acquire.git import GitFailedError
from codeflow_miners.acquire.repositories import Source

_STALLED = re.compile(r"operation too slow", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"could ?n[o']t resolve host|temporary failure in name resolution|failed to connect"
    r"|connection (?:was )?(?:refused|reset|closed|timed out)|operation timed out|timed? ?out"
    r"|unexpected disconnect|early eof|hung up unexpectedly|rpc failed|operation too slow"
    r"|network is unreachable|no route to host|error: (?:429|5\d\d)|gnutls"
    r"|ssl_(?:read|connect|err)|empty reply|transfer closed|not closed cleanly|premature end",
    re.IGNORECASE,
)
_NO_SPACE: Final = "No space left on device"
_NO_ACCESS = re.compile(
    r"could not read (?:username|password)|authentication failed|permission denied"
    r"|error: 40[13]|host key verification",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"repository .*not found|does not (?:exist|appear to be a git repository)|error: 404"
    r"|access denied or repository not exported",
    re.IGNORECASE,
)


def is_transient(error: GitFailedError) -> bool:
    """Whether it may pass by itself."""
    text = error.stderr
    return bool(_TRANSIENT.search(text)) and not (_NO_ACCESS.search(text) or _MISSING.search(text))


def explained(error: GitFailedError, answer: Answer, source: Source) -> RepositoryError:
    """The error as a rule and a reason that may be stored: no secrets, no paths of this machine.

    Raises:
        OSError: the disk is full.
    """
    if _NO_SPACE in error.stderr:
        raise OSError(errno.ENOSPC, _NO_SPACE)
    reason = error.reason.replace(source.location, source.url)
    if source.location.startswith("file://"):
        reason = reason.replace(unquote(source.location.removeprefix("file://")), source.url)
    if answer.wait_s is not None:
        asked = f"the server asks to wait {answer.wait_s:.0f} s ({reason})"
        return LimitExceededError("rate-limited", asked, deterministic=False)
    if _NO_ACCESS.search(error.stderr):
        return RepositoryError("no-access", f"it does not exist or needs a login ({reason})")
    if _MISSING.search(error.stderr):
        return RepositoryError("missing", f"there is no repository at this URL ({reason})")
    if _STALLED.search(error.stderr):
        return RepositoryError("stalled", f"the server stopped sending ({reason})")
    if _TRANSIENT.search(error.stderr):
        return RepositoryError("unreachable", reason)
    return RepositoryError("clone-failed", reason)
