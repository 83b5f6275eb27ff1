"""Secrets in a text: what is found, what only looks like one, and what finding costs."""

from __future__ import annotations

import base64
import random
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.text.needles import Needle, Needles
from codeflow.text.secrets import (
    PIECE_BYTES,
    Finding,
    find_secrets,
    real,
    rules,
)
from secret_samples import pem, some, token

ROOT = Path(__file__).resolve().parents[3]


def line_by_line(text: str) -> set[Finding]:
    """The plug-ins themselves, on every line: the reference that no needle takes part in."""
    return {
        Finding(rule.detector.secret_type, number)
        for rule in rules()
        if not rule.several_lines
        for number, line in enumerate(text.split("\n"), 1)
        if any(real(value) for value in rule.detector.analyze_string(line))
    }


@pytest.mark.parametrize("kind", sorted(token()))
def test_each_form_is_found_where_it_stands(kind: str) -> None:
    for seed in range(20):
        text = f"# settings\nuser = 'me'\nvalue = '{token(seed)[kind]}'\n"
        assert Finding(kind, 3) in find_secrets(text.encode())
    assert find_secrets(b"# settings\nuser = 'me'\nvalue = os.environ['KEY']\n") == []


def test_every_chosen_detector_has_a_form_above() -> None:
    kinds = {rule.detector.secret_type for rule in rules()}
    assert kinds == {*token(), "Private Key"}


@pytest.mark.parametrize(
    "wrap",
    [
        "{}",
        "key = '''{}'''",
        "\r\n",
        "    ",
        "# ",
        '"{}\\n"',
        "' +\n'",
    ],
)
def test_a_private_key_is_found_however_it_is_written_down(wrap: str) -> None:
    key = pem()
    if wrap == "\r\n":
        key = key.replace("\n", "\r\n")
    elif wrap in ("    ", "# "):
        key = "".join(f"{wrap}{line}\n" for line in key.splitlines())
    elif wrap.startswith('"'):
        key = "".join(wrap.format(line) + "\n" for line in key.splitlines())
    elif wrap.startswith("'"):
        key = wrap.join(key.splitlines())
    else:
        key = wrap.format(key)
    assert find_secrets(("first line\n" + key).encode()) == [Finding("Private Key", 2)]


@pytest.mark.parametrize(
    "text",
    [
        "if b'BEGIN RSA PRIVATE KEY' in data:\n    return load(data)\n",
        "-----BEGIN PUBLIC KEY-----\n" + some(64) + "\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + some(64) + "\n",
        "aws_access_key_id = 'AKIAIOSFODNN7EXAMPLE'\n",
        "token = 'ghp_" + "x" * 36 + "'\n",
        "sha = '" + some(40, "0123456789abcdef") + "'\n",
        "url = 'http://user:pass@localhost:5432/db'\n",
        "password = 'hunter2'\n",
        "id = '123e4567-e89b-12d3-a456-426614174000'\n",
        "import aws  # key: see https://docs.aws.amazon.com/IAM/latest/UserGuide/token.html\n",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert find_secrets(text.encode()) == []


@pytest.mark.slow
def test_no_line_is_lost_against_the_detectors_on_every_line() -> None:
    draw = random.Random(3)
    code = [
        line
        for path in sorted((ROOT / "codeflow").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    lines: list[str] = []
    for seed in range(2500):
        values = [
            *token(seed).values(),
            "azure",
            "aws secret key ",
            "ACCOUNT",
            "eyJ",
            "xoxb-1-",
            "é",
        ]
        value = draw.choice(values)
        if draw.random() < 0.4:  # a value that is cut, longer, in another case, or in two pieces
            cut = draw.randrange(len(value))
            value = draw.choice(
                [value[:cut], value + value, value.swapcase(), f"{value[:cut]} {value[cut:]}"]
            )
        lines += [draw.choice(code), f"{draw.choice(code)[:30]}{value}{draw.choice(code)[:30]}"]
    text = "\n".join(lines)
    expected = line_by_line(text)
    assert len(expected) > 800
    assert set(find_secrets(text.encode())) == expected


FRAGMENTS = st.sampled_from(
    [
        *(needle.decode() for rule in rules() for needle in rule.needles[:6]),
        *token().values(),
        *(
            "AwS_key",
            "a\u017f",
            "aw\u017f token",
            "\u212a",
            "\u0663" * 6,
            ".",
            "\n",
            "\r\n",
            " ",
            '"',
        ),
        *(some(length) for length in (6, 16, 24, 27, 32, 36, 40, 86)),
    ]
)


@given(st.lists(FRAGMENTS | st.text(max_size=4), max_size=12).map("".join))
def test_no_text_is_lost_against_the_detectors(text: str) -> None:
    found = {f for f in find_secrets(text.encode()) if f.kind != "Private Key"}
    assert found == line_by_line(text.encode().decode(errors="replace"))


LOWER, UPPER = string.ascii_lowercase + string.digits, string.ascii_uppercase + string.digits


@pytest.mark.parametrize(
    "line",
    [
        *(f"{start}{some(16, UPPER)}" for start in ("A3TX", "ABIA", "ACCA", "AKIA", "ASIA")),
        *(f"{name}_secret_key = '{some(40)}'" for name in ("aws", "AWS", "Aws", "aw\u017f")),
        *(f"gh{letter}_{some(36)}" for letter in "pousr"),
        *(f"{some(32, LOWER)}-us{digit}" for digit in range(10)),
        *(f"{start}{some(31, LOWER)}{end}" for start in ("AC", "SK") for end in "a9"),
        *(f"{start}{letter}{some(31, LOWER)}" for start in ("AC", "SK") for letter in LOWER),
        *(f"{start}_live_{some(24)}" for start in ("sk", "rk")),
        *(f"{start}-{some(9, string.digits)}-{some(9)}" for start in ("xoxb", "XOXP", "xOxa")),
        f"https://hooks.slack.com/services/T{some(8)}/B{some(8)}/{some(24)}",
        f"HTTPS://HOOKS.SLACK.COM/services/T{some(8)}/B{some(8)}/{some(24)}",
        f"//registry.npmjs.org/:_authToken={some(36, LOWER)}",
        f"NPM_TOKEN={some(36, LOWER)}",
        f"AZURE_KEY='{some(86)}=='",
        f"ACCOUNT_KEY={some(86)}==",
    ],
)
def test_each_variant_of_a_form_has_a_needle(line: str) -> None:
    expected = line_by_line(line)
    assert expected, "the detector knows it"
    assert set(find_secrets(line.encode())) == expected


def test_a_secret_far_along_a_line_is_found_whatever_stands_before_it() -> None:
    value = token()["GitHub Token"]
    for gap in range(1500, 2 * PIECE_BYTES, 31):
        line = f"{' ' * 5000}{value[:4]}{' ' * gap}{value}{' ' * 5000}"
        assert find_secrets(line.encode()) == [Finding("GitHub Token", 1)]


def test_secrets_in_a_long_line_are_found_and_cost_is_linear_in_it() -> None:
    values = list(token().values())
    gap = f" {some(5000, 'abcdefgh ,()')} "
    text = gap.join(values)
    kinds = [finding.kind for finding in find_secrets(text.encode())]
    assert set(kinds) == set(token())


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "hostile",
    [
        b"eyJ" * 300_000,
        b"eyJ.a " + b"eyJ" * 300_000,
        b"awskey" * 30_000,
        b"awskey\n" * 30_000,
        b"sk-" * 2000 + b"-T3BlbkFJ" * 30_000,
        b"BEGIN RSA PRIVATE KEY" * 30_000,
        b"azure" + b"a" * 500_000,
        b"xoxa-" + b"1-" * 300_000,
        b".aaaaaa" * 100_000,
    ],
)
def test_what_makes_an_expression_slow_does_not(hostile: bytes) -> None:
    """Quadratic, all of them, for a plug-in that sees the whole line."""
    assert [f.kind for f in find_secrets(hostile) if f.kind not in ("Slack Token",)] == []


def test_json_nested_deeper_than_python_goes_is_no_token() -> None:
    nested = base64.b64encode(b'{"a":' + b"[" * 2600).decode()
    assert len(nested) < PIECE_BYTES
    assert find_secrets(f"{nested}.{nested}".encode()) == []


def test_bytes_of_any_kind_are_taken() -> None:
    assert find_secrets(b"") == find_secrets(b"\n") == find_secrets(b"AK") == []
    value = token()["GitHub Token"].encode()
    assert find_secrets(b"\xff\xfe\n" + value + b"\xe9") == [Finding("GitHub Token", 2)]


@given(
    st.lists(
        st.tuples(st.binary(min_size=3, max_size=6), st.booleans()).map(
            lambda pair: Needle(pair[0].lower() if pair[1] else pair[0], pair[1])
        ),
        max_size=6,
    ),
    st.lists(st.binary(max_size=5) | st.integers(0, 9), max_size=20),
)
def test_needles_are_found_as_one_by_one(needles: list[Needle], pieces: list[bytes | int]) -> None:
    data = b"".join(
        piece
        if isinstance(piece, bytes)
        else needles[piece % len(needles)].text.upper()
        if needles and piece % 2
        else needles[piece % len(needles)].text
        if needles
        else b""
        for piece in pieces
    )
    expected = {
        (at, number)
        for number, needle in enumerate(needles)
        for at in range(len(data))
        if (data.lower() if needle.folded else data).startswith(needle.text, at)
    }
    found = list(Needles(needles).find(data))
    assert set(found) == expected
    assert len(found) == len(expected)
