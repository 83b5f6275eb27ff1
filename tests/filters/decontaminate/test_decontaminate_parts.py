"""The parts of decontamination against plain implementations: n-grams, hunks, patch ids."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow_filters.decontaminate import ngrams
from codeflow_filters.decontaminate.gold import patch_id
from codeflow_filters.decontaminate.hunks import files
from codeflow_filters.decontaminate.ngrams import COMMON, NgramIndex, informative, tokens
from plain_words import ALPHABET, plain_words

WORDS = [
    *("return", "value", "of", "the", "Session", "adapter", "self", "x1", "x2", "None"),
    *("raise", "0", "1", "42", "_private", "héllo", "is", "漢字", "です。"),
]
TEXTS = st.lists(st.sampled_from(WORDS) | st.sampled_from([" ", "\n", "(", ".", "-- ", "\t"])).map(
    " ".join
)


def plain_tokens(text: str) -> list[str]:
    """Words in lower case; case is that of ASCII, as the rule says letters of a program."""
    lowered = "".join(c.lower() if c.isascii() else c for c in text)
    return plain_words(lowered, signs=False)


def plain_ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    words = plain_tokens(text)
    return {tuple(words[k : k + n]) for k in range(len(words) - n + 1)}


def says_something(gram: tuple[str, ...]) -> bool:
    return len({w if not (w[0].isdigit() or w[0] == "_") else 0 for w in gram}) > len(gram) // 2 + 1


@given(TEXTS | st.text(ALPHABET) | st.text(st.characters(max_codepoint=0xDFF)))
def test_tokens_are_words_and_equal_words_have_equal_hashes(text: str) -> None:
    data = text.encode()
    found = tokens(data)
    spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    shown = [data[start:stop].decode() for start, stop in spans]
    words = plain_tokens(text)
    assert ["".join(c.lower() if c.isascii() else c for c in w) for w in shown] == words
    by_word = dict(zip(words, found.hashes.tolist(), strict=True))
    assert [by_word[word] for word in words] == found.hashes.tolist()
    assert len(set(by_word.values())) == len(by_word)


def test_blocks_are_joined_at_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join("some words and more" for _ in range(50)).encode()
    whole = tokens(text)
    monkeypatch.setattr(ngrams, "_BLOCK_BYTES", 64)
    blocks = tokens(text)
    for a, b in zip(whole, blocks, strict=True):
        assert np.array_equal(a, b)
    assert len(tokens(b"").hashes) == len(tokens(b"()").hashes) == 0


@settings(max_examples=60)
@given(st.lists(TEXTS, max_size=16), TEXTS, st.integers(2, 6))
def test_the_index_agrees_with_sets_of_tuples(texts: list[str], probe: str, n: int) -> None:
    grams = [{g for g in plain_ngrams(text, n) if says_something(g)} for text in texts]
    counts = Counter(gram for one in grams for gram in one)
    index = NgramIndex(((k, k, text) for k, text in enumerate(texts)), n)
    assert len(index) == sum(1 for count in counts.values() if count <= COMMON)
    match = index.find(probe.encode())
    expected = {g for g in plain_ngrams(probe, n) if 0 < counts[g] <= COMMON}
    assert (match is not None) == bool(expected)
    if match is not None:
        found = tuple(plain_tokens(probe.encode()[match.start : match.stop].decode()))
        assert found in expected
        assert found in grams[match.owner]


def test_what_is_informative() -> None:
    for text, expected in [
        ("a b c d e f g", 1),
        ("a b c a b c a", 0),  # three words
        ("1 2 3 4 5 6 7", 0),
        ("a b c d e 1 2", 1),
        ("a b c 1 2 3 4", 0),
    ]:
        assert len(informative(text.encode(), 7)) == expected, text


def git_diff(folder: Path, *options: str) -> str:
    command = ["git", "diff", "--no-index", "--no-color", *options, "old", "new"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


def write(folder: Path, side: str, contents: dict[str, list[str]]) -> None:
    for name, lines in contents.items():
        (folder / side).mkdir(parents=True, exist_ok=True)
        (folder / side / name).write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("seed", range(12))
def test_hunks_of_git_are_read_as_they_are(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    # distinct lines, so that every algorithm finds the same change; some look like headers
    start = {f"f{k}.txt": [f"{k} line {j}" for j in range(60)] for k in range(3)}
    end = {}
    for name, lines in start.items():
        new = list(lines)
        for spot in sorted(draw.sample(range(60), 3), reverse=True):
            new[spot : spot + draw.randrange(3)] = [
                f"-- {spot} removed {name}",
                f"++ {spot} x",
                "@@ -1 +1 @@ " + name + str(spot),
            ][: draw.randrange(1, 4)]
        end[name] = new
    write(tmp_path, "old", start)
    write(tmp_path, "new", end)
    diffs = [
        git_diff(tmp_path, option)
        for option in ("-U3", "-U0", "-U20", "--patience", "--histogram", "--minimal")
    ]
    back = subprocess.run(
        ["git", "diff", "--no-index", "new", "old"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    for diff in [*diffs, diffs[0].rstrip("\n"), "From: me\n\nHello\n\n" + diffs[0]]:
        parts = list(files(diff))
        assert [part.path for part in parts] == [f"new/{name}" for name in sorted(end)]
        for part in parts:
            name = part.path[4:]
            assert Counter(part.only("+")) == Counter(end[name]) - Counter(start[name])
            assert Counter(part.only("-")) == Counter(start[name]) - Counter(end[name])
            context = set(part.side("+")) & set(part.side("-"))
            assert context <= set(start[name]) & set(end[name])
    ids = {patch_id(list(files(diff))) for diff in diffs}
    assert len(ids) == 1
    assert patch_id(list(files(back))) not in ids


def test_patch_ids_differ_where_changes_do() -> None:
    def diff(path: str, *lines: str) -> str:
        old = sum(line[0] != "+" for line in lines)
        new = sum(line[0] != "-" for line in lines)
        body = "\n".join(lines)
        return f"--- a/{path}\n+++ b/{path}\n@@ -1,{old} +1,{new} @@\n{body}\n"

    same = [
        diff("a", "-x = 1", "+x = 2"),
        diff("a", " before", "-x = 1", "+x = 2", " after"),
        diff("a", "-x  =  1", "+\tx = 2"),
    ]
    others = [
        diff("b", "-x = 1", "+x = 2"),
        diff("a", "-x = 1", "+x = 3"),
        diff("a", "+x = 2"),
        diff("a", "-x = 1", "+x = 2") + diff("b", "+y = 2"),
        diff("a", "-x = 1", "-x = 1", "+x = 2"),
    ]
    ids = [patch_id(list(files(text))) for text in (*same, *others)]
    assert len({*ids[:3]}) == 1
    assert len(set(ids)) == 1 + len(others)
    assert None not in ids
    mode_only = "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n"
    assert patch_id(list(files(mode_only))) is None
