"""Messages: decoding never fails, `git` is the judge of subjects, blanks and trailers."""

from __future__ import annotations

import encodings.aliases
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow_miners.history.messages import clean, decode, subject

Git = Callable[..., bytes]
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Real git in an empty repository, deaf to the user's configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(tmp_path / "repo"),
    }

    def run(*arguments: str, stdin: bytes = b"") -> bytes:
        command = ["git", *arguments]
        return subprocess.run(
            command, input=stdin, stdout=subprocess.PIPE, check=True, env=environment, cwd=tmp_path
        ).stdout

    run("init", "--quiet", "--bare", str(tmp_path / "repo"))
    return run


@pytest.mark.parametrize(
    ("raw", "encoding", "text"),
    [
        ("é".encode(), None, "é"),
        ("é".encode("latin-1"), b"ISO-8859-1", "é"),
        ("привет".encode("cp1251"), b"CP1251", "привет"),
        ("日本".encode("shift_jis"), b"Shift_JIS", "日本"),
        ("é".encode(), b"ascii", "é"),  # the header lies
        ("é".encode(), b"no-such-charset", "é"),
        ("é".encode(), b"\xff\x00", "é"),
        ("é".encode(), b"", "é"),
        (b"a\\u0041", b"unicode_escape", "a\\u0041"),  # no character set
        (b"uryyb", b"rot13", "uryyb"),
        (b"+2AA-x", b"utf-7", "+2AA-x"),
        (b"a\xffb", None, "a\ufffdb"),
        (b"a\0b\x1b[1mc\x7f", None, "ab[1mc"),
        (b"a\r\n\r\nb\rc \t\r\n", None, "a\n\nb\nc"),
        (b"\n\n a\n\n\n\nb\n\n", None, " a\n\nb"),
        (b"", None, ""),
    ],
)
def test_decode(raw: bytes, encoding: bytes | None, text: str) -> None:
    assert decode(raw, encoding) == text


@given(
    st.binary(),
    st.none()
    | st.binary(max_size=12)
    | st.sampled_from(sorted(encodings.aliases.aliases)).map(str.encode),
)
def test_decode_always_gives_clean_utf8(raw: bytes, encoding: bytes | None) -> None:
    text = decode(raw, encoding)
    assert text.encode().decode() == text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|[ \t](?:\n|\Z)|\n\n\n|\A\n|\n\Z", text)


WORDS = st.text(alphabet="abé: \t\n#-", max_size=40)


@SLOW
@given(text=WORDS)
def test_blanks_go_as_in_stripspace(git: Git, text: str) -> None:
    assert decode(text.encode(), None) == git("stripspace", stdin=text.encode()).decode().rstrip(
        "\n"
    )


@SLOW
@given(text=WORDS)
def test_subject_is_that_of_git_log(git: Git, text: str) -> None:
    tree = git("mktree").decode().strip()
    commit = f"tree {tree}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n{text}".encode()
    commit_id = git("hash-object", "-t", "commit", "-w", "--stdin", stdin=commit).decode().strip()
    expected = git("log", "-z", "--no-walk", "--format=%s", commit_id).decode().rstrip("\0")
    assert subject(text) == expected


# What a message may be made of: no addresses or merges, so that only trailers can go.
LINE = st.sampled_from(
    """Fix the thing|fix: the thing|Note: this matters|and more|Signed-off-by: Ann|Change-Id: I1f
Reviewed-by: Bob|  continued|Cc: Eve|Fixes: #12|(cherry picked from commit 1a2b)|git-svn-id: 12
key : value|- Not-a: list|TODO: later|Co-authored-by: Ann||""".replace("\n", "|").split("|")
)


def test_git_parses_no_sure_trailer_out_of_a_cleaned_message(git: Git) -> None:
    message = "a: b\n\nBody\n\nFixes: #1\nLink: x\n\nSigned-off-by: Ann <a@x.org>\nAcked-by: Bob\n"
    parse = ("interpret-trailers", "--parse", "--no-divider")
    assert b"Signed-off-by: Ann" in git(*parse, stdin=message.encode())
    assert git(*parse, stdin=clean(message).encode() + b"\n") == b""
    assert clean(message) == "a: b\n\nBody"


@pytest.mark.parametrize(
    "message",
    [
        "Support git@bitbucket.org URLs",
        "Support git@host.com:owner/x and hg@host.org",
        "Name logo@2x.png, getty@tty1.service, this@Main.title, node@localhost, a@example.com",
        "fix: x",
        "fix: x\n\nNote: this is important\n\nThe end.",
        "fix: x\n\nNote: this is important",
        "Add\n\n@property and @babel/core@7.1.0 stay\n\n- a: b",
        "Add HEAD@{1}, a@b and actions/checkout@v4.1.0-rc.alpha",
        "Merge sort: from owner/branch is not a merge",
        "Emerge pull request",
        "Merge branch 'dev' into main",
        "Merge branch 'feature/of/x'",
        "Merge remote-tracking branch 'origin/dev'",
        "Merge tag 'v1.0' into dev",
        "Merge pull request #1 from",
        "Standby: the machine waits",
    ],
)
def test_what_stays(message: str) -> None:
    assert clean(message) == message


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        ("Merge pull request #12 from owner/branch", "Merge pull request #12 from branch"),
        ("Merge pull request #1 from o/a/b\n\nTitle", "Merge pull request #1 from a/b\n\nTitle"),
        ("* Merge pull request #1 from o/a", "* Merge pull request #1 from a"),
        ('Revert "Merge pull request #1 from o/a"', 'Revert "Merge pull request #1 from a"'),
        ("1a2b3c4 Merge pull request #1 from o/a", "1a2b3c4 Merge pull request #1 from a"),
        ("Merge branch 'x' of github.com:owner/repo", "Merge branch 'x'"),
        ("Merge branch 'x' of git@github.com:owner/repo into y", "Merge branch 'x' into y"),
        ("Merge branch 'x' of https://h.org/owner/repo.git into y", "Merge branch 'x' into y"),
        ("Merge branches 'x' and 'y' of ssh://h/o/r", "Merge branches 'x' and 'y'"),
        ("Merge branches 'x' of h:o/r, 'y' of h:p/r", "Merge branches 'x', 'y'"),
        ("Merge commit 'refs/pull/9/head' of git://h/o/r", "Merge commit 'refs/pull/9/head'"),
        ("Merge remote-tracking branch 'a/d' into x", "Merge remote-tracking branch 'd' into x"),
        ("Merge remote branch 'ann/a/b'", "Merge remote branch 'a/b'"),
        ("Merge https://github.com/owner/repo", "Merge repo"),
        ("Merge github.com:owner/repo", "Merge repo"),
        ("Merged in ann/fix (pull request #3)", "Merged in fix (pull request #3)"),
        ("Merge in PR/x from ~ANN/x:fix to main", "Merge from fix to main"),
        ("Merge 'a'\n\nSee merge request owner/repo!12", "Merge 'a'\n\nSee merge request !12"),
        ("Auto merge of #12 - ann:fix, r=bob", "Auto merge of #12 - fix"),
        ("By Ann <ann@x.org>, too", "By Ann, too"),
        ("Mail ann.o'hara+git@mail.x.org now", "Mail <email> now"),
        ("Mail ann (at) x.org", "Mail <email>"),
        ("Mail bob@163.com", "Mail <email>"),
        ("Mail ann [at] x.org, josé@correo.es", "Mail <email>, <email>"),
        ("a <ann@box> b", "a b"),
        ("A\n\nSigned-off-by: Ann <a@x.org>\n\nB", "A\n\nB"),
        ("A\n\nB\n\nCo-authored-by: Ann <a@x.org>", "A\n\nB"),
        ("A\n\nB\n\ngit-svn-id: https://h/trunk@12 3f", "A\n\nB"),
        ("A\n\nSigned-off-by: Ann\n  who goes on", "A"),
        ("Signed-off-by: Ann <a@x.org>", ""),
    ],
)  # fmt: skip
def test_what_goes(message: str, cleaned: str) -> None:
    assert clean(message) == cleaned


@given(st.text())
def test_clean_and_subject_never_raise(text: str) -> None:
    clean(text)
    assert "\n" not in subject(text)


DOMAINS = ["mail.acme.org", "xn--mller-kva.de", "müller.de", "163.com", "vip.126.com", "189.cn"]
EMAILS = st.emails(domains=st.sampled_from(DOMAINS)).filter(
    lambda mail: re.fullmatch(r"\w(?:[\w.+!#&*=?^~-]*\w)?@.*", mail) is not None
)


@given(EMAILS, WORDS)
def test_no_address_survives(email: str, words: str) -> None:
    for message in (f"{words} <{email}>", f"x\n\n{words} {email} {words}", email):
        assert email.rpartition("@")[2] not in clean(decode(message.encode(), None))


@given(st.lists(LINE, max_size=8))
def test_cleaning_twice_changes_nothing(lines: list[str]) -> None:
    once = clean(decode("\n".join(lines).encode(), None))
    assert clean(once) == once


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit", ["a", "a.", " ", "\t\n", "\n", "<", "<a", "a@", "a-", "x:", "Merge ", "Merge a:", "/a'",
             "Merge branch 'a' of ", "Signed-off-by: a\n", "a: b\n\n", "a (at", "Cc: A b",
             "Cc: a-", "A, ", "a@a.io, ", '"', "Fixes: a\n\n", "Conflicts:\n\t", "# Conflicts:\n",
             "#\n", "a-by: ", "@a", "a.b@", "'a"]
)  # fmt: skip
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    for head in (
        "",
        "Cc: ",
        "Signed-off-by: ",
        "Merge branch '",
        "Merge pull request #1 from ",
        "Merge ",
    ):
        clean(decode((head + unit * (200_000 // len(unit))).encode(), None))
