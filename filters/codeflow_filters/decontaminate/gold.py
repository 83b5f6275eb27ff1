"""Finds the patches of instances in patches: the same change, or all that it adds.

*The same change*: a patch id in the sense of git-patch-id(1) (paths and changed lines, white space
and line numbers left out, files in any order), but without context, which depends on the tool.

*All that it adds*: every added line that says something is added by the triple, too, wherever. Gold
patches of fewer than `words` words on such lines are common by chance and match as a whole only.

*Most of what it adds*: an edited copy, of which at least `share` of the telling lines are there (of
three words and more, five at least; lines that many gold patches add tell nothing).

Cost: a set of a patch's added lines, and a look-up for each in those of the gold patches.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from codeflow_filters.decontaminate.hunks import FileLines, files
from codeflow_filters.decontaminate.instances import Instance
from codeflow_filters.decontaminate.ngrams import count_tokens

_WORD = re.compile(r"\w+")
_TELLING_WORDS = 3
_LEAST_LINES = 5
_MOST_OWNERS = 5  # gold patches that add a line, beyond which it tells of none


class GoldMatch(NamedTuple):
    """An instance whose patch was found, and how: `gold-patch`, `gold-lines` or `gold-share`."""

    reason: str
    instance: Instance
    field: str
    path: str


class GoldPatches:
    """The patches of all instances, indexed."""

    def __init__(self, instances: Iterable[Instance], words: int, share: float) -> None:
        self._share = share
        self._gold: list[tuple[Instance, str, int]] = []  # with the number of its telling lines
        self._telling: dict[str, list[int]] = defaultdict(list)
        self._by_id: dict[str, tuple[Instance, str]] = {}
        self._by_line: dict[str, list[tuple[frozenset[str], Instance, str]]] = defaultdict(list)
        for instance in instances:
            for field, patch in instance.patches:
                parts = list(files(patch))
                id = patch_id(parts)
                if id is not None:
                    self._by_id.setdefault(id, (instance, field))
                lines = added(parts) - {_squeeze(text) for part in parts for text in part.only("-")}
                said = "\n".join(_spaced(parts, lines)).encode(errors="replace")
                if count_tokens(said) >= words:
                    self._add_telling(_telling(parts) & lines, instance, field)
                    longest = max(sorted(lines), key=len)
                    self._by_line[longest].append((frozenset(lines), instance, field))

    def find(self, parts: Sequence[FileLines]) -> GoldMatch | None:
        """The first instance, in their order, whose patch is in this one."""
        id = patch_id(parts)
        if id is not None and id in self._by_id:
            return GoldMatch("gold-patch", *self._by_id[id], parts[0].path)
        mine = added(parts)
        for line in sorted(mine & self._by_line.keys()):
            for lines, instance, field in self._by_line[line]:
                if lines <= mine:
                    path = next(part.path for part in parts if line in added([part]))
                    return GoldMatch("gold-lines", instance, field, path)
        return self._edited(parts)

    def _add_telling(self, lines: set[str], instance: Instance, field: str) -> None:
        if len(lines) >= _LEAST_LINES:
            for line in lines:
                self._telling[line].append(len(self._gold))
            self._gold.append((instance, field, len(lines)))

    def _edited(self, parts: Sequence[FileLines]) -> GoldMatch | None:
        """The first instance of whose patch this one adds most lines."""
        mine = _telling(parts) & self._telling.keys()
        counts = Counter(
            owner
            for line in mine
            if len(owners := self._telling[line]) <= _MOST_OWNERS
            for owner in owners
        )
        for owner in sorted(counts):
            instance, field, lines = self._gold[owner]
            if counts[owner] >= max(_LEAST_LINES, self._share * lines):
                own = {line for line in mine if owner in self._telling[line]}
                path = next(part.path for part in parts if own & added([part]))
                return GoldMatch("gold-share", instance, field, path)
        return None


def patch_id(parts: Sequence[FileLines]) -> str | None:
    """The same for two patches that make the same change; None for one without changed lines."""
    digests = []
    for part in parts:
        body = "\n".join(sign + _squeeze(text) for sign, text in part.lines if sign != " ")
        if body:
            digests.append(hashlib.sha256(f"{part.path}\n{body}".encode()).hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest() if digests else None


def added(parts: Iterable[FileLines]) -> set[str]:
    """The added lines that say something: without white space, and with a word in them."""
    squeezed = {_squeeze(text) for part in parts for text in part.only("+")}
    return {text for text in squeezed if _WORD.search(text)}


def _telling(parts: Iterable[FileLines]) -> set[str]:
    """The added lines of some words, without white space."""
    texts = {text for part in parts for text in part.only("+")}
    return {_squeeze(text) for text in texts if len(_WORD.findall(text)) >= _TELLING_WORDS}


def _spaced(parts: Iterable[FileLines], lines: set[str]) -> set[str]:
    """The lines as they were written, each once."""
    return {text.strip() for part in parts for text in part.only("+") if _squeeze(text) in lines}


def _squeeze(text: str) -> str:
    return "".join(text.split())
