"""Features of hunks against a naive line-by-line reading of a diff."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow_miners.kinds.span.features import line_features

LINES = st.lists(
    st.tuples(
        st.sampled_from([b" ", b"+", b"-", b"\\"]),
        st.text(alphabet="ab_9 -+@é\r\t", max_size=12).map(str.encode),
    ),
    max_size=12,
)


def naive_hash(line: bytes) -> int:
    return zlib.adler32(line) << 32 | zlib.crc32(line)


@settings(max_examples=150, deadline=None)
@given(LINES, st.booleans())
def test_features_equal_a_naive_reading(lines: list[tuple[bytes, bytes]], last: bool) -> None:
    hunks = b"@@ -1,2 +1,2 @@ def unchanged_name():\n" + b"\n".join(a + b for a, b in lines)
    found = line_features(hunks + (b"\n" if last else b""))
    added = [body for sign, body in lines if sign == b"+"]
    removed = [body for sign, body in lines if sign == b"-"]
    names: set[int] = set()
    for body in added + removed:
        names |= {zlib.crc32(w) for w in re.findall(rb"(?![0-9])[\w\x80-\xff]{3,64}", body)}
    assert found.added_lines.tolist() == [naive_hash(body) for body in added]
    assert found.removed_lines.tolist() == [naive_hash(body) for body in removed]
    if all(len(body) < 3 or b"9" not in body for body in added + removed):
        assert found.identifiers.tolist() == sorted(names)


def test_lines_that_look_like_headers_are_lines() -> None:
    found = line_features(b"@@ -1 +1 @@\n--- old\n+++ new\n-\n+\n\\ No newline at end of file\n")
    assert found.removed_lines.tolist() == [naive_hash(b"-- old"), naive_hash(b"")]
    assert found.added_lines.tolist() == [naive_hash(b"++ new"), naive_hash(b"")]


def test_identifiers_do_not_run_across_lines_and_are_kept_once() -> None:
    found = line_features(b"@@ -1 +1 @@\n+one\n+two one\n-ab\n context\n")
    assert found.identifiers.tolist() == sorted(zlib.crc32(w) for w in (b"one", b"two"))


def test_features_are_the_same_in_another_process() -> None:
    program = (
        "from codeflow_miners.kinds.span.features import line_features as f;"
        "x = f(b'@@ -1 +1 @@\\n+alpha beta\\n-gamma\\n');"
        "print([list(map(int, part)) for part in x])"
    )
    path = ":".join(filter(None, sys.path))
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": path, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = line_features(b"@@ -1 +1 @@\n+alpha beta\n-gamma\n")
    assert runs == {f"{[list(map(int, part)) for part in here]}\n".encode()}
