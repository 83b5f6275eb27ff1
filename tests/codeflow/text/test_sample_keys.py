"""Samples that have the form of a secret, and real ones beside them that must be found.

Signatures come from hmac, samples from the manuals and RFCs that are named; real values are random.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import string
from typing import Any

import pytest

from codeflow.text.secrets import find_secrets
from codeflow_filters.secrets import Secrets
from triples import plant

DRAW = random.Random(11)


def some(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(DRAW.choices(alphabet, k=length))


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def jwt(header: dict[str, Any], claims: Any, secret: str | None = None) -> str:
    signed = f"{part(header)}.{part(claims)}"
    if secret is None:
        return f"{signed}.{some(43)}"
    method = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[header["alg"]]
    made = hmac.new(secret.encode(), signed.encode(), method).digest()
    return f"{signed}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


CLAIMS = {"sub": "u-8842197", "iss": "https://login.acme-industries.com", "scope": "deploy"}
COMMIT = hashlib.sha1(b"x").hexdigest()
KEY = "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n"

SAMPLES = {
    "a commit beside the words": f"aws_sdk_key_commit = '{COMMIT}'",
    "in capitals": f"AWS KEY {COMMIT.upper()}",
    "in a message": f"# aws: fix the key of {COMMIT}",
    "a path of forty": "aws key /home/build/go/src/github/aws/service/keyid",
    "AWS's id": "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
    "AWS's other id": "AKIAI44QH8DHBEXAMPLE",
    "AWS's key": "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "no algorithm": jwt({"alg": "none"}, CLAIMS),
    "no algorithm, in other case": jwt({"typ": "JWT", "alg": "NONE"}, CLAIMS),
    "no signature": f"{part({'alg': 'HS256'})}.{part(CLAIMS)}.",
    # RFC 7519, section 6.1
    "RFC 7519": "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l"
    "eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    # RFC 7515, appendix A.1
    "RFC 7515": "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTk"
    "zODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "jwt.io": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4g"
    "RG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "signed with a tutorial's word": jwt({"alg": "HS256"}, CLAIMS, "secret"),
    "in a longer hash": jwt({"alg": "HS512", "typ": "JWT"}, CLAIMS, "your-512-bit-secret"),
    "letters in order": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "GitHub's manual": "Authorization: Bearer gho_16C7e42F292c6912E7710c838347Ae178B4a",
    # RFC 8410, section 10.3
    "RFC 8410": KEY.replace("RSA ", "").format(
        "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC"
    ),
    "documentation of a method": "/**\n * -----BEGIN PRIVATE KEY-----\n * "
    + some(64) + "\n * " + some(64) + "\n * -----END PRIVATE KEY-----\n */\n",
}  # fmt: skip
REAL = {
    "key of AWS": f"aws_secret_access_key = '{some(20)}aZ3/{some(16)}'",
    "id of AWS": f"key = 'AKIA{some(16, string.ascii_uppercase + '234567')}'",
    "signed token": jwt({"alg": "HS256", "typ": "JWT"}, CLAIMS, some(40)),
    "token signed with a key pair": jwt({"alg": "RS256"}, CLAIMS),
    "commit and key": f"aws_key = '{some(18)}aZ3/{some(18)}'  # since {COMMIT}",
    "private key": KEY.format(some(64)),
    "commented-out key": "".join(f"# {line}\n" for line in KEY.format(some(64)).splitlines()),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_no_secrets(name: str) -> None:
    assert find_secrets(f"first\n{SAMPLES[name]}\nlast\n".encode()) == []


@pytest.mark.parametrize("name", REAL)
def test_real_ones_are_found(name: str) -> None:
    assert [f.line for f in find_secrets(f"first\n{REAL[name]}\nlast\n".encode())] == [2]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("README.md", True),
        ("docs/tls.txt", True),
        ("src/test/java/okhttp3/HeldCertificateTest.kt", True),
        ("okhttp-tls/src/jvmTest/java/Held.kt", True),
        ("tests/certs/server.key", True),
        ("pkg/tls/testdata/key.pem", True),
        ("pkg/tls/handshake_test.go", True),
        ("lib/spec/ssl_spec.rb", True),
        ("deploy/id_rsa", False),
        ("src/main/java/Held.java", False),
        ("latest/keys.py", False),
        ("contest/manual.py", False),
        ("config/attestation.pem", False),
    ],
)
def test_private_keys_of_tests_and_documentation_are_there_to_be_read(
    path: str, kept: bool
) -> None:
    key = {path: f"a\n{KEY.format(some(64))}"}
    assert Secrets()(plant({path: "a\n"}, key)).kept == kept
    assert Secrets()(plant(key, {path: "a\n"})).kept == kept
    token = {path: f"a\ntoken = '{REAL['signed token']}'\n"}
    assert not Secrets()(plant({path: "a\n"}, token)).kept  # a token is one wherever it is
