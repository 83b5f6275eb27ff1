"""E-mail and IP addresses out of what is shown to a model.

An address becomes a reserved one (RFC 2606, 5737, 3849), so code that parses addresses still
reads as such, and replacing twice changes nothing. Kept: reserved, private and loop-back
addresses, `git@host`, and what looks like a call or an index (`query@key.transpose(...)`).
Four numbers with dots that are a version and no address are replaced too.
"""

from __future__ import annotations

import ipaddress
import re

EMAIL = "user@example.com"
IPV4 = "192.0.2.1"
IPV6 = "2001:db8::1"

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+\-])([A-Za-z0-9._%+\-]{1,64})"
    r"@((?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w(\[\-])"
)
_IP = re.compile(
    r"(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\w|\.\d)"
    r"|(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{6,39}(?![\w:.])"
)
_RESERVED = re.compile(r"(?:.*\.)?(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)", re.I)


def scrub(text: str) -> str:
    """The text with every address in it replaced."""
    if "@" in text:
        text = _EMAIL.sub(_email, text)
    return _IP.sub(_ip, text)


def scrub_added(new: str, old: str) -> str:
    """`new` with the addresses replaced on those of its lines that `old` does not have."""
    scrubbed = scrub(new)
    if scrubbed == new:
        return new
    known = set(old.split("\n"))
    pairs = zip(new.split("\n"), scrubbed.split("\n"), strict=True)
    return "\n".join(line if line in known else clean for line, clean in pairs)


def scrub_patch(patch: str) -> str:
    """A patch with the addresses replaced on its added lines. `+++ b/PATH` is none of them."""
    scrubbed = scrub(patch)
    if scrubbed == patch:
        return patch
    lines = patch.split("\n")
    old_left = new_left = 0
    for number, line in enumerate(lines):
        sign = line[:1]
        if old_left or new_left:
            old_left -= sign in "- "
            new_left -= sign in "+ "
            if sign == "+":
                lines[number] = "+" + scrub(line[1:])
        elif line.startswith("@@ "):
            old_left, new_left = _counts(line)
    return "\n".join(lines)


_COUNTS = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def _counts(line: str) -> tuple[int, int]:
    """Old and new lines of a hunk, from its header."""
    match = _COUNTS.match(line)
    assert match is not None, line
    return int(match[1] or 1), int(match[2] or 1)


def _email(match: re.Match[str]) -> str:
    if match[1] == "git" or _RESERVED.fullmatch(match[2]):
        return match[0]
    return EMAIL


def _ip(match: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return match[0]
    if not address.is_global:
        return match[0]
    return IPV4 if address.version == 4 else IPV6
