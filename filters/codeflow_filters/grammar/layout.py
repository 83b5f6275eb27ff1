"""A hash of what a formatter leaves alone: structure and tokens, without what it may set.

Formatters set more than white space: black, prettier, rustfmt and ktlint add or take trailing
commas, change the marks of strings, put whole values in parentheses, set semicolons, and lay out
docstrings anew. Two texts with the same hash differ in these and in white space, and in nothing
that the tree tells: kinds of nodes, how they nest, names, numbers, what strings and comments say.
So an indentation that counts in Python counts here, and `(a,)` is not `(a)`. Parentheses within an
expression count where a grammar may know another precedence than the language had.

Runs in the process that parses (`codeflow_filters.grammar.parser_child`).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from codeflow_filters.grammar.obeyed import obeyed

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

_LITERAL: Final = re.compile("string|heredoc|template|regex|char|text|raw|quoted")
_STRING: Final = frozenset(
    {"concatenated_string", "string", "interpreted_string_literal", "string_literal"}
)
_WRITTEN: Final = re.compile(rb"([A-Za-z]*)(\"\"\"|'''|\"|')(.*)\2", re.DOTALL)
_WORDS: Final = re.compile(rb"[\w\x80-\xff]+")
_ESCAPED_MARK: Final = re.compile(rb"\\([\"'])|\\.", re.DOTALL)
_TO_FORMATTERS: Final = re.compile(
    rb"\b(?:fmt|yapf): ?\S|\bprettier-\w|@formatter:|\bclang-format\b"
)
_TWO_MARKS: Final = frozenset({"Python", "JavaScript", "TypeScript", "TSX"})
_SEMICOLONS: Final = frozenset({"JavaScript", "TypeScript", "TSX"})
_CLOSING: Final = frozenset({")", "]", "}", "|", ">"})
_NO_NODES: Final = frozenset({"line_continuation", "empty_statement"})
# Of other languages a version may have had another precedence than its grammar: PHP before 8.
_SURE_PRECEDENCE: Final = frozenset(
    {"C#", "Go", "Java", "JavaScript", "Python", "Rust", "TSX", "TypeScript"}
)
# Around what parentheses may stand that hold a whole value, and change nothing.
_VALUES: Final = frozenset({
    "argument", "argument_list", "arguments", "assert_statement", "assignment",
    "assignment_expression", "assignment_statement", "augmented_assignment",
    "expression_statement", "keyword_argument", "parenthesized_expression", "return_statement",
    "variable_declarator", "yield",
})  # fmt: skip
# Where a comma before the closing mark says something: `(a,)`, `x[a,]`, the input of a macro.
_COMMA_COUNTS: Final = re.compile("tuple|subscript|token_tree|index|generic")


def layout(language: str, tree: Tree, source: bytes, common: tuple[int, int]) -> str | None:
    """The hash of a text; None if it has errors."""
    root = tree.root_node
    if root.has_error:
        return None
    digest = hashlib.sha256()
    comments: list[bytes] = []  # what they say, in their order: they move with the lines
    stack: list[Node | bytes] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, bytes):
            digest.update(node)
            continue
        kind = node.type
        text = source[node.start_byte : node.end_byte]
        if "comment" in kind:
            if not _TO_FORMATTERS.search(text):
                comments += [*obeyed(language, text).split(), b"", *_WORDS.findall(text)]
        elif kind in _STRING and (said := _said(language, node, text)) is not None:
            digest.update(b'\1"' + said + b"\3")
        elif _LITERAL.search(kind) or not node.children:
            if kind not in _NO_NODES and not (kind == ";" and language in _SEMICOLONS):
                digest.update(b"\1" + kind.encode() + b"\0" + text.strip(b"\r\n") + b"\3")
        else:
            children = _children(language, node)
            if not _is_bare(language, node):
                children = [b"\1" + kind.encode() + b"\0", *children, b"\4"]
            stack.extend(reversed(children))
    digest.update(b"\2".join(comments))
    return digest.hexdigest()


def _is_bare(language: str, node: Node) -> bool:
    """Whether a node is parentheses that change nothing: the tree tells the same without."""
    return (
        node.type == "parenthesized_expression"
        and node.parent is not None
        and (language in _SURE_PRECEDENCE or node.parent.type in _VALUES)
    )


def _children(language: str, node: Node) -> list[Node | bytes]:
    """The children of a node without commas before a closing mark, and marks that say nothing."""
    kept: list[Node | bytes] = [child for child in node.children if "comment" in child.type]
    children = [child for child in node.children if "comment" not in child.type]
    bare = node.type == "import_from_statement" or _is_bare(language, node)
    counts = _COMMA_COUNTS.search(node.type) is not None
    one = sum(child.type == "," for child in children) == 1
    for before, child, after in zip(
        [None, *children], children, [*children[1:], None], strict=False
    ):
        closes = after is not None and after.type in _CLOSING
        is_last = child.type == "," and closes and before is not None and before.is_named
        if is_last and not (counts and one):
            continue
        if not (bare and child.type in ("(", ")")):
            kept.append(child)
    return kept


def _said(language: str, node: Node, text: bytes) -> bytes | None:
    """What a string says, whatever its marks; None where that is not plain to see."""
    if language not in _TWO_MARKS:
        return None
    docstring = (
        language == "Python"
        and node.parent is not None
        and node.parent.type == "expression_statement"
    )
    if docstring:
        whole = _WRITTEN.fullmatch(text)
        return b" ".join(whole[3].split()) if whole else None
    texts = [text]
    if node.type == "concatenated_string":
        texts = [
            text[part.start_byte - node.start_byte : part.end_byte - node.start_byte]
            for part in node.named_children
            if "comment" not in part.type
        ]
    written = [found for found in map(_WRITTEN.fullmatch, texts) if found]
    prefixes = {found[1].lower().replace(b"u", b"") for found in written}
    if len(written) < len(texts) or len(prefixes) != 1:
        return None
    prefix, said = prefixes.pop(), b"".join(found[3] for found in written)
    if b"r" not in prefix:  # a mark that had to be escaped need not be in another kind
        said = _ESCAPED_MARK.sub(lambda found: found[1] or found[0], said)
    return prefix + b"\0" + said
