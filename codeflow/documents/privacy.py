"""E-mail and IP addresses out of what is shown to a model.

An address becomes a reserved one (RFC 2606, 5737, 3849), so code that parses addresses still
reads as such, and replacing twice changes nothing. What an address is, and what only looks like
one, is said in `codeflow/text`.
"""

from __future__ import annotations

import re

from codeflow.text.ip import replace_ips
from codeflow.text.privacy import Email, replace_emails

EMAIL = "user@example.com"
IPV4 = "192.0.2.1"
IPV6 = "2001:db8::1"


def scrub(text: str) -> str:
    """The text with every address in it replaced. Its lines stay lines."""
    return replace_ips(replace_emails(text, _reserved), IPV4, IPV6)


def _reserved(email: Email) -> str:
    return EMAIL.replace("@", email.at)


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
