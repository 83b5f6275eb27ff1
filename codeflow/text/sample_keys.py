"""Which keys and tokens are no secrets although they have the form: samples, and what proves it.

A value is a sample when it says so or is a pattern (EXAMPLE, runs of letters in order, few
different characters); when a provider's manual or an RFC prints it; when it is a token that anyone
can make (`alg: none`, no signature) or that is signed with the word from a tutorial. A secret key
of AWS has forty letters of both cases and digits: forty hex digits beside the word are the id of a
commit. A private key in a test, in documentation or in a documentation comment is there to be read;
nothing guards anything with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

_MADE_UP: Final = re.compile(
    r"(?i:example|dummy|placeholder|redacted|changeme|sample|fake|foobar|deadbeef|x{8}|0{12}"
    r"|1234567890|not[-_]?a[-_]?real|your[-_](?:api|secret|token|key|access))"
)
_DISTINCT: Final = 8
_IN_ORDER: Final = 8  # characters, each the next of the alphabet or of the digits

# As printed in the manuals of Slack, Google Maps, Firebase, Discord and GitHub.
_DOCUMENTED: Final = frozenset({
    "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy",
    "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe", "AIzaSyDOCAbC123dEf456GhI789jKl012-MnO",
    "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "gho_16C7e42F292c6912E7710c838347Ae178B4a",
})  # fmt: skip
# How the private keys of RFC 7468, RFC 8410 and Vagrant's public box begin.
_DOCUMENTED_KEYS: Final = (
    "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgVcB",
    "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp",
    "MIIEogIBAAKCAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8",
)
# What tutorials and jwt.io sign with.
_TUTORIAL_SECRETS: Final = (
    "secret", "your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret",
    "a-string-secret-at-least-256-bits-long", "password", "key", "test", "secretkey", "secret_key",
    "secret-key", "mysecret", "my-secret", "my_secret", "supersecret", "super-secret", "shhhhh",
    "changeme", "qwertyuiopasdfghjklzxcvbnm123456", "",
)  # fmt: skip
_HMAC: Final = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
_SAMPLE_NAMES: Final = re.compile(r"(?i:(?:john|jane)[ ._]?doe|alice|foo|bar)\b")

_SAMPLE_FILE: Final = re.compile(
    r"(?:^|/)(?:(?:(?:[\w-]+[-_.])?tests?|testing|[a-z]+Test|__tests__|specs?|e2e|testdata"
    r"|test[-_]?(?:data|resources|fixtures|support|utils?)|fixtures?|mocks?|__mocks__"
    r"|examples?|samples?|demos?|playgrounds?|docs?|documentation|javadoc|man|website)/"
    r"|(?:readme|changelog|changes|history|news|contributing|security|install|upgrading)\b[^/]*\Z"
    r"|(?:tests?[-_.][^/]*|[^/]*[-_.](?:tests?|specs?)\.[a-z]+|[^/]*Tests?\.[a-z]+)\Z"
    r"|[^/]*\.(?:md|markdown|rst|adoc|asciidoc|mdx|rdoc|textile|org|pod|html?|tex|ipynb)\Z)",
    re.ASCII,
)
_IN_DOCUMENTATION: Final = re.compile(rb"[^\n]{0,40}\n[ \t]*\*+[ \t]")


def made_up(value: str) -> bool:
    """Whether a value is plainly no secret: it says so, is a pattern, or is printed in a manual."""
    return (
        len(set(value)) < _DISTINCT
        or _MADE_UP.search(value) is not None
        or _runs_in_order(value)
        or value in _DOCUMENTED
        or value.lstrip("\n\\r ").startswith(_DOCUMENTED_KEYS)
    )


def _runs_in_order(value: str) -> bool:
    length = 1
    for before, character in pairwise(value):
        length = length + 1 if ord(character) == ord(before) + 1 else 1
        if length >= _IN_ORDER:
            return True
    return False


def is_no_aws_secret(value: str) -> bool:
    """Whether forty characters lack what all secret keys of AWS have, as the id of a commit does.

    One key in a thousand has no digit; words and paths have none as a rule.
    """
    if len(value) != 40:  # the id of a key, not the key
        return False
    kinds = (str.isupper, str.islower, str.isdigit)
    return re.fullmatch(r"[0-9a-fA-F]+", value) is not None or not all(
        any(map(kind, value)) for kind in kinds
    )


@lru_cache(maxsize=1024)
def is_sample_jwt(token: str) -> bool:
    """Whether a well-formed token is unsigned, or a sample by what it says or is signed with."""
    head, payload, *signature = token.split(".")
    header = _decoded(head)
    if not isinstance(header, dict) or str(header.get("alg", "")).lower() == "none":
        return True
    if not signature or not signature[0]:
        return True
    claims = json.dumps(_decoded(payload), ensure_ascii=False)
    if _MADE_UP.search(claims) or _SAMPLE_NAMES.search(claims):
        return True
    method = _HMAC.get(str(header["alg"]) if "alg" in header else "")
    signed = f"{head}.{payload}".encode()
    made = signature[0].rstrip("=")
    return method is not None and any(
        _encoded(hmac.digest(secret.encode(), signed, method)) == made
        for secret in _TUTORIAL_SECRETS
    )


def _decoded(part: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_sample_file(path: str) -> bool:
    """Whether a private key in this file is there to be read: tests, samples, documentation."""
    return _SAMPLE_FILE.search(path) is not None


def stands_in_documentation(key: bytes) -> bool:
    """Whether a private key, from its first line on, is in a comment of the form `/** ... */`."""
    return _IN_DOCUMENTATION.match(key) is not None
