"""Words of scripts with and without spaces, against a slow reading, Unicode's names, and counts."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow_filters.decontaminate import Decontaminator
from codeflow_filters.decontaminate.ngrams import tokens
from codeflow_filters.dedup.links import jaccard
from codeflow_filters.dedup.shingles import make_shingles
from codeflow_filters.text.words import SIGN, SPACE, WORD, find_words
from dedup_samples import lines_of, patch_of
from plain_words import ALPHABET, plain_words
from triples import plant

KINDS = np.full(256, SIGN, np.uint8)
KINDS[list(b" \t\n\v\f\r")] = SPACE
KINDS[[b for b in range(256) if chr(b).isalnum() or b == 0x5F or b >= 0x80]] = WORD


def words(data: bytes, signs: bool) -> list[bytes]:
    text = np.frombuffer(data, np.uint8)
    kinds = KINDS[text]
    if not signs:
        kinds[kinds == SIGN] = SPACE
    at, size = find_words(text, kinds, signs)
    assert np.count_nonzero(kinds != SPACE) == size.sum()
    return [data[a : a + n] for a, n in zip(at.tolist(), size.tolist(), strict=True)]


@given(st.text(ALPHABET), st.booleans())
def test_words_are_those_of_a_slow_reading(text: str, signs: bool) -> None:
    assert [w.decode() for w in words(text.encode(), signs)] == plain_words(text, signs)


@given(st.binary() | st.text(ALPHABET).map(lambda text: text.encode()[1:-1]), st.booleans())
def test_bytes_of_any_kind_are_taken(data: bytes, signs: bool) -> None:
    found = words(data, signs)
    at = 0
    for word in found:  # in their order, and none over another
        at = data.index(word, at) + len(word)
    assert all(found)


def count(character: str) -> int:
    return len(tokens((character * 2).encode()).hashes)


@pytest.mark.parametrize(
    "script",
    [
        *("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA LETTER", "BOPOMOFO LETTER"),
        *("THAI CHARACTER", "LAO LETTER", "KHMER LETTER", "MYANMAR LETTER", "TIBETAN LETTER"),
        *("YI SYLLABLE", "HALFWIDTH KATAKANA LETTER", "JAVANESE LETTER", "BALINESE LETTER"),
    ],
)
def test_letters_of_scripts_without_spaces_are_words(script: str) -> None:
    letters = [
        c
        for c in map(chr, range(0x2FFFF))
        if unicodedata.name(c, "").startswith(script) and unicodedata.category(c)[0] == "L"
    ]
    assert letters
    assert [c for c in letters[:: max(1, len(letters) // 300)] if count(c) != 2] == []


@pytest.mark.parametrize(
    "script",
    ["HANGUL SYLLABLE", "LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW", "DEVANAGARI", "TAMIL"],
)
def test_letters_of_scripts_with_spaces_make_runs(script: str) -> None:
    letters = [
        c
        for c in map(chr, range(0x80, 0x10000))
        if unicodedata.name(c, "").startswith(f"{script} ") and unicodedata.category(c)[0] == "L"
    ]
    assert letters
    assert [c for c in letters[:: max(1, len(letters) // 300)] if count(c) != 1] == []


@pytest.mark.parametrize("script", ["THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"])
def test_signs_that_a_letter_carries_belong_to_it(script: str) -> None:
    marks = [
        c
        for c in map(chr, range(0xE00, 0x1800))
        if unicodedata.name(c, "").startswith(f"{script} ") and unicodedata.category(c)[0] == "M"
    ]
    letter = next(
        c for c in map(chr, range(0xE00, 0x1800)) if unicodedata.name(c, "").startswith(script)
    )
    assert marks
    assert [c for c in marks if len(tokens(f"{letter}{c}".encode()).hashes) != 1] == []


TEXTS = {
    "Chinese": "给定一个整数数组和一个目标值，请你在该数组中"
    "找出和为目标值的那两个整数，并返回它们的下标。",
    "Japanese": "与えられた文字列が回文であるかどうかを判定し、"
    "結果を真偽値で返す関数を実装してください。",
    "Thai": "จงเขียนฟังก์ชันที่รับรายการของจำนวนเต็มและคืนค่าผลรวมของจำนวนคู่ทั้งหมดในรายการนั้น",
    "Khmer": "សូមសរសេរអនុគមន៍មួយដែលទទួលបញ្ជីលេខហើយត្រឡប់ផលបូកនៃលេខគូទាំងអស់",
    "Burmese": "ကိန်းပြည့်စာရင်းကိုလက်ခံပြီးစုံကိန်းအားလုံး၏ပေါင်းလဒ်ကိုပြန်ပေးသောလုပ်ဆောင်ချက်ရေးပါ",
    "Korean": "정수 배열과 목표 값이 주어질 때 합이 목표 값이 되는 "
    "두 수의 위치를 찾아 차례대로 돌려주는 "
    "함수를 작성하고 그 시간 복잡도를 설명하시오",
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_of_a_benchmark_is_found_within_other_text(name: str, tmp_path: Path) -> None:
    text = TEXTS[name]
    path = tmp_path / "benchmark.jsonl"
    path.write_text(json.dumps({"task_id": "x", "prompt": text}) + "\n", encoding="utf-8")
    decontaminate = Decontaminator([path])
    # within a line, with other words before and after, and cut at another place
    cut = len(text) // 8
    held = {"a.py": f"# 注意：{text[cut:]}以上です\n"}
    verdict = decontaminate(plant({"a.py": "x\n"}, held))
    if name == "Korean":  # which is found word by word, so glued ends are other words
        assert not decontaminate(plant({"a.py": "x\n"}, {"a.py": f"# {text} x\n"})).kept
    else:
        assert verdict.reason == "ngram"
    other = {"a.py": f"# {text[: len(text) // 5]}\n# {text[::-1]}\n"}
    assert decontaminate(plant({"a.py": "x\n"}, other)).kept


def similarity(one: str, other: str) -> float:
    patches = [patch_of([], [text]).encode() for text in (one, other)]
    found = make_shingles(lines_of(patches), 5)
    return jaccard(found.of(0), found.of(1))


@pytest.mark.parametrize("name", TEXTS)
def test_near_duplicates_are_near_in_every_script(name: str) -> None:
    text = TEXTS[name] * 2
    middle = len(text) // 2
    edited = f"{text[:middle]}x{text[middle:]}"
    assert similarity(text, edited) > 0.6
    assert similarity(text, text[::-1]) < 0.2


@pytest.mark.parametrize("name", ["Chinese", "Japanese", "Thai"])
def test_a_gold_patch_is_as_long_as_its_characters(name: str, tmp_path: Path) -> None:
    """One line of such a script says enough to be no coincidence; by spaces it is one word."""
    added = f"+{TEXTS[name]}\n"
    patch = f"--- a/x.md\n+++ b/x.md\n@@ -1 +1,2 @@\n one\n{added}"
    path = tmp_path / "benchmark.jsonl"
    path.write_text(json.dumps({"instance_id": "x", "patch": patch}) + "\n", encoding="utf-8")
    found = Decontaminator([path])(plant({"a": "x\n"}, {"a": f"x\n{TEXTS[name]}\nand more\n"}))
    assert found.reason == "gold-lines"
