"""Fill in the middle: a file of the new side with a stretch taken out and put last.

The stretch is cut at two random characters, at two random line starts, or is one syntax node (an
expression, a statement or a function, `render.nodes`), each as likely as the others; where the
language has no grammar or no node is found, at line starts. Of a file too long for a row the middle
is from a random stretch of whole lines that surely fits; the lines around it, more than fit, fill
the row (`fim-file`), or give way to other files (`fim-repo`). Which file, which cut: by key.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from codeflow.documents import pieces as parts
from codeflow.documents.document import (
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    IM_END,
    Document,
    Piece,
)
from codeflow.documents.options import Options
from codeflow.documents.privacy import scrub
from codeflow.documents.triples import nodes
from codeflow.documents.triples.context import around, changed_new, hidden_paths
from codeflow.triple import Triple

_CHARS_PER_TOKEN = 2  # few texts have less, so few middles turn out too long
_MOST_CHARS_PER_TOKEN = 5  # few texts have more, so few documents of long files leave room


def render_file(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document with one changed file and nothing else."""
    chosen = _choose(triple, options, key)
    if chosen is not None:
        shown = options.length * _MOST_CHARS_PER_TOKEN
        body = _pieces(*chosen[1:], options, shown, random.Random(f"{key}:cut"))
        yield Document(triple.id, triple.language, triple.kind, (), iter(()), options.rest, body)


def render_repository(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: repository, other files, one changed file with a middle to fill in."""
    chosen = _choose(triple, options, key)
    if chosen is None:
        return
    path, text, language = chosen
    rest = options.rest
    near = options.length * _CHARS_PER_TOKEN  # other files are to have half of the row
    body = (
        Piece(FILE_SEP, rest, special=True),
        Piece(f"{parts.file_name(path)}\n", rest),
        *_pieces(text, language, options, near, random.Random(f"{key}:cut")),
    )
    hidden = hidden_paths(triple.files)
    others = [path, *(o for o in changed_new(triple) if o != path and o not in hidden)]
    shown = frozenset({path, *hidden})
    context = around(triple.new_repo, triple.new_tree, others, shown=shown, clean=scrub)
    head = parts.head(triple, rest)
    yield Document(triple.id, triple.language, triple.kind, head, context, rest, body)


def _choose(triple: Triple, options: Options, key: str) -> tuple[str, str, str | None] | None:
    """One of the changed files, with its text and its language; None when all are gone or nearly
    empty."""
    languages = {change.new_path: change.language for change in triple.files}
    hidden = hidden_paths(triple.files)
    new = [path for path in changed_new(triple) if path not in hidden]
    paths = [path for path in new if options.may_repeat(triple, path)]
    random.Random(f"{key}:file").shuffle(paths)
    for path in paths:
        text = triple.new_repo[path].decode()
        if len(text) > 1:
            return path, scrub(text), languages[path]
    return None


def _pieces(
    text: str, language: str | None, options: Options, shown: int, chance: random.Random
) -> tuple[Piece, ...]:
    """The body; the middle is from a stretch that is sure to fit, in `shown` characters of text.

    The text around is more than a row holds: the fitter trims it, by tokens, from the far ends.
    """
    near, far = _stretch(text, 0, len(text), shown, chance)
    first, last = _stretch(text, near, far, options.length * _CHARS_PER_TOKEN, chance)
    start, stop = (first + place for place in _cut(text[first:last], language, chance))
    rest = options.rest
    return (
        Piece(FIM_PREFIX, rest, special=True),
        Piece(text[near:start], rest),
        Piece(FIM_SUFFIX, rest, special=True),
        Piece(text[stop:far], rest),
        Piece(FIM_MIDDLE, rest, special=True),
        Piece(text[start:stop], 1.0),
        Piece(IM_END, 1.0, special=True),
    )


def _cut(text: str, language: str | None, chance: random.Random) -> tuple[int, int]:
    """Where the middle starts and stops."""
    way = chance.choice(("characters", "lines", "node"))
    node = nodes.stretch(text, language, chance) if way == "node" else None
    if node is not None:
        return node
    if way == "characters":
        places: Sequence[int] = range(len(text) + 1)
    else:
        starts = [0]
        while (end := text.find("\n", starts[-1])) >= 0:
            starts.append(end + 1)
        places = sorted({*starts, len(text)})
    start, stop = sorted(chance.sample(places, 2))
    return start, stop


def _stretch(
    text: str, first: int, last: int, limit_chars: int, chance: random.Random
) -> tuple[int, int]:
    """A random stretch of text[first:last] that starts and ends with lines where it has any.

    All of it, if that is not more than `limit_chars`.
    """
    if last - first <= limit_chars:
        return first, last
    start = first + chance.randrange(last - first - limit_chars + 1)
    stop = start + limit_chars
    if start > first and text[start - 1] != "\n":
        line = text.find("\n", start, stop - 1)
        start = line + 1 if line >= 0 else start
    end = text.rfind("\n", start, stop)
    return start, end + 1 if end >= 0 else stop
