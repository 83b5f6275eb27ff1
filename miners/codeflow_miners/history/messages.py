"""Commit messages: bytes to text, and text to what may be published.

`decode` gives clean UTF-8 text whatever the bytes are. `clean` takes out what names people:
trailers (`trailers.py`), e-mail addresses, and the owner in the lines that hosts and git write for
merges.

Kept: `@mentions`, which cannot be told from decorators, annotations and package scopes; and names
in running text. Cost: about 20 µs a message.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from codeflow.text.privacy import is_email, replace_emails
from codeflow_miners.history.trailers import strip

# Codecs of Python that are no character sets, or that differ between platforms.
_NO_CHARSET: Final = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"}
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TRAILING: Final = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
_BLANK_LINES: Final = re.compile(r"\n{3,}")


def decode(raw: bytes, encoding: bytes | None) -> str:
    """The text of a raw message: by its `encoding` header, else UTF-8, else with U+FFFD.

    Never raises. Line ends become `\\n`; control characters other than tab go; trailing blanks,
    blank lines at both ends, and all but one of several blank lines go, as in `git stripspace`.
    """
    text = _by_header(raw, encoding)
    if text is None:
        text = raw.decode("utf-8", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _tidy(_CONTROL.sub("", text))


def _by_header(raw: bytes, encoding: bytes | None) -> str | None:
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding.decode("ascii").strip()).name
        if name in _NO_CHARSET:
            return None
        text = raw.decode(name)
        text.encode("utf-8")  # some codecs give lone surrogates, which are no text
    except (LookupError, ValueError):  # unknown, or the bytes are something else
        return None
    return text


def _tidy(text: str) -> str:
    return _BLANK_LINES.sub("\n\n", _TRAILING.sub("", text)).strip("\n")


def subject(message: str) -> str:
    """The first paragraph on one line, as `%s` of `git log` gives it."""
    lines: list[str] = []
    for line in message.split("\n"):
        stripped = line.rstrip(" \t\r")
        if stripped:
            lines.append(stripped)
        elif lines:
            break
    return " ".join(lines)


def clean(message: str) -> str:
    """A decoded message without trailers, addresses and owners. May come out empty.

    To be applied once: of "from owner/fix/x" it leaves "from fix/x", which looks like an owner's.
    """
    text = "\n".join(strip(message.split("\n")))
    return _tidy(_without_addresses(_without_owners(text)))


_BRACKETED: Final = re.compile(r"[ \t]*<([^<>\s@]++@[^<>\s@:/]++)>")


def _without_addresses(text: str) -> str:
    """`Ann <ann@x.org>` becomes `Ann`; a bare address becomes `<email>`.

    In brackets after a name it need not be one of the net: `Ann <ann@box>`.
    """
    if "@" in text:
        text = _BRACKETED.sub(_bracketed, text)
    return replace_emails(text, lambda _: "<email>")


def _bracketed(match: re.Match[str]) -> str:
    named = match[0][0] in " \t" and match.string[match.start() - 1 : match.start()].isalpha()
    local_host = named and re.fullmatch(
        r"[\w.+-]+@[\w-]+(?:\.(?:local\w*|lan|\(none\)))?", match[1]
    )
    return "" if local_host or is_email(match[1]) else match[0]


# git: "Merge branch 'x' of host:owner/repo into y"; also several, tags, commits
_OF_REMOTE: Final = re.compile(
    r"(?<=') of (?:[a-z+]+://\S+|[\w.@-]+:[^\s,]+|[\w.-]+/[\w./-]+)(?<!,)"
)
_OWNERS: Final = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        # GitHub: "Merge pull request #12 from owner/branch"
        (r"\b(Merge (?:pull request|PR) #\d+ from )[^\s/:]+[/:](?=\S)", r"\1"),
        # git: "Merge remote-tracking branch 'owner/x'", where remotes are named for people
        (
            r"\b(Merge (?:remote(?:-tracking)? branch|commit) ')"
            r"(?!refs/|origin/|upstream/)[^\s/']+/(?=[^\s'])",
            r"\1",
        ),
        # git: "Merge https://host/owner/repo", "Merge host:owner/repo"
        (r"^([^\w\n]{0,8}Merge )(?:[a-z+]+://|[\w.@-]+:)[^\s/]*(?:/\S*)?/(?=[^\s/])", r"\1"),
        # Bitbucket: "Merged in owner/branch (pull request #3)"
        (r"^([^\w\n]{0,8}Merged in )[^\s/]+/(?=\S+ \(pull request)", r"\1"),
        # Bitbucket Server: "Merge in PROJECT/repo from ~OWNER/repo:branch to main"
        (r"^(Merge )in \S+ (from )[^\s:]+:(?=\S+ to )", r"\1\2"),
        # GitLab: "See merge request owner/repo!12"
        (r"^(See merge request )\S+(?=!\d)", r"\1"),
        # bors: "Auto merge of #12 - owner:branch, r=reviewer"
        (r"^([^\w\n]{0,8}(?:Auto|Rollup) merge of #\d+ - )[^\s:]+:(?=\S)", r"\1"),
        (r"^([^\w\n]{0,8}(?:Auto|Rollup) merge of #\d+ - \S+?),? r=\S+", r"\1"),
    )
)


def _without_owners(text: str) -> str:
    if "erge" in text:  # of every pattern below; most messages have none
        if "' of " in text:
            lines = text.split("\n")
            text = "\n".join(_OF_REMOTE.sub("", x) if "Merge " in x else x for x in lines)
        for pattern, replacement in _OWNERS:
            text = pattern.sub(replacement, text)
    return text
