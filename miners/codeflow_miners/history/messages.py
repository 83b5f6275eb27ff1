"""Commit messages: bytes to text, and text to what may be published.

`decode` gives clean UTF-8 text whatever the bytes are. `clean` takes out what names people:
trailers, e-mail addresses, and the owner in the lines that hosts and git write for merges. A
trailer block is what `git interpret-trailers` sees: the last paragraph, not the first. Git also
takes a closing "Note: this matters" for one, so a block goes only if one of its keys is surely a
trailer's: hyphenated (`Change-Id`) or well known (`Cc`); then it goes whole. Lines that credit a
person (`Signed-off-by:`, `Cc:`) go wherever they stand: squashed commits carry them in the middle.

Kept: `@mentions`, which cannot be told from decorators, annotations and package scopes; and names
in running text. Cost: about 20 µs a message.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

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
    lines = message.split("\n")
    while (start := _trailer_start(lines)) is not None:
        del lines[start:]
    text = "\n".join(line for line in lines if not _CREDIT.match(line))
    return _tidy(_without_addresses(_without_owners(text)))


_CREDIT: Final = re.compile(
    r"[ \t]*(?:(?:[A-Za-z]+-)+by|cc|author|committer|co-author)[ \t]*:", re.IGNORECASE
)
_KNOWN_KEYS: Final = frozenset({"cc", "author", "committer", "link", "bug", "fixes", "closes"})
_GIT_MADE: Final = ("Signed-off-by: ", "(cherry picked from commit ")
_KEY: Final = re.compile(r"([A-Za-z0-9-]+)[ \t]*:")


def _trailer_start(lines: list[str]) -> int | None:
    """Where the trailer block begins that ends the message; None without a sure one.

    Git's rule, from the last line up to the first paragraph: every line is `key: value` or
    continues one, or at least a quarter are and one of them is of git's own making.
    """
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    trailers = others = continued = 0
    made = sure = False
    for at in range(end - 1, -1, -1):
        line = lines[at]
        if not line.strip():
            others += continued
            block = (made and trailers * 3 >= others) or (trailers > 0 and not others)
            return at if block and sure else None
        if line.startswith("#"):  # git reads a comment
            others += continued
            continued = 0
        elif line.startswith(_GIT_MADE):
            trailers, continued, made, sure = trailers + 1, 0, True, True
        elif (match := _KEY.match(line)) is not None:
            trailers, continued = trailers + 1, 0
            sure = sure or "-" in match[1].strip("-") or match[1].lower() in _KNOWN_KEYS
        elif line[0] in " \t":
            continued += 1
        else:
            others += 1 + continued
            continued = 0
    return None


_LOCAL: Final = r"[\w.!#$%&'*+=?^`{|}~-]"
# not a version, as in `actions/checkout@v4.x`; but the mail of 163.com and 139.com is
_DOMAIN: Final = r"(?!v?\d+\.(?!(?:com|cn|net|org)\b))(?:[\w-]++\.)+[A-Za-z]{2,}(?![\w-])"
_BRACKETED: Final = re.compile(r"[ \t]*<[^<>\s@]++@[^<>\s]++>")
_ADDRESS: Final = re.compile(
    rf"(?<!{_LOCAL}){_LOCAL}++(?:@|[ ]?[(\[][ ]?at[ ]?[)\]][ ]?)(?:{_DOMAIN}|localhost\b)"
)


def _without_addresses(text: str) -> str:
    """`Ann <ann@x.org>` becomes `Ann`; a bare address becomes `<email>`."""
    text = _BRACKETED.sub("", text)
    return _ADDRESS.sub("<email>", text)


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
