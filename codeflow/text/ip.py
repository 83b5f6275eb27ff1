"""Public IP addresses in text and code: the one definition.

`ipaddress` is the judge of what an address is. Kept, because they name no machine of anyone:
private, loop-back, documentation (RFC 5737, 3849), multicast and other special ranges, netmasks
and networks that end in `.0.0`. What `ipaddress` cannot know is whether four numbers are a version
(`Version=4.0.30.1`, `pkg-1.2.3.4.tar.gz`) and whether `a::b` is a scope or a slice: there the
context decides. Without any, four numbers below 32 are a version: 1 in 4,096 addresses looks so.
Of IPv6 only 2000::/3 is given out, so `db::add` is none.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

_V4: Final = re.compile(r"[0-9](?<![\w.].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])")
_V6: Final = re.compile(r"[23](?<![\w.].)[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{1,40}(?!\w|\.\d)")
_SMALL: Final = 32
_CONTEXT: Final = 48

_VERSION_BEFORE: Final = re.compile(
    r"""(?:(?:version|release|revision|build|firmware|driver|sdk)\w*[\s"'`:=>(\[{,]{0,6}
    |\b(?:ver|rev|v)[.:=]?\s{0,2}
    |(?:[=~<>!]=|[~^]>?)\s?
    |(?:\b(?:section|sec|chapter|clause|figure|table|oid)\b\.?|§)[\s:="'(]{0,3}
    |\b(?!(?:ip|ip4|ipv4|host|addr|address|dns|server|tcp|udp|from|to)[-_/])[A-Za-z][\w.+]{0,30}[-_/])$""",
    re.IGNORECASE | re.VERBOSE,
)
_VERSION_AFTER: Final = re.compile(
    r"-(?:snapshot|rc|alpha|beta|dev|pre|release|final|ga)\b"
    r"|\.(?:release|final|ga|tar|tgz|zip|jar|dll|exe|deb|rpm|whl|gem|nupkg|msi|dmg|apk|so)\b",
    re.IGNORECASE,
)
_ADDRESS_BEFORE: Final = re.compile(
    r"(?:(?:\b|_)(?:ip|ips|ipv4|ip4|addr\w*|host\w*|server\w*|dns|nameservers?|resolver|gateway|peer"
    r"|bind|listen|remote\w*|client\w*|ping|connect\w*|proxy|route\w*|subnet|cidr|network|inet"
    r"|endpoint|allow|deny|ssh|curl|tcp|udp)(?:\b|_)[^;\n]{0,24}|(?:ip|addr|address|host)[\s\"'`:=(\[]{1,6}"
    r"|://(?:[^\s/]*@)?)$",
    re.IGNORECASE,
)
_ADDRESS_AFTER: Final = re.compile(r":\d{2,5}\b|/\d{1,2}\b")
# attributes of X.509 and ASN.1, which are written with four numbers
_OID: Final = re.compile(r"2\.5\.(?:4|29|8|6)\.\d+|1\.3\.6\.1|1\.3\.14\.\d+|0\.9\.\d+\.\d+")


def replace_ips(text: str, ipv4: str, ipv6: str) -> str:
    """The text with each public address replaced by one of its kind."""
    text = _V4.sub(_replacing(_is_v4, ipv4), text)
    return _V6.sub(_replacing(_v6, ipv6), text)


def _replacing(
    judge: Callable[[re.Match[str]], str | None], replacement: str
) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        found = judge(match)
        return match[0] if found is None else replacement + match[0][len(found) :]

    return replace


def _before(match: re.Match[str]) -> str:
    text, start = match.string, match.start()
    return text[max(0, start - _CONTEXT) : start].rpartition("\n")[2]


def _is_v4(match: re.Match[str]) -> str | None:
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return None
    octets = address.packed
    if not address.is_global or address.is_multicast or octets[2:] == b"\0\0":
        return None
    before, text, end = _before(match), match.string, match.end()
    if _VERSION_BEFORE.search(before) or _VERSION_AFTER.match(text, end):
        return None
    if _OID.fullmatch(match[0]) and not _ADDRESS_AFTER.match(text, end):
        return None
    if max(octets) >= _SMALL or octets[:1] * 2 + octets[2:3] * 2 == octets:  # 8.8.4.4 is no version
        return match[0]
    says_address = _ADDRESS_BEFORE.search(before) or _ADDRESS_AFTER.match(text, end)
    return match[0] if says_address else None


def _v6(match: re.Match[str]) -> str | None:
    found = match[0]
    if found.endswith(":") and not found.endswith("::"):  # "2a00::1: timed out"
        found = found[:-1]
    before = _before(match)
    if before.endswith("::") or re.search(r"(?<!\w)[0-9A-Fa-f]{1,4}:$", before):
        return None  # the middle of something longer
    try:
        address = ipaddress.IPv6Address(found)
    except ValueError:
        return None
    if found.count(":") <= 2 and re.fullmatch(r"[\d:]+", found):  # x[2000::2]
        return None
    return found if address.is_global else None
