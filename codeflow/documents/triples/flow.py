"""What a triple's commits did, one after the other: message, diff, message, diff, and so on.

`flow` tells each step its message before its diff, `plan` all messages before the first diff. Both
are learnt as `diff` is: the diffs are the answers. Before them stands what the steps ask for of the
repository as it was before the first one; what a later step finds changed by an earlier one it can
read there. A triple of one commit is told as `diff` tells it.

Generated and vendored files are not written, and a step that changes nothing else is not told.
Addresses that a step writes are replaced in every step that shows the line again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from codeflow.documents import pieces as parts
from codeflow.documents.document import IM_END, Document, Piece, Section, SeenFile, Window
from codeflow.documents.options import Options
from codeflow.documents.privacy import scrub
from codeflow.documents.triples.context import (
    BESIDE,
    around,
    hidden_paths,
    is_hidden,
    merged,
    seen_of,
)
from codeflow.documents.triples.lineage import (
    ENDLESS,
    NOTHING,
    Lineage,
    Stretch,
    joined,
    read_section,
)
from codeflow.git.patch import FilePatch, parse_patch
from codeflow.triple import Step, Triple

_HEADER: Final = re.compile(r"^(?=diff --git )", re.MULTILINE)
_INDEX: Final = re.compile(r"index [0-9a-f]+\.\.[0-9a-f]+(?: \d{6})?\Z")
_LEAST_MESSAGE_CHARS: Final = 200


class _Written(NamedTuple):
    """One file of one step: its section of the diff, and what of the file before all steps it asks
    for; `path` is the name that it had then."""

    text: str
    path: str | None
    windows: tuple[Window, ...]


class _Told(NamedTuple):
    """One step as it is told."""

    step: Step
    files: list[_Written]


def render(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: repository, old files, then each step's message and `<|im_start|>diff`."""
    yield from _rendered(triple, triple.steps, options, planned=False)


def render_plan(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: repository, old files, all messages, then all diffs."""
    yield from _rendered(triple, triple.steps, options, planned=True)


def _rendered(
    triple: Triple, steps: Sequence[Step], options: Options, planned: bool
) -> Iterator[Document]:
    told = [one for one in _told(steps) if one.files]
    if not told:
        return
    rest = options.rest
    limit = max(options.length // (2 * len(told)), _LEAST_MESSAGE_CHARS)
    asked = [parts.asked([_message(one.step)], rest, limit) for one in told]
    answer = parts.reply_start("diff", rest)
    end = Piece(IM_END, 1.0, special=True)
    body = (*(piece for one in asked[: len(told) if planned else 1] for piece in one), *answer)
    seen = _seen(told)
    sections = []
    for number, one in enumerate(told):
        between: tuple[Piece, ...] = ()
        if number:
            between = (end, Piece("\n", rest), *(() if planned else asked[number]), *answer)
        for file in one.files:
            shown = seen.pop(file.path, None) if file.path is not None else None
            sections.append(Section((*between, Piece(file.text, 1.0)), shown))
            between = ()
    first = told[0].step
    old = list(dict.fromkeys(file.path for one in told for file in one.files if file.path))
    hidden = hidden_paths(file for step in steps for file in step.files)
    context = around(first.old_repo, first.old_tree, old, shown=frozenset({*old, *hidden}))
    halves = None
    if len(told) > 1:
        middle = told[len(told) // 2].step.index - steps[0].index
        halves = partial(_halves, triple, (steps[:middle], steps[middle:]), options, planned)
    yield Document(
        triple.id,
        triple.language,
        triple.kind,
        parts.head(triple, rest),
        context,
        rest,
        body,
        tuple(sections),
        (end,),
        halves=halves,
    )


def _halves(
    triple: Triple, halves: Sequence[Sequence[Step]], options: Options, planned: bool
) -> Iterator[Document]:
    """The first steps as one document, the others as another."""
    for steps in halves:
        yield from _rendered(triple, steps, options, planned)


def _message(step: Step) -> tuple[str, ...]:
    return step.message, *step.subjects


def _told(steps: Sequence[Step]) -> Iterator[_Told]:
    """Each step with what it writes."""
    versions: dict[str, Lineage] = {}
    hidden = hidden_paths(file for step in steps for file in step.files)
    for step in steps:
        before = dict(versions)
        texts = [text for text in _HEADER.split(step.patch) if text]
        patches = parse_patch(step.patch.encode())
        made = []
        for patch in patches:
            if patch.old_path is not None:
                versions.pop(patch.old_path, None)
        for patch, text in zip(patches, texts, strict=True):
            old = NOTHING
            if patch.old_path is not None:
                old = before.get(patch.old_path) or Lineage.of_old(patch.old_path)
            lines, new = _followed(text, old)
            if patch.new_path is not None:
                versions[patch.new_path] = new
            if not is_hidden(patch, hidden):
                made.append(_Written(lines, old.path, _asked(patch, old)))
        yield _Told(step, made)


def _followed(text: str, old: Lineage) -> tuple[str, Lineage]:
    """A file's section as it is written, and the version that it makes of the old one.

    The `index` line is left out, as in `diff`. Lines that a step wrote are free of addresses.
    """
    made: list[Stretch] = []
    lines: list[str] = []
    done = 0
    for line, sign, at in read_section(text):
        if sign == "+":
            made += [*old.cut(done, at), Stretch(1, None)]
            done = at
        elif sign in (" ", "-"):
            made += old.cut(done, at + (sign == " "))
            done = at + 1
        if sign == "+" or (sign in (" ", "-") and old.written(at)):
            line = sign + scrub(line[1:])
        if sign or not _INDEX.match(line):
            lines.append(line)
    made += old.cut(done, ENDLESS)
    return "\n".join(lines), joined(old.path, made)


def _asked(patch: FilePatch, old: Lineage) -> tuple[Window, ...]:
    """What a file's hunks ask for of the file before all steps."""
    return merged(
        window
        for hunk in patch.hunks
        for window in old.windows(hunk.old_skip - BESIDE, hunk.old_skip + hunk.old_lines + BESIDE)
    )


def _seen(told: Sequence[_Told]) -> dict[str, SeenFile]:
    """What has to be seen of each file before all steps, by its path."""
    windows: dict[str, list[Window]] = {}
    for one in told:
        for file in one.files:
            if file.path is not None and file.windows:
                windows.setdefault(file.path, []).extend(file.windows)
    old_repo = told[0].step.old_repo
    return {path: seen_of(old_repo, path, merged(own)) for path, own in windows.items()}
