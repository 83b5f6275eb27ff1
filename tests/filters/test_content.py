"""Added text that is no source, against naive readings and real samples of it."""

from __future__ import annotations

import base64
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.git.patch import parse_patch
from codeflow.triple import Triple
from codeflow_filters.content import _BASE64, Content, _runs
from codeflow_filters.text.hunks import sections
from tiny_dataset import SNAPSHOTS, Git, triple_row
from triples import Blobs, triple

SEED = random.Random(7)
NOISE = base64.b64encode(SEED.randbytes(3000)).decode()
WRAPPED = "\n".join(NOISE[k : k + 76] for k in range(0, len(NOISE), 76)) + "\n"
C_ARRAY = "".join(
    "    " + ", ".join(f"0x{SEED.randrange(256):02x}" for _ in range(12)) + ",\n" for _ in range(60)
)
CODE = "".join(
    f"def function_{k}(first, second):\n    return first * {k} + second\n\n" for k in range(40)
)
MINIFIED = "".join(f"function f{k}(a,b){{return a*{k}+b}}" for k in range(80)) + "\n"
PROSE = " ".join(["a long paragraph of prose that nobody wraps"] * 40) + "\n"


def added(text: str, path: str = "a.py", language: str | None = "Python") -> Triple:
    return triple({path: ("", text)}, changes={path: {"language": language}})


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        (CODE, "Python", None),
        (MINIFIED, "JavaScript", "minified"),
        (PROSE, "Python", "long-line"),
        (PROSE, "Markdown", None),
        (PROSE, None, None),
        (NOISE + "\n", "Text", "encoded"),
        (WRAPPED, "Python", "encoded"),
        (C_ARRAY, "C", "encoded"),
        ("// " + "-" * 90 + "\n" * 2 + "-=" * 700 + "\n", "Markdown", "low-alphanumeric"),
        ("text \x01\x02\x03\x04 text\n" * 100, "Text", "binary-like"),
        (("x = call(" + "argument, " * 30 + ")\n") * 12, "Python", "long-lines"),
        ("}\n" * 40, "C", None),
        ("\n".join(f"word{k}" for k in range(2000)) + "\n", "Text", None),  # a list of words
        ("".join(f"{' ' * 60}return {k};\n" for k in range(100)), "C", None),  # deep, not encoded
        ("ll, " * 500 + "ff\n", "Text", None),  # letters that a table of hex codes may hold
        (f'fill = "{"a" * 2000}"\n', "Text", None),  # hex digits, and yet a filler
        (r"\xff\xab\xcd\xee" * 300 + "\n", "Text", "encoded"),
        ("/" * 80 + "\n" + CODE, "C", None),
        ("sha256: " + "0123456789abcdef" * 4 + "\n", "Text", None),
    ],
)
def test_what_added_text_is(text: str, language: str | None, reason: str | None) -> None:
    assert Content()(added(text, language=language)).reason == reason


def test_removed_and_unchanged_text_does_no_harm() -> None:
    assert Content()(triple({"a.js": (MINIFIED + NOISE, "")})).kept
    assert Content()(triple({"a.js": (MINIFIED + NOISE + "\n", MINIFIED + NOISE + "\nx\n")})).kept


def test_one_long_line_does_not_spoil_a_large_change() -> None:
    line = MINIFIED[:1200] + "\n"
    assert Content(max_share=0.25)(added(CODE * 2 + line)).kept
    assert Content(max_share=0.05)(added(CODE * 2 + line)).reason == "minified"
    assert Content(max_line_chars=1300)(added(line * 2)).kept


def test_a_long_run_goes_by_its_share_of_what_is_neither_test_nor_data() -> None:
    run = "\n".join(NOISE[k : k + 76] for k in range(0, 1216, 76)) + "\n"
    assert Content()(added(CODE[: 2 * len(run)] + run)).reason == "encoded"
    assert Content()(added(CODE * 3 + run)).kept
    code = CODE[: 2 * len(run)]
    for path, kind in (("tests/cert.pem", "data"), ("a_test.py", "test")):
        only = {path: {"file_kind": kind}}
        assert Content()(triple({"a.py": ("", code), path: ("", WRAPPED)}, changes=only)).kept
        assert Content()(triple({path: ("", WRAPPED)}, changes=only)).reason == "encoded"
    source = triple({"a.py": ("", code), "b.py": ("", WRAPPED)})
    assert Content()(source).reason == "encoded"


def test_lock_files_are_not_judged() -> None:
    sums = "".join(f"x{k} = {SEED.randbytes(32).hex()}\n" for k in range(100))
    assert Content()(added(sums, "Cargo.lock", "TOML")).kept
    assert Content()(added(sums, "sums.toml", "TOML")).reason == "encoded"


MARKERS = "<<<<<<< HEAD\na = 1\n=======\na = 2\n>>>>>>> topic\n"


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("", MARKERS, False),
        (MARKERS, "a = 1\n", True),  # a mended one
        ("", "Title\n=======\n\ntext\n", True),
        ("", "<<<<<<< is an operator here\n", True),
        ("", "    <<<<<<< HEAD\n    =======\n    >>>>>>> topic\n", True),  # quoted in a document
    ],
)
def test_conflict_markers(old: str, new: str, kept: bool) -> None:
    verdict = Content()(triple({"a.rst": (old, new)}))
    assert verdict.kept == kept
    assert verdict.reason == (None if kept else "conflict-markers")


def test_the_detail_names_the_file() -> None:
    files = {"a.py": ("", CODE), "b.js": ("", MINIFIED * 4)}
    verdict = Content()(triple(files, changes={"b.js": {"language": "JavaScript"}}))
    assert (verdict.reason, verdict.detail) == ("minified", "b.js")


@given(st.lists(st.sampled_from(["a", "Z0", "+/", "=", "\n", " ", "-", "é", "x" * 59, "y" * 61])))
def test_runs_are_those_of_a_plain_pattern(parts: list[str]) -> None:
    data = "".join(parts).encode()
    assert list(_runs(data, _BASE64, 60)) == re.findall(rb"[A-Za-z0-9+/=\n]{60,}", data)


@given(st.text(alphabet="ab1 \t-{}()é", max_size=60).map(lambda line: line * 40))
def test_the_share_of_letters_is_that_of_a_plain_count(line: str) -> None:
    text = line + "\n"
    visible = [c for c in text.encode() if not chr(c).isspace() or c >= 128]
    alphanumeric = [c for c in visible if c >= 128 or chr(c).isalnum()]
    judge = Content(min_bytes=1, max_mean_chars=1e9, max_line_chars=10**9, max_run_chars=10**9)
    low = len(alphanumeric) < 0.25 * len(visible)
    assert (judge(added(text)).reason == "low-alphanumeric") == (low and len(visible) > 0)


def test_sections_agree_with_the_parser_of_patches(tmp_path: Path) -> None:
    """Every status, odd names and type changes, in patches that git wrote."""
    git = Git(tmp_path / "r.git")
    chain: list[str] = []
    for files in SNAPSHOTS:
        chain.append(git.commit(git.tree(files), *chain[-1:]))
    seen = 0
    for old in range(len(chain)):
        for new in range(old + 1, len(chain)):
            row = triple_row(git, "r", chain, old, new)
            expected = [
                (patch.path, patch.additions, patch.deletions)
                for patch in parse_patch(row["patch"].encode())
            ]
            found = [
                (
                    change.path,
                    sum(line[:1] == "+" for line in text.split("\n")),
                    sum(line[:1] == "-" for line in text.split("\n")),
                )
                for change, text in sections(Triple.from_row(row, Blobs()))
            ]
            assert found == expected
            seen += len(found)
    assert seen > 20


OID = "oid sha256:" + "5f" * 32
POINTER = f"version https://git-lfs.github.com/spec/v1\n{OID}\nsize 12345\n"
OTHER = POINTER.replace("5f", "a0").replace("12345", "7")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.psd": (POINTER, OTHER)}, "lfs-pointer"),
        ({"a.psd": (None, POINTER)}, "lfs-pointer"),
        ({"a.psd": (POINTER, None)}, "lfs-pointer"),
        ({"a.psd": (POINTER, OTHER), "b.psd": (None, POINTER)}, "lfs-pointer"),
        ({"a.psd": (POINTER.replace("\n", "\r\n"), OTHER.replace("\n", "\r\n"))}, "lfs-pointer"),
        ({"a.psd": ("\ufeff" + POINTER, "\ufeff" + OTHER)}, "lfs-pointer"),
        ({"a.psd": (POINTER[:-1], OTHER[:-1])}, "lfs-pointer"),
        (
            {"a": (None, POINTER.replace(OID, f"ext-0-foo sha256:{'ab' * 32}\n{OID}"))},
            "lfs-pointer",
        ),
        ({"a": (None, POINTER.replace("git-lfs.github.com", "hawser.github.com"))}, "lfs-pointer"),
        ({"a.psd": (POINTER, OTHER), "a.py": ("x = 1\n", "x = 2\n")}, None),
        ({"a.txt": ("some text\n", POINTER)}, None),  # its text is told
        ({"a.txt": (POINTER + "more\n", OTHER + "more\n")}, None),
        ({"lfs.md": ("", f"A pointer:\n\n{POINTER}")}, None),
        ({"oid.txt": (f"{OID}\n", f"{OID.replace('5f', '60')}\n")}, None),
    ],
)
def test_pointers_of_lfs_alone_are_nothing_to_learn_from(
    files: dict[str, tuple[str | None, str | None]], reason: str | None
) -> None:
    assert Content()(triple(files)).reason == reason


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("base", ["", "||||||| 1a2b3c4\nx = 0\n"])
@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_conflict_markers_whatever_the_line_ends(mark: str, base: str, ends: str) -> None:
    text = mark + MARKERS.replace("=======", f"{base}=======").replace("\n", ends)
    assert Content()(triple({"a.txt": ("", text)})).reason == "conflict-markers"
    inside = f"one{ends}{MARKERS.replace(chr(10), ends)}two{ends}"
    verdict = Content()(triple({"a.txt": (f"one{ends}two{ends}", inside)}))
    assert verdict.reason == "conflict-markers"
