"""The process that parses: it is given texts on its standard input, and may die on one of them.

tree-sitter is fast and lenient, but not made for hostile input. Found with the grammars in use: a
text of 5 kB that takes 900 MB and 3 s (`x=>x=>x=>...` as C), one of 100 kB that takes minutes
(`if(x)if(x)...` as Shell), and one that ends the process by a segmentation fault (thousands of here
documents on a line of Ruby). No limit of the library sees these, so the parser runs here, under
limits of the operating system, and `codeflow_filters.grammar.parser` starts another one when it
dies.

Limits, in this order:

* operations of the parser, `OPERATIONS_A_BYTE`: deterministic; ordinary code needs 1 or fewer;
* address space (`RLIMIT_AS`): the same for the same build of the library; macOS ignores it;
* processor time, by `SIGPROF`: not deterministic, and so far above what ordinary code takes
  (hundreds of times) that only what hangs meets it.

Cost: 0.1 s to start; then 10 to 17 MB/s for a parse, and some 0.1 ms a request.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import resource
import signal
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

from codeflow.text.grammars import load
from codeflow_filters.grammar import own_parsers
from codeflow_filters.grammar.layout import layout
from codeflow_filters.grammar.obeyed import begins_block, obeyed, obeys_what_is_above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tree_sitter import Node, Parser, Tree

OPERATIONS_A_BYTE: Final = 4
_LEAST_OPERATIONS: Final = 100_000
_OPERATIONS_A_CALL: Final = 100  # how often tree-sitter asks whether to go on
_SLICE_BYTES: Final = 1 << 16
UNPARSED_ROOT: Final = 1_000_000
"""What a root that is itself an error counts for: the file as a whole has no structure."""

_LITERAL = re.compile("string|heredoc|template|regex|char|text|literal|raw|quoted")


def main() -> None:
    """Answers requests until the input ends: pickled in, a line of JSON out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle; our input ends with it
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    _answer("ready")
    while True:
        try:
            task, language, sources, common, memory_bytes, seconds = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if hard == resource.RLIM_INFINITY or memory_bytes < hard:
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard))
        answers: list[int | str | None] = []
        try:
            for source in sources:
                signal.setitimer(signal.ITIMER_PROF, seconds)
                if task == "reads":
                    answers.append(own_parsers.reads(language, source, seconds))
                else:
                    tree = _parse(_parser(language), source)
                    answers.append(
                        None if tree is None else _TASKS[task](language, tree, source, common)
                    )
                    del tree
                signal.setitimer(signal.ITIMER_PROF, 0)
        except (ImportError, KeyError) as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _answer(str(error))
            continue
        _answer(answers)


def _answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


@cache
def _parser(language: str) -> Parser:
    from tree_sitter import Parser

    return Parser(load(language))


def _parse(parser: Parser, source: bytes) -> Tree | None:
    """The tree, or None when it takes more operations than its size allows."""
    calls = max(_LEAST_OPERATIONS, OPERATIONS_A_BYTE * len(source)) // _OPERATIONS_A_CALL

    def stop(offset: int, has_error: bool) -> bool:
        nonlocal calls
        calls -= 1
        return calls < 0

    def read(offset: int, point: object) -> bytes:
        return source[offset : offset + _SLICE_BYTES]

    try:
        return parser.parse(read, progress_callback=stop)
    except ValueError:  # that is how the binding says that the callback stopped it
        parser.reset()
        return None


def errors(language: str, tree: Tree, source: bytes, common: tuple[int, int]) -> int:
    """How many nodes are errors or were made up by the parser to go on."""
    if not tree.root_node.has_error:
        return 0
    found = UNPARSED_ROOT * tree.root_node.is_error
    stack = [tree.root_node]
    while stack:
        node = stack.pop()
        found += node.is_error or node.is_missing
        if node.has_error:
            stack.extend(node.children)
    return found


def tokens(language: str, tree: Tree, source: bytes, common: tuple[int, int]) -> str | None:
    """A hash of structure and tokens without comments and white space; None if it has errors.

    White space within a literal counts, as does any text that no node covers. Of the items that lie
    within what this text has in common with the other side, kind and place are enough.
    """
    root = tree.root_node
    if root.has_error:
        return None
    digest = hashlib.sha256()
    end = 0
    whole = _whole(language, root.children, source)
    for child in root.children:
        digest.update(source[end : child.start_byte].strip())
        end = child.end_byte
        if child.end_byte <= common[0]:
            _mark(digest, child, 0)
        elif len(source) - child.start_byte <= common[1]:
            _mark(digest, child, len(source))
        else:
            _tokens(digest, language, child, source, whole)
    digest.update(source[end:].strip())
    return digest.hexdigest()


def _mark(digest: hashlib._Hash, node: Node, origin: int) -> None:
    if "comment" not in node.type:
        places = (node.start_byte - origin, node.end_byte - origin)
        digest.update(f"{node.type}{places}".encode())


def _whole(language: str, nodes: Sequence[Node], source: bytes) -> set[int]:
    """Where the comments start, among these neighbours, that are obeyed as a whole."""
    found: set[int] = set()
    row: list[int] = []  # the starts of a row of comments that touches what comes next
    is_block = False
    last = -2
    for node in nodes:
        touches = node.start_point[0] <= last + 1
        last = node.end_point[0] - (node.end_point[1] == 0)
        if not touches:
            row, is_block = [], False
        if "comment" in node.type:
            row.append(node.start_byte)
            text = source[node.start_byte : node.end_byte]
            is_block = is_block or begins_block(language, text)
            if is_block:
                found.add(node.start_byte)
        else:
            if row and obeys_what_is_above(language, source[node.start_byte : node.end_byte]):
                found.update(row)
            row, is_block = [], False
    return found


def _tokens(
    digest: hashlib._Hash, language: str, top: Node, source: bytes, whole: set[int]
) -> None:
    literal_until = 0  # we are within a literal up to this offset
    stack: list[Node | bytes] = [top]
    while stack:
        node = stack.pop()
        if isinstance(node, bytes):
            digest.update(node)
            continue
        start, end = node.start_byte, node.end_byte
        if "comment" in node.type:
            text = source[start:end]
            kept = text.strip() if start in whole else obeyed(language, text)
            if kept:
                digest.update(b"\2" + kept + b"\3")
            continue
        if _LITERAL.search(node.type):
            literal_until = max(literal_until, end)
        digest.update(b"\1" + node.type.encode() + b"\0")
        children = node.children
        if not children:
            text = source[start:end]
            digest.update((text if start < literal_until else text.strip()) + b"\3")
            continue
        if any("comment" in child.type for child in children):
            whole = whole | _whole(language, children, source)
        parts: list[Node | bytes] = []
        for child in children:
            parts += [_gap(source[start : child.start_byte], start < literal_until), child]
            start = child.end_byte
        parts += [_gap(source[start:end], start < literal_until), b"\4"]
        stack.extend(reversed(parts))


def _gap(text: bytes, literal: bool) -> bytes:
    return text if literal else text.strip()


_TASKS: Final = {"errors": errors, "layout": layout, "tokens": tokens}

if __name__ == "__main__":
    main()
