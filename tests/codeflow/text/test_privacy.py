"""What is an address and what only looks like one: a made set, and figures that the docs print."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.documents.privacy import EMAIL, scrub
from codeflow.text.ip import replace_ips
from codeflow.text.privacy import emails, is_email, replace_emails
from privacy_samples import negative_emails, negative_ips, positive_emails, positive_ips
from small_history import ROOT


def found_email(line: str, email: str) -> bool:
    return [line[e.start : e.end] for e in emails(line)] == [email] * line.count(email)


def found_ip(line: str, ip: str) -> bool:
    stand_in = "192.0.2.1" if "." in ip else "2001:db8::1"
    return replace_ips(line, "192.0.2.1", "2001:db8::1") == line.replace(ip, stand_in)


def figures() -> dict[str, tuple[int, int, int, int]]:
    """Lines with an address and those of them found, lines without and those of them touched."""
    sets = {
        "E-mail": (positive_emails(), found_email, negative_emails()),
        "IP": (positive_ips(), found_ip, negative_ips()),
    }
    return {
        name: (
            len(positives),
            sum(finds(*sample) for sample in positives),
            len(negatives),
            sum(scrub(line) != line for line in negatives),
        )
        for name, (positives, finds, negatives) in sets.items()
    }


def test_the_figures_in_the_docs_are_those_of_the_set() -> None:
    text = (ROOT / "docs" / "curation.md").read_text(encoding="utf-8")
    for name, (with_one, found, without, touched) in figures().items():
        assert min(with_one, without) >= 300
        precision, recall = found / (found + touched), found / with_one
        row = f"| {name} | {with_one} | {recall:.3f} | {without} | {touched} | {precision:.3f} |"
        assert row in text, row


def test_the_set_is_right_by_outside_judges() -> None:
    for line, ip in positive_ips():
        assert ip in line
        assert ipaddress.ip_address(ip).is_global
    for line, email in positive_emails():
        assert email in line


@pytest.mark.parametrize(
    "line",
    [
        "logo@2x.png", "this@Main.title", "wg-quick@wg0.service", "x@self.weight", "db::add(1)",
        "y[200::2]", "git@host:path", "Support git@bitbucket.org URLs",
    ],
)  # fmt: skip
def test_reported_look_alikes_stay(line: str) -> None:
    assert scrub(line) == line


def test_reported_people_are_found() -> None:
    assert scrub("josé@correo.com ann@xn--mller-kva.de") == f"{EMAIL} {EMAIL}"


def test_a_replacement_leaves_code_intact() -> None:
    assert scrub(r"'\nann@acme.io'") == rf"'\n{EMAIL}'"
    assert scrub("f'ann@acme.io'") == f"f'{EMAIL}'"
    assert scrub(r"'ann\@acme.io'") == r"'user\@example.com'"
    assert scrub("?to=ann%40acme.io&x") == "?to=user%40example.com&x"
    assert is_email("ann@acme.io")
    assert not is_email("<ann@acme.io>")


@given(st.lists(st.sampled_from([*"a.@:1234x/[]<>\"'\\ \n%", "ann@acme.io", "8.8.8.8", "2a00::1"])))
def test_lines_stay_lines_and_twice_changes_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    once = scrub(text)
    assert scrub(once) == once
    assert once.count("\n") == text.count("\n")
    assert once == "\n".join(map(scrub, text.split("\n")))


@given(
    st.ip_addresses(v=4) | st.ip_addresses(v=6), st.sampled_from(["host = '{}'", "{} x", "({})"])
)
def test_ipaddress_is_the_judge_of_what_goes(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, line: str
) -> None:
    text = line.format(ip)
    scrubbed = replace_ips(text, "192.0.2.1", "2001:db8::1")
    if not ip.is_global:
        assert scrubbed == text
    elif ip.version == 6:
        assert (scrubbed == text) != (ip in ipaddress.ip_network("2000::/3"))
    elif max(ip.packed) >= 32 and not ip.is_multicast and ip.packed[2:] != b"\0\0":
        assert str(ip) not in scrubbed


@given(st.text())
def test_never_raises(text: str) -> None:
    scrub(text)
    assert replace_emails(text, lambda e: text[e.start : e.end]) == text


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    ["a", "a.", "@", "a@", "a@b.", '"', '"a"@', "\\", "1.", "1.1.1.1", "2001:", ":", "(at",
     "a@a.io", "%40"],
)  # fmt: skip
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    scrub(text)
    assert re.search("a@a.io", scrub(text + " a@a.io")[-8:]) is None
