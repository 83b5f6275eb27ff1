"""E-mail addresses of people in text and code: the one definition, for messages and documents.

Shape alone does not tell `ann@acme.io` from `logo@2x.png`, `this@Main.title` or `x@self.weight`.
What does: the domain must end in a public suffix (the list of publicsuffixlist, which ships with
it), be spelled as domains are, and not stand where code stands. These name nobody and are no
addresses of people: reserved domains (RFC 2606), accounts of a service (`git@host`), locations
(`ssh://ann@host/`, `ann@host:src/x`), placeholders (`%s@acme.io`), versions (`pkg@1.2.3`).

Non-ASCII addresses, punycode, quoted local parts, `ann (at) acme.io`, `ann%40acme.io` and Perl's
`ann\\@acme.io` are found. IP addresses are in `text/ip.py`. Cost: 10 µs a candidate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Final, NamedTuple

from publicsuffixlist import PublicSuffixList

_SEPARATOR: Final = re.compile(r"\\?@|%40|[ ]?[(\[][ ]?(?i:at)[ ]?[)\]][ ]?")
_LOCAL: Final = re.compile(
    r'''(?:"(?:[^"\\\r\n@]|\\[^\r\n]){1,64}"'''
    r"|(?<![\w.+%-])(?:[\w.+-]|%(?!40)|(?<=\b[OoDd])'(?=[^\W\d_])){1,64})\Z"
)
_LOCAL_CHARS: Final = 66
_DOMAIN: Final = re.compile(
    r"(?P<domain>(?:[^\W_](?:[^\W_]|-){0,62}\.){1,8}(?:[^\W_]|-){2,63})(?P<follows>[\w(\[]?)"
)
_RESERVED: Final = re.compile(r"(?:.*\.)?(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)")
_SERVICES: Final = frozenset("git hg svn bzr cvs gitea gogs forgejo gitolite gerrit aur".split())  # noqa: SIM905
_LABELS_OF_CODE: Final = frozenset("self this super cls".split())  # noqa: SIM905
_LOCALS_OF_CODE: Final = frozenset("this super break continue".split())  # noqa: SIM905
# Public suffixes that are also what code calls a member; there the context has to say "address".
_MEMBERS: Final = frozenset(
    """abs call case data date day dot final free host id int like link map mov name new next now
    open page parts pay pid pin play plus post prime prod property read rest room run save search
    select show star stream style tab total view you zero zip""".split()  # noqa: SIM905
)
_FILE_ENDINGS: Final = frozenset("ai cab cc md mov pl ps py rs sh so zip".split())  # noqa: SIM905
_OLD_SUFFIXES: Final = frozenset("com org net edu gov".split())  # noqa: SIM905
_SAYS_ADDRESS: Final = re.compile(
    r"(?:<|mailto:|\b(?:e-?mails?|mail|contact|authors?|maintainers?|cc)\b.{0,40})$",
    re.IGNORECASE,
)
_IN_URL: Final = re.compile(
    r"\b(?!(?:mailto|sips?|xmpp|acct)\b)[a-z][a-z0-9+.-]{0,19}://[^\s/@]*$", re.I
)
_PATH_FOLLOWS: Final = re.compile(r":(?:[~\w.-]{0,64}/[\w~.-]|[\w.-]{1,64}\.git\b)")
_PLACEHOLDER: Final = re.compile(r"(?:.*%\(?\w*\)?[sdv]|.*%)")
_SCRIPT_BREAK: Final = re.compile(r".*[\u3000-\u9fff\uac00-\ud7af\uff00-\uffef](?=[!-~]+\Z)")
_ASCII_LABEL: Final = re.compile(r"[A-Za-z]{2,63}(?=[^\x00-\x7f])")
_VERSION: Final = re.compile(r"v?\d+")
_DENSITY: Final = re.compile(r"\dx(?:\.|\Z)|\d\.\dx\.")
_CONTEXT: Final = 64


class Email(NamedTuple):
    """An address in a text: where it stands, and its separator as it is written."""

    start: int
    end: int
    at: str


def emails(text: str) -> Iterator[Email]:
    """The e-mail addresses of people in a text, in order. None crosses a line."""
    done = 0
    for at in _SEPARATOR.finditer(text):
        if at.start() < done or (domain := _DOMAIN.match(text, at.end())) is None:
            continue
        local = _LOCAL.search(text, max(done, at.start() - _LOCAL_CHARS), at.start())
        if local is not None and (found := _judge(text, local, at[0], domain)) is not None:
            yield found
            done = found.end


def replace_emails(text: str, replacement: Callable[[Email], str]) -> str:
    """The text with each address replaced."""
    parts = []
    at = 0
    for email in emails(text):
        parts += [text[at : email.start], replacement(email)]
        at = email.end
    return "".join(parts) + text[at:] if parts else text


def is_email(word: str) -> bool:
    """Whether a word is an e-mail address, and nothing else."""
    return next(emails(word), None) == (0, len(word), "@")


def _judge(text: str, of: re.Match[str], at: str, domain_of: re.Match[str]) -> Email | None:
    start = _local_start(text, of, at)
    length = _domain_length(domain_of["domain"], domain_of["follows"])
    if start is None or length is None:
        return None
    local, end = text[start : of.end()], domain_of.start() + length
    domain = domain_of["domain"][:length].lower()
    if local.lower() in _SERVICES or _RESERVED.fullmatch(domain):
        return None
    before = text[max(0, start - _CONTEXT) : start].rpartition("\n")[2]
    if at == "@" and (_IN_URL.search(before) or _PATH_FOLLOWS.match(text, end)):
        return None
    suffix = domain.rpartition(".")[2]
    if suffix in _FILE_ENDINGS and before.endswith("/"):
        return None
    if suffix in _MEMBERS and domain.count(".") == 1 and not _corroborated(text, before, end):
        return None
    return Email(start, end, at)


def _corroborated(text: str, before: str, end: int) -> bool:
    """Whether what stands around says that this is an address: quotes, brackets, a word."""
    quotes = {'"': '"', "'": "'", "`": "`"}
    quoted = before[-1:] in quotes and text[end : end + 1] == quotes[before[-1]]
    return quoted or _SAYS_ADDRESS.search(before) is not None


def _local_start(text: str, match: re.Match[str], at: str) -> int | None:
    """Where the local part begins, without what only touches it; None if it is none."""
    start, local = match.start(), match[0]
    if local.startswith('"'):
        return start if at == "@" else None
    if text[start - 1 : start] == "\\" and local[0] in "abfnrtv":  # "\nann@acme.io" in a string
        start, local = start + 1, local[1:]
    if (cut := _SCRIPT_BREAK.match(local)) is not None:  # no blanks in Chinese or Japanese
        start, local = start + cut.end(), local[cut.end() :]
    bare = local.lstrip(".+%-")
    start += len(local) - len(bare)
    if not bare or bare.endswith(".") or ".." in bare or bare in _LOCALS_OF_CODE:
        return None
    if _PLACEHOLDER.fullmatch(local) or text[start - 1 : start] in {"$", "}", ")"}:
        return None
    return start


def _domain_length(domain: str, follows: str) -> int | None:
    """How much of what looks like a domain is one; None if nothing is."""
    labels = domain.split(".")
    for count in range(len(labels), 1, -1):
        taken = labels[:count]
        if (ascii_label := _ASCII_LABEL.match(taken[-1])) is not None:
            taken[-1], followed = ascii_label[0], ""  # prose of another script goes on
        elif count == len(labels):
            followed = follows
        else:  # "ann@acme.io.The next sentence"
            followed = "" if labels[count][:1].isupper() else "."
        if _is_domain(taken, followed):
            return len(".".join(taken))
    return None


def _is_domain(labels: list[str], follows: str) -> bool:
    """Whether these are the labels of a domain that people have."""
    suffix = labels[-1]
    if follows and (follows not in "([" or suffix.lower() not in _OLD_SUFFIXES):
        return False
    if any(label.startswith("-") or label.endswith("-") for label in labels):
        return False
    if suffix[0].isupper() and suffix[1:].islower():  # `n@Node.Name`; but "Ann@Acme.Com"
        if suffix.lower() not in _OLD_SUFFIXES:
            return False
    elif not (suffix.islower() or suffix.isupper() or not suffix.isascii() or "--" in suffix):
        return False
    if labels[0].lower() in _LABELS_OF_CODE or suffix.lower() == "target":  # a unit of systemd
        return False
    domain = ".".join(labels).lower()
    if _DENSITY.match(domain):  # logo@2x.png
        return False
    if _VERSION.fullmatch(labels[0]) and (len(labels) > 2 or suffix.lower() not in _NUMBERED):
        return False
    return _registrable(domain)


_NUMBERED: Final = frozenset("com cn net org".split())  # noqa: SIM905  163.com and the like


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False, only_icann=True)


@lru_cache(maxsize=4096)
def _registrable(domain: str) -> bool:
    """Whether the domain lies below a public suffix."""
    return _suffixes().privatesuffix(domain) is not None


# in a traceback, or an absolute path in running text; not the path of a URL
_FOLDERS = re.compile(r"""(?<=File ")[^"\n]*/|(?<![\w.~/-])/(?:[^\s/:'"]+/)+""")


def without_folders(text: str) -> str:
    """A ledger is published: the folders of this machine, and whose they are, stay out of it."""
    return _FOLDERS.sub("", text)
