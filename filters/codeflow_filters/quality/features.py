"""A triple as numbers, for a linear model: sizes, shares, messages, structure of the patch.

Everything comes from the columns; no content is read. Counts are taken as log(1 + x), so that ten
against twenty files weighs as much as a hundred against two hundred; the rest are shares and flags
from 0 to 1. A feature is named in the model, so the list may change without old models going wrong.

Cost: some microseconds, and one pass over the lines of the patch, of at most `PATCH_CHARACTERS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import log1p
from statistics import fmean
from typing import Any, Final

from codeflow.triple import Triple

COLUMNS: Final = frozenset(
    {
        *("additions", "author_kind", "commits", "deletions", "files", "language", "license"),
        *("messages", "patch", "position"),
    }
)
PATCH_CHARACTERS: Final = 1 << 20

_TEST = re.compile(r"(?:^|[/_.-])(?:tests?|specs?|testing)(?:[/_.-]|$)", re.IGNORECASE)
_DOCS = re.compile(r"(?:^|/)docs?/|\.(?:md|rst|txt|adoc)$", re.IGNORECASE)
_DATA = re.compile(r"\.(?:json|ya?ml|toml|ini|cfg|csv|xml|lock|svg|po)$", re.IGNORECASE)
_ISSUE = re.compile(r"(?:^|\W)(?:#\d+|GH-\d+|[A-Z]{2,}-\d+)\b")
_REASON = re.compile(r"\b(?:because|so that|since|otherwise|instead|due to|in order to)\b", re.I)
_FIX = re.compile(r"\b(?:fix(?:es|ed)?|bugs?|error|crash|regression)\b", re.I)
_CHORE = re.compile(r"\b(?:bump|release|version|changelog|typo|merge|wip|lint|format)\b", re.I)
_COMMENT = re.compile(r"\s*(?:#|//|/?\*|--|<!--|\"\"\"|''')")
_SEPARATOR = re.compile(r"[^A-Za-z0-9]+")


def features(triple: Triple) -> dict[str, float]:
    """All features of a triple by name, in a fixed order."""
    return {**_sizes(triple), **_kinds(triple), **_messages(triple), **_patch(triple.patch)}


def _sizes(triple: Triple) -> dict[str, float]:
    changed = triple.additions + triple.deletions
    by_file = [file.additions + file.deletions for file in triple.files]
    return {
        "additions_log": log1p(triple.additions),
        "deletions_log": log1p(triple.deletions),
        "added_share": _share(triple.additions, changed),
        "files_log": log1p(len(triple.files)),
        "commits_log": log1p(len(triple.commits)),
        "largest_file_share": _share(max(by_file, default=0), changed),
        "position": triple.position,
        "by_bot": float(triple.author_kind == "bot"),
        "licensed": float(triple.license is not None),
    }


def _kinds(triple: Triple) -> dict[str, float]:
    files = triple.files
    paths = [file.path for file in files]
    languages = {file.language for file in files if file.language is not None}
    tests = [_TEST.search(path) is not None for path in paths]
    return {
        "files_new_share": _share(sum(file.status == "A" for file in files), len(files)),
        "files_gone_share": _share(sum(file.status == "D" for file in files), len(files)),
        "files_moved_share": _share(sum(file.status == "R" for file in files), len(files)),
        "test_share": _share(sum(tests), len(files)),
        "code_with_tests": float(any(tests) and not all(tests)),
        "docs_share": _share(sum(_DOCS.search(path) is not None for path in paths), len(files)),
        "data_share": _share(sum(_DATA.search(path) is not None for path in paths), len(files)),
        "generated_share": _share(sum(file.generated for file in files), len(files)),
        "vendored_share": _share(sum(file.vendored for file in files), len(files)),
        "main_language_share": _share(
            sum(file.language == triple.language for file in files if file.language), len(files)
        ),
        "languages_log": log1p(len(languages)),
        "folders_log": log1p(len({path.rpartition("/")[0] for path in paths})),
    }


def _messages(triple: Triple) -> dict[str, float]:
    texts = ["\n".join(message) for message in triple.messages if message]
    subjects = [text.partition("\n")[0] for text in texts]
    bodies = [text.partition("\n")[2].strip() for text in texts]
    names = {part for file in triple.files for part in _SEPARATOR.split(file.path.lower())}
    names -= {"", "py", "c", "h", "go", "js", "src", "lib", "test", "tests"}

    def some(items: Iterable[str], test: Callable[[str], object]) -> float:
        return _mean(float(bool(test(item))) for item in items)

    return {
        "subject_words_log": log1p(_mean(float(len(subject.split())) for subject in subjects)),
        "body_words_log": log1p(_mean(float(len(body.split())) for body in bodies)),
        "with_body": some(bodies, bool),
        "with_issue": some(texts, _ISSUE.search),
        "with_reason": some(texts, _REASON.search),
        "with_fix": some(texts, _FIX.search),
        "with_chore": some(subjects, _CHORE.search),
        "with_code_names": some(texts, lambda text: re.search(r"`|\w\(\)|\w_\w|\w\.\w+\(", text)),
        "names_a_path": some(texts, lambda text: names & set(_SEPARATOR.split(text.lower()))),
        "one_word": some(subjects, lambda subject: len(subject.split()) < 3),
        "same_subjects": 1 - _share(len(set(subjects)), len(subjects)) if subjects else 0.0,
    }


def _patch(patch: str) -> dict[str, float]:
    hunks = files = 0
    added: list[str] = []
    context = removed = 0
    for line in patch[:PATCH_CHARACTERS].split("\n"):
        if line.startswith("@@"):
            hunks += 1
        elif line.startswith("diff --git "):
            files += 1
        elif line.startswith("+") and not line.startswith("+++ "):
            added.append(line[1:])
        elif line.startswith("-") and not line.startswith("--- "):
            removed += 1
        elif line.startswith(" "):
            context += 1
    texts = [line for line in added if line.strip()]
    letters = sum(sum(map(str.isalpha, line)) for line in texts)
    characters = sum(map(len, texts))
    stripped = [line.strip() for line in texts]
    comments = sum(_COMMENT.match(line) is not None for line in texts)
    return {
        "hunks_log": log1p(hunks),
        "hunks_a_file_log": log1p(hunks / files if files else 0.0),
        "context_share": _share(context, context + removed + len(added)),
        "line_length_log": log1p(characters / len(texts) if texts else 0.0),
        "longest_line_log": log1p(max(map(len, texts), default=0)),
        "letters_share": _share(letters, characters),
        "comment_share": _share(comments, len(texts)),
        "repeated_share": 1 - _share(len(set(stripped)), len(stripped)) if stripped else 0.0,
        "blank_share": _share(len(added) - len(texts), len(added)),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return fmean(found) if found else 0.0


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The names of all features, in order."""
    nothing: dict[str, Any] = dict.fromkeys(COLUMNS, ())
    nothing.update(additions=0, deletions=0, position=0.0, patch="")
    return tuple(features(Triple.from_row(nothing, _NoContents())))


class _NoContents:
    def tree(self, repo: str, id: str) -> Sequence[Any]:
        raise AssertionError("features need no contents")

    def blob(self, repo: str, id: str) -> bytes:
        raise AssertionError("features need no contents")

    def steps(self, triple: str) -> Sequence[Any]:
        raise AssertionError("features need no steps")
