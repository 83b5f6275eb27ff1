"""`content`: drops changes that add text which is no source: minified, encoded, binary-like.

Figures of The Stack v2 (arXiv 2402.19173), which judges files: lines of at most 1,000 characters
and of 100 on average, except where prose and markup put a paragraph on a line; a quarter letters or
digits; no base64 or hex run over 1,024 characters. Of a patch, 100 on average also hit tables that
people wrote, so 200 is the default. Here the lines that a patch adds are judged, for a model is to
learn the change: an old minified file beside it does no harm, and no content has to be read. One
long line does not spoil a large change either: a triple goes when more than `max_share` of the
bytes it adds are such text. Where it adds to anything else, tests, data and samples are not judged:
certificates, hashes and recorded answers belong there; alone they may be such text by three
quarters. Conflict markers go in any case, for they
say that a merge went wrong. A change of nothing but
pointers of Git LFS has nothing to learn from either: what changed is elsewhere.

Small additions (`min_bytes`) are not judged by shares and means: five braces are no noise. Lock
files are full of checksums and not judged at all; `paths` knows when there is nothing else.

Cost: 50 µs a triple, or 130 MB of patches a second. Bytes are counted with `bytes.translate`, runs
are found with `bytes.find`, and patterns are tried only on what these turned up.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from codeflow.config import require_within
from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.text.sample_keys import is_sample_file
from codeflow.triple import Triple
from codeflow_filters.paths import is_data, is_lock
from codeflow_filters.text.hunks import sections

# Where a line may be a paragraph or a document: what The Stack exempts, and its kin.
_PROSE: Final = frozenset({
    "AsciiDoc", "HTML", "JSON", "Jupyter Notebook", "MDX", "Markdown", "Org", "Pod", "RDoc", "Roff",
    "Roff Manpage", "SMT", "SVG", "TeX", "Text", "Textile", "Wikitext", "XML", "YAML",
    "reStructuredText",
})  # fmt: skip
_DIGITS: Final = b"0123456789"
_UPPER: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERS: Final = _DIGITS + _UPPER + _UPPER.lower()
_ALPHANUMERIC: Final = _LETTERS + bytes(range(128, 256))  # letters outside ASCII count as such
_BLANKS: Final = b" \t\r\n\f\v"
_CONTROLS: Final = bytes(c for c in range(32) if c not in b"\t\n\r\f\v\x1b") + b"\x7f"
_TEST_SHARE: Final = 0.75  # of tests alone that may be such text, as what they expect
_MEAN_LINES: Final = 10  # fewer have no mean to speak of


def _table(members: bytes) -> bytes:
    return bytes(ord("a") if c in members else 32 for c in range(256))


# Both hold the line ends and the `+` of a patch, so that runs go on from line to line.
_BASE64: Final = _table(_LETTERS + b"+/=\n")
_HEX: Final = _table(b"0123456789abcdefABCDEFxXuUlLhH\\,;{}\"'+ \t\r\n")
_RUN: Final = re.compile(rb"a+")
_ENCODED_LINE: Final = 60  # shorter ones in a run are words under each other
_HEX_CODE: Final = re.compile(rb"(?:0[xX]|\\[xXuU])?[0-9a-fA-F]{2,}")
_CONFLICT: Final = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (r"^\+\ufeff?<{7} \S", r"^\+={7}\r?$", r"^\+>{7} \S")
)
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: lines of a key, a blank and a value, of
# which the first is the version; a change of one shows the lines of its hash and size at least
_POINTER_LINE: Final = re.compile(
    r"\ufeff?(?:version https?://\S+|oid sha256:[0-9a-f]{64}|size \d+|ext-\d-\S+ \S+)\r?"
)
_POINTER_HASH: Final = re.compile(r"^[+-]oid sha256:[0-9a-f]{64}\r?$", re.MULTILINE)
_POINTER_VERSIONS: Final = ("version https://git-lfs.github.com/spec/", "version https://hawser.")


@dataclass(frozen=True)
class Content:
    """Drops a triple when too much of what it adds does not read as source or prose."""

    max_line_chars: int = 1000
    max_prose_line_chars: int = 100_000
    max_mean_chars: float = 200.0
    min_alphanumeric: float = 0.25
    max_run_chars: int = 1024
    max_control_share: float = 0.01
    max_share: float = 0.25
    min_bytes: int = 1024

    why: ClassVar[str] = "added text that is minified, encoded, binary-like or a conflict's"
    reasons: ClassVar[Mapping[str, str]] = {
        "minified": "too much of the added text is minified",
        "long-line": "too much of the added text is in overlong lines",
        "long-lines": "the added lines are too long on average",
        "encoded": "adds encoded data: base64, hex or tables of codes",
        "binary-like": "too many control characters in the added text",
        "low-alphanumeric": "too few letters and digits in the added text",
        "conflict-markers": "adds the marks of a merge conflict",
        "lfs-pointer": "changes pointers of Git LFS only, and not what they point to",
    }
    cost: ClassVar[Cost] = "patch"
    reads: ClassVar[frozenset[str]] = frozenset({"files", "patch"})

    def __post_init__(self) -> None:
        require_within(
            self,
            max_line_chars=(1, math.inf),
            max_prose_line_chars=(1, math.inf),
            max_mean_chars=(1, math.inf),
            min_alphanumeric=(0, 1),
            max_run_chars=(1, math.inf),
            max_control_share=(0, 1),
            max_share=(0, 1),
            min_bytes=(0, math.inf),
        )

    def __call__(self, triple: Triple) -> Verdict:
        noise: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}  # of tests; of others
        total: Counter[bool] = Counter()
        where: dict[tuple[bool, str], str] = {}
        pointers = bool(triple.files)
        for change, section in sections(triple):
            pointers = pointers and is_pointer_change(section)
            lines = [line for line in section.split("\n") if line[:1] == "+"]
            if not lines or is_lock(change.path):
                continue
            if "<<<<<<< " in section and all(mark.search(section) for mark in _CONFLICT):
                return drop("conflict-markers", change.path)
            data = "\n".join(lines).encode("utf-8", "surrogatepass")
            is_test = change.file_kind == "test" or _is_sample(change.path)
            total[is_test] += len(data)
            for reason, size in self._noise(lines, data, change.language):
                noise[is_test][reason] += size
                where.setdefault((is_test, reason), change.path)
        if pointers:
            return drop("lfs-pointer", triple.files[0].path)
        is_test = total[False] < self.min_bytes <= total[True]
        found = noise[is_test]
        share = max(self.max_share, _TEST_SHARE) if is_test else self.max_share
        if total[is_test] >= self.min_bytes and found.total() > share * total[is_test]:
            reason = found.most_common(1)[0][0]
            return drop(reason, where[is_test, reason])
        return keep()

    def _noise(
        self, lines: list[str], data: bytes, language: str | None
    ) -> Iterator[tuple[str, int]]:
        """How much of a file's added lines is noise, and of which kind: one kind, the first."""
        prose = language is None or language in _PROSE
        longest = self.max_prose_line_chars if prose else self.max_line_chars
        if max(map(len, lines)) - 1 > longest:
            long = [line for line in lines if len(line) - 1 > longest]
            blanks = sum(line.count(" ") for line in long)
            size = sum(map(len, long))
            yield ("minified" if blanks * 12 < size else "long-line"), size
        elif encoded := self._run_chars(data):
            yield "encoded", encoded
        elif len(data) >= self.min_bytes:
            visible = len(data.translate(None, _BLANKS)) - len(lines)
            alphanumeric = len(data) - len(data.translate(None, _ALPHANUMERIC))
            if len(data) - len(data.translate(None, _CONTROLS)) > self.max_control_share * len(
                data
            ):
                yield "binary-like", len(data)
            elif visible >= self.min_bytes and alphanumeric < self.min_alphanumeric * visible:
                yield "low-alphanumeric", len(data)
            elif not prose and _mean(lines) > self.max_mean_chars:
                yield "long-lines", len(data)
            elif encoded := sum(map(_encoded_chars, _runs(data, _BASE64, _ENCODED_LINE))):
                yield "encoded", encoded

    def _run_chars(self, data: bytes) -> int:
        """The length of the encoded runs that are too long together."""
        if len(data) <= self.max_run_chars:
            return 0
        base64 = map(_encoded_chars, _runs(data, _BASE64, self.max_run_chars))
        hexadecimal = map(_hex_chars, _runs(data, _HEX, self.max_run_chars))
        most = self.max_run_chars
        return max(sum(n for n in runs if n > most) for runs in (base64, hexadecimal))


@lru_cache(maxsize=1 << 14)
def _is_sample(path: str) -> bool:
    """Whether encoded text belongs in a file: data, tests, samples, documentation."""
    return is_data(path) or is_sample_file(path)


def is_pointer_change(section: str) -> bool:
    """Whether the hunks of a file change a pointer of Git LFS, add or remove one, and nothing else.

    A file that becomes a pointer, or was one, is no such change: its text is told.
    """
    if not _POINTER_HASH.search(section) or "\n@@ " in section[1:]:  # a pointer is one hunk
        return False
    lines = [line for line in section.split("\n")[2:] if line[:1] in ("+", "-", " ")]
    version = any(line[1:].lstrip("\ufeff").startswith(_POINTER_VERSIONS) for line in lines)
    return version and all(_POINTER_LINE.fullmatch(line[1:]) for line in lines)


def _mean(lines: list[str]) -> float:
    """Characters a line without blanks at its end, of lines with their `+`; 0 for a few lines."""
    if len(lines) < _MEAN_LINES:
        return 0.0
    return sum(len(line.rstrip()) for line in lines) / len(lines) - 1


def _runs(data: bytes, table: bytes, least: int) -> Iterator[bytes]:
    """The runs of at least so many bytes that a table marks."""
    marked = data.translate(table)
    needle = b"a" * least
    at = marked.find(needle)
    while at >= 0:
        run = _RUN.match(marked, at)
        assert run is not None
        yield data[at : run.end()]
        at = marked.find(needle, run.end())


def _encoded_chars(run: bytes) -> int:
    """How many characters of a run are base64 or bare hex; words and paths are neither."""
    lines = [line for line in run.split(b"\n") if len(line) >= _ENCODED_LINE]
    text = b"".join(lines)
    digits = len(text) - len(text.translate(None, _DIGITS))
    upper = len(text) - len(text.translate(None, _UPPER))
    letters = len(text) - len(text.translate(None, _UPPER + _UPPER.lower()))
    base64 = upper > 0.15 * len(text) and letters - upper > 0.15 * len(text)
    bare_hex = digits > 0.3 * len(text)
    return len(text) if digits > 0.05 * len(text) and (base64 or bare_hex) else 0


def _hex_chars(run: bytes) -> int:
    """How many characters a run has, blanks apart, if most are hex codes."""
    text = run.translate(None, _BLANKS + b"+")
    # letters alone are a word or a filler, as in "aaaa..."
    codes = sum(len(code) for code in _HEX_CODE.findall(text) if not code.isalpha())
    return len(text) if codes > 0.5 * len(text) else 0
