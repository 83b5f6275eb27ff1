"""The filter of secrets: a triple goes when a changed file holds one, before or after the change.

`codeflow.text.secrets` says what a secret is. Each content is looked at once, since the new side
of a change is the old side of the next; one that follows from a clean one by lines without a secret
is not even read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple
from weakref import WeakSet

from codeflow.contracts import CONTENTS, Cost, Verdict, drop, keep
from codeflow.text.sample_keys import is_sample_file
from codeflow.text.secrets import PRIVATE_KEY, Finding, find_secrets, several_lines
from codeflow_filters.text.hunks import added, hunks, sections

if TYPE_CHECKING:
    from codeflow.triple import Triple

_MOST_KNOWN: Final = 1 << 16


class _Known(NamedTuple):
    """What was found in a content; a plain one has nothing that several lines make a secret."""

    found: list[Finding]
    plain: bool


_NOTHING: Final = _Known([], True)
_KNOWN: dict[str, _Known] = {"": _NOTHING}  # by id; "" stands for the side that does not exist
_AFTER: dict[str, str] = {}  # a content, and one that it follows from by lines without a secret

_LINKED: WeakSet[Triple] = WeakSet()  # triples that have been entered there


def forget() -> None:
    """Forgets all contents."""
    _KNOWN.clear()
    _AFTER.clear()
    _LINKED.clear()
    _KNOWN[""] = _NOTHING


def _look_at(id: str, triple: Triple) -> _Known:
    """The secrets of a content, looked for once: the new side of a change is the next one's old."""
    known = _KNOWN.get(id)
    if known is None:
        content = triple.blob(id)
        plain = not any(needle in content for needle in several_lines())
        known = _KNOWN[id] = _Known(find_secrets(content), plain)
    return known


def _is_clean(id: str) -> bool:
    """Whether a content is known to be clean, or follows from one that is by changes that add
    nothing: a detector of single lines finds what it found, and there is nothing for others."""
    root = _root(id)
    known = _KNOWN.get(root)
    return known is not None and not known.found and (root == id or known.plain)


def _root(id: str) -> str:
    """The content from which one follows, as far back as is known; it may be itself."""
    passed = []
    while id not in _KNOWN and (before := _AFTER.get(id)) is not None:
        passed.append(id)
        id = before
    for each in passed:  # the next look takes one step
        _AFTER[each] = id
    return id


def _link(triple: Triple) -> None:
    """Enters which contents follow from which by lines without a secret."""
    if triple in _LINKED:
        return
    if max(len(_KNOWN), len(_AFTER)) >= _MOST_KNOWN:
        forget()
    _LINKED.add(triple)
    text = added(triple)
    if any(needle in text for needle in several_lines()) or find_secrets(text):
        return
    for change in triple.files:
        old, new = change.old_blob or "", change.new_blob
        if new is not None and new not in _KNOWN and old != new and _root(old) != new:
            _AFTER.setdefault(new, old)


@dataclass(frozen=True)
class Secrets:
    """Drops a triple of which a changed file holds a secret, before, after or within the change."""

    why: ClassVar[str] = "a changed file holds a key, token or private key, on either side"
    cost: ClassVar[Cost] = "contents"
    reads: ClassVar[frozenset[str]] = frozenset({"files", "patch", "commits", CONTENTS})

    def wants(self, triple: Triple) -> Iterator[str]:
        """The contents from which those of the changed files follow, but for clean ones."""
        _link(triple)
        for change in triple.files:
            for id in filter(None, (change.old_blob, change.new_blob)):
                if not _is_clean(id):
                    root = _root(id)
                    yield id if root in _KNOWN else root

    def __call__(self, triple: Triple) -> Verdict:
        _link(triple)
        for change in triple.files:
            ids = (change.old_blob, change.new_blob)
            for side, id in zip(("old", "new"), ids, strict=True):
                if id is None or _is_clean(id):
                    continue
                path = change.old_path if side == "old" else change.new_path
                found = _look_at(id, triple).found
                if is_sample_file(path or ""):
                    found = [one for one in found if one.kind != PRIVATE_KEY]
                if found:
                    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
                    return drop("secret", f"{path}:{found[0].line} ({side}): {found[0].kind}{more}")
        return _of_steps(triple)


def _of_steps(triple: Triple) -> Verdict:
    """What the steps of several commits add that was gone at the end: they are published, too."""
    several = len(getattr(triple, "commits", ())) > 1  # of a triple by hand there may be none
    for step in triple.steps if several else ():
        if not find_secrets(added(step)):
            continue
        for change, section in sections(step):
            lines = b"".join(new for hunk in hunks(section) if (new := _added_lines(hunk)))
            found = find_secrets(lines)
            if is_sample_file(change.path):
                found = [one for one in found if one.kind != PRIVATE_KEY]
            if found:
                return drop("secret", f"{change.path} (step {step.index + 1}): {found[0].kind}")
    return keep()


def _added_lines(hunk: bytes) -> bytes:
    return b"".join(line[1:] for line in hunk.splitlines(keepends=True) if line[:1] == b"+")
