"""A stretch of a text that is one expression, statement or function, by its syntax tree.

A random place is drawn, the item around it is parsed, and the tree climbed from there to the
nearest node of the wanted kind: a stretch of code is as likely as it is long, and no tree is
walked. Nodes with syntax errors in them are not taken, as what is parsed may start anywhere.

The grammars are the official wheels, loaded when a text of their language first comes. Texts are
hostile, and tree-sitter was not made for that: some need memory and time by the square of their
size, whatever the library's own limits say (`x=>x=>...` as C: 357 MB and 0.5 s for 3,000 bytes,
2.4 GB for 8,192). So no more than `_WINDOW_CHARS` are parsed at a time, which also makes it cheap.
"""

from __future__ import annotations

import random
import re
from functools import cache
from typing import TYPE_CHECKING, Final

from codeflow.errors import UsageError
from codeflow.text.grammars import WHEELS, load

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

KINDS: Final = ("expression", "statement", "function")
_TRIES = 4
_LARGER = 0.3  # chance of going on to the next node of the kind
_WINDOW_CHARS = 3000
_ITEM = re.compile(r"^[^\s)\]}]", re.MULTILINE)  # a line in column 0 starts an item


LANGUAGES: Final = frozenset(WHEELS) - {"PHP", "Ruby", "Shell"}
"""Not PHP, which is code amid text, nor what has here documents, which can crash the parser."""

_FUNCTIONS: Final = frozenset(
    (
        "arrow_function", "closure_expression", "constructor_declaration", "func_literal",
        "function_declaration", "function_definition", "function_expression", "function_item",
        "generator_function", "generator_function_declaration", "lambda", "lambda_expression",
        "local_function_statement", "method_declaration", "method_definition",
    )
)  # fmt: skip
_EXPRESSIONS: Final = frozenset(
    (
        "array", "attribute", "binary_operator", "boolean_operator", "call",
        "comparison_operator", "composite_literal", "dictionary", "dictionary_comprehension",
        "field_access", "list", "list_comprehension", "macro_invocation", "method_invocation",
        "not_operator", "object", "set", "set_comprehension", "subscript", "tuple",
        "unary_operator",
    )
)  # fmt: skip


def stretch(text: str, language: str | None, chance: random.Random) -> tuple[int, int] | None:
    """Where a node of a random kind starts and stops, in characters.

    None for a language without a grammar here, and where no node around some places would do.

    Raises:
        UsageError: the grammar's package is not installed.
    """
    if language not in LANGUAGES or not text:
        return None
    kind = chance.choice(KINDS)
    for _ in range(_TRIES):
        place = chance.randrange(len(text))
        low = _item(text, place)
        window = text[low : low + _WINDOW_CHARS]
        data = window.encode()
        at = len(window[: place - low].encode())
        root = _parser(language).parse(data).root_node
        node = _above(root.descendant_for_byte_range(at, at), kind)
        while node is not None and chance.random() < _LARGER:
            node = _above(node.parent, kind) or node
        if node is not None and not node.has_error and node.start_byte < node.end_byte:
            start, stop = (
                low + len(data[:end].decode()) for end in (node.start_byte, node.end_byte)
            )
            goes_on = stop - low >= len(window.rstrip()) and low + len(window) < len(text)
            if (start, stop) != (0, len(text)) and not goes_on:
                return start, stop
    return None


def _item(text: str, place: int) -> int:
    """The start of the item around a place, or of a line, at most half a window before it."""
    low = max(0, place - _WINDOW_CHARS // 2)
    starts = [match.start() for match in _ITEM.finditer(text, low, place + 1)]
    if starts:
        return starts[-1]
    line = text.find("\n", low, place) + 1
    return line if line and low else low


def _above(node: Node | None, kind: str) -> Node | None:
    """The node itself or the nearest one above it that is of the kind."""
    while node is not None and not (node.is_named and is_kind(node.type, kind)):
        node = node.parent
    return node


def is_kind(type_: str, kind: str) -> bool:
    """Whether a node of a grammar is an expression, a statement or a function, by its name."""
    if kind == "function" or type_ in _FUNCTIONS:
        return kind == "function" and type_ in _FUNCTIONS
    if kind == "statement":
        return type_ == "declaration" or type_.endswith(("_statement", "_declaration"))
    return type_ in _EXPRESSIONS or type_.endswith("_expression")


@cache
def _parser(language: str) -> Parser:
    try:
        from tree_sitter import Parser

        return Parser(load(language))
    except ModuleNotFoundError as error:
        name = (error.name or WHEELS[language].module).replace("_", "-")
        raise UsageError(
            f"cutting {language} at syntax nodes needs the package {name}: pip install {name}"
        ) from None
