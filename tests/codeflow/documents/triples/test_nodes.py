"""Middles at syntax nodes, judged by Python's own parser and by brackets."""

from __future__ import annotations

import ast
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from codeflow.documents.options import Options
from codeflow.documents.triples import context, fim, nodes
from codeflow.errors import UsageError

SOURCE = Path(context.__file__).read_text(encoding="utf-8")
SAMPLES = {
    "C": "int f(int a) {\n    if (a > 1) { return a * (2 + g(a)); }\n    return h[a];\n}\n",
    "C#": "class A {\n    int F(int a) {\n        if (a > 1) { return a * G(a); }\n"
    "        return a;\n    }\n}\n",
    "C++": "int A::f(int a) {\n    if (a > 1) { return a * g(a); }\n    return h[a];\n}\n",
    "Go": "package a\n\nfunc f(a int) int {\n\tif a > 1 {\n\t\treturn a * g(a)\n\t}\n"
    "\treturn h[a]\n}\n",
    "Java": "class A {\n    int f(int a) {\n        if (a > 1) { return a * g(a); }\n"
    "        return a;\n    }\n}\n",
    "JavaScript": "function f(a) {\n  if (a > 1) { return a * g(a); }\n  return h[a];\n}\n",
    "Rust": "fn f(a: u32) -> u32 {\n    if a > 1 { return a * g(a); }\n    h(a + 1)\n}\n",
    "TSX": "const f = (a: number) => {\n  if (a > 1) { return <b>{g(a)}</b>; }\n"
    "  return h[a];\n};\n",
    "TypeScript": "function f(a: number) {\n  if (a > 1) { return a * g(a); }\n  return h[a];\n}\n",
}


def places(text: str, language: str, count: int) -> list[tuple[int, int]]:
    found = []
    for number in range(count):
        place = nodes.stretch(text, language, random.Random(number))
        assert place == nodes.stretch(text, language, random.Random(number))
        if place is not None:
            assert 0 <= place[0] < place[1] <= len(text)
            assert place != (0, len(text))
            found.append(place)
    return found


def stretches(text: str, language: str, count: int) -> list[str]:
    return [text[start:stop] for start, stop in places(text, language, count)]


def is_unit(start: int, stop: int) -> bool:
    """Whether a name in the stretch's place leaves a correct text, as it does for any one node."""
    try:
        ast.parse(f"{SOURCE[:start]}unit{SOURCE[stop:]}")
    except SyntaxError:
        return False
    return True


def test_pythons_own_parser_takes_the_stretches_for_units() -> None:
    """Which random characters and random lines hardly ever are."""
    found = places(SOURCE, "Python", 120)
    assert len(found) > 100
    assert [SOURCE[slice(*place)] for place in found if not is_unit(*place)] == []
    texts = [SOURCE[slice(*place)] for place in found]
    functions = sum(text.startswith(("def ", "lambda")) for text in texts)
    statements = sum(text.startswith(("return", "if ", "while ", "for ")) for text in texts)
    assert min(functions, statements, len(texts) - functions - statements) > 10
    chance = random.Random(0)
    drawn = [sorted(chance.sample(range(len(SOURCE)), 2)) for _ in range(100)]
    assert sum(is_unit(*place) for place in drawn) < 20


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_stretches_of_every_language_are_units(language: str) -> None:
    found = stretches(SAMPLES[language], language, 60)
    assert len(found) > 20
    for text in found:
        for pair in ("()", "[]", "{}"):
            assert text.count(pair[0]) == text.count(pair[1]), text
    assert any("return a" in text or "h[a]" in text or "h(a" in text for text in found)
    assert len(set(found)) > 4


def test_every_grammar_has_a_sample_and_kinds_are_apart() -> None:
    assert set(SAMPLES) | {"Python"} == set(nodes.LANGUAGES)
    types = ("lambda", "if_statement", "call", "function_item", "lexical_declaration", "block")
    assert [[k for k in nodes.KINDS if nodes.is_kind(t, k)] for t in types] == [
        ["function"],
        ["statement"],
        ["expression"],
        ["function"],
        ["statement"],
        [],
    ]


def test_characters_are_counted_not_bytes() -> None:
    text = "# äöü 你好\nx = {'ü': f('é')}\n" * 5
    for made in stretches(text, "Python", 40):
        assert made.strip() == made
        ast.parse(made)


def test_a_text_beyond_the_window_is_cut_inside_it() -> None:
    text = "def f():\n" + "    x = g(1)\n" * 2000
    for made in stretches(text, "Python", 20):
        assert len(made) < 3000
        assert made.startswith(("x = g(1)", "g(1)"))


def test_languages_without_grammar_and_broken_texts_have_none() -> None:
    chance = random.Random(0)
    assert nodes.stretch("def x; end", "Ruby", chance) is None
    assert nodes.stretch("x = 1", None, chance) is None
    assert nodes.stretch("", "Python", chance) is None
    assert all(nodes.stretch("((((((", "Python", random.Random(k)) is None for k in range(9))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes._parser.cache_clear()
    monkeypatch.setitem(sys.modules, "tree_sitter_go", None)
    with pytest.raises(UsageError, match="needs the package tree-sitter-go: pip install"):
        nodes.stretch("package a", "Go", random.Random(0))


def test_a_third_of_the_middles_are_nodes() -> None:
    whole: Counter[bool] = Counter()
    for number in range(300):
        chance = random.Random(number)
        pieces = fim._pieces(SOURCE, "Python", Options(1 << 20, 0.0), 1 << 21, chance)
        assert pieces[1].text + pieces[5].text + pieces[3].text == SOURCE
        node = nodes.stretch(SOURCE, "Python", _after_choice(number))
        whole[node == (len(pieces[1].text), len(pieces[1].text + pieces[5].text))] += 1
    assert 60 < whole[True] < 140


def _after_choice(number: int) -> random.Random:
    chance = random.Random(number)
    chance.choice("abc")
    return chance
