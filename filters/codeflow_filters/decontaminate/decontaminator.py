"""The filter behind `--decontaminate`: one verdict of all that ties a triple to a benchmark.

Rules, in this order: the place in history (`history`), the gold patch (`gold`), n-grams of any text
field in the messages and in both sides of the patch (`ngrams`). Of a patch in an instance, only
lines that it adds are looked for as text: the rest is the repository's own code, which is in every
triple around it. Not looked at: files of the snapshots that the triple does not change, and context
beyond that of its patch. A benchmark without commits (HumanEval, MBPP) is matched in patches and
messages only.

Cost: the index is built once for a set of files in a process (about 5 s for 2,300 instances with
patches, 22 MB); then 7 MB of patches a second, below a millisecond for an ordinary triple.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.errors import UsageError
from codeflow_filters.decontaminate.gold import GoldPatches
from codeflow_filters.decontaminate.history import Histories
from codeflow_filters.decontaminate.hunks import FileLines, files
from codeflow_filters.decontaminate.instances import Instance, read_instances
from codeflow_filters.decontaminate.ngrams import NgramIndex

if TYPE_CHECKING:
    from codeflow.triple import Triple

_SHOWN_CHARACTERS: Final = 160
_AROUND: Final = 100  # characters around `__` in which the name of an instance ends
_NAMED: Final = re.compile(r"[\w.-]{,100}?__[\w.-]{,100}?-\d+")


class Decontaminator:
    """Drops triples that a benchmark's instances are in, or that come after them.

    Args:
        files: JSON lines of instances.
        ngram: how many tokens in a row are no coincidence.
        gold_share: how much of what a gold patch adds makes a copy of it.

    Raises:
        UsageError: a file cannot be read, or a line of it; names both.
    """

    why = "holds a benchmark's instance, or comes after one in its repository"
    cost: Cost = "patch"
    reads = frozenset(
        {
            *("repo", "repo_url", "old_commit", "new_commit", "commits"),
            *("messages", "patch", "committed_at"),
        }
    )

    def __init__(
        self, files: Sequence[str | Path], ngram: int = 13, gold_share: float = 0.5
    ) -> None:
        if ngram < 5:
            raise UsageError(f"ngram = {ngram}: give 5 or more; shorter ones are everywhere")
        self._instances, self._gold, self._index, self._owners = _indexed(
            tuple(_version(Path(file)) for file in files), ngram, gold_share
        )
        self._histories = Histories(self._instances)
        self._names = frozenset(instance.id for instance in self._instances)

    def chain(self, repo: str, ids: Sequence[str], merged: Mapping[str, int] | None = None) -> None:
        """Tells the first-parent chain of a repository, oldest first, before its triples come.

        Args:
            merged: for commits beside the chain, the index on it of the merge that brought them in.
        """
        self._histories.chain(repo, ids, merged or {})

    def __call__(self, triple: Triple) -> Verdict:
        verdict = self._histories.verdict(triple)
        if verdict is not None:
            return verdict
        parts = list(files(triple.patch))
        gold = self._gold.find(parts)
        if gold is not None:
            return drop(gold.reason, f"{gold.instance}, {gold.field}: in {gold.path}")
        for where, text, paths in _texts(triple, parts):
            data = text.encode(errors="replace")
            match = self._index.find(data)
            if match is not None:
                instance, field = self._owners[match.owner]
                at = paths[bisect_right(paths, (match.start, "\U0010ffff")) - 1][1]
                shown = " ".join(data[match.start : match.stop].decode(errors="replace").split())
                detail = f"{instance}, {field}: in {where}{at}: {shown[:_SHOWN_CHARACTERS]}"
                return drop("ngram", detail)
        return keep()

    def found_in(self, text: str, name: str) -> str | None:
        """Which instance a text that is no change gives away, or nothing: its own name is an
        instance's, the text names one (`owner__repo-123`), or holds text of one.

        Args:
            name: what the text is called where it is from; may be empty.
        """
        if name in self._names:
            return name
        for named in _named(text):
            if named in self._names:
                return f"{named}: named in it"
        data = text.encode(errors="replace")
        match = self._index.find(data)
        if match is None:
            return None
        instance, field = self._owners[match.owner]
        shown = " ".join(data[match.start : match.stop].decode(errors="replace").split())
        return f"{instance}, {field}: {shown[:_SHOWN_CHARACTERS]}"


def _named(text: str) -> Iterator[str]:
    """What could be names of SWE-bench's form, `owner__repo-123`."""
    at = text.find("__")
    while at >= 0:
        start = at
        while (
            start
            and at - start < _AROUND
            and (text[start - 1].isalnum() or text[start - 1] in "._-")
        ):
            start -= 1
        found = _NAMED.match(text, start, at + _AROUND)
        if found is not None:
            yield found[0].lstrip("._-")
        at = text.find("__", at + 2)


Version = tuple[str, int, int]


def _version(path: Path) -> Version:
    """A file as it is now; one that cannot be looked at fails when it is read."""
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=2)
def _indexed(
    files_: tuple[Version, ...], ngram: int, gold_share: float
) -> tuple[list[Instance], GoldPatches, NgramIndex, list[tuple[Instance, str]]]:
    instances = read_instances([name for name, _, _ in files_])
    owners: list[tuple[Instance, str]] = []

    def texts() -> Iterator[tuple[int, int, str]]:
        numbers: dict[str, int] = {}
        for instance in instances:
            number = numbers.setdefault(instance.id, len(numbers))
            for field, text in (*instance.texts, *_added_texts(instance)):
                owners.append((instance, field))
                yield len(owners) - 1, number, text

    index = NgramIndex(texts(), ngram)
    return instances, GoldPatches(instances, ngram, gold_share), index, owners


def _added_texts(instance: Instance) -> Iterator[tuple[str, str]]:
    """What the patches of an instance add, run by run; lines that they also remove only moved."""
    for field, patch in instance.patches:
        parts = list(files(patch))
        removed = {text.strip() for part in parts for text in part.only("-")}
        for part in parts:
            run: list[str] = []
            for sign, text in (*part.lines, (" ", "")):
                if sign == "+" and text.strip() not in removed:
                    run.append(text)
                elif sign != "-" and run:
                    yield field, "\n".join(run)
                    run = []


Places = list[tuple[int, str]]
"""Where each file starts in a text, in bytes."""


def _texts(triple: Triple, parts: Iterable[FileLines]) -> Iterator[tuple[str, str, Places]]:
    """(what it is, text, files in it): the messages, and the two sides of the patch."""
    parts = list(parts)
    messages = "\n".join(text for message in triple.messages for text in message)
    yield "the messages", messages, [(0, "")]
    for sign, name in (("+", "the new side of "), ("-", "the old side of ")):
        shown = [part for part in parts if sign == "+" or part.only("-")]
        texts, places, start = [], [], 0
        for part in shown:
            texts.append("\n".join(part.side(sign)))
            places.append((start, part.path))
            start += len(texts[-1].encode(errors="replace")) + 1
        if texts:
            yield name, "\n".join(texts), places
