"""Unified-diff hunks of two versions of a text file, as git would write them, several times faster.

Successive versions of a file agree nearly everywhere, and xdiff hashes every line of both sides
before it looks. So the equal stretches are found first, by comparing memory: the common prefix,
then, after each difference, a probe a little further on that appears on the other side too and
grows into a long equal run. What is left between runs goes to xdiff (through libgit2) with enough
equal lines around it that the hunks come out with full context, and the hunk headers are shifted.
The result is always a correct patch; on real histories it is nearly always git's own text.

Cost: about a quarter of a full diff on the edits of a large C history (benchmarks/LOG.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pygit2 import Patch
from pygit2.enums import DiffOption

CONTEXT_LINES = 3
_KEPT_BYTES = 400  # equal text given to xdiff around a difference; groups may slide over it
_KEPT_LINES = 8  # ... and at least so many lines
_BLOCK_BYTES = 512  # compared by one XOR
_NUMPY_BYTES = 4096  # from here on numpy counts newlines faster than bytes.count
_WHOLE_BYTES = 4096  # below this, both sides go to xdiff as they are
_PROBE_BYTES = 96
_PROBE_STEPS = (256, 768, 2048, 6144, 16384)
_PROBE_REACH = 16384
_RUN_BYTES = 1024
_DEFINITION_STARTS = frozenset(b"_$" + bytes(range(65, 91)) + bytes(range(97, 123)))
_FUNCTION_BYTES = 80  # git cuts the function context of a header here

_FLAGS = DiffOption.FORCE_TEXT | DiffOption.INDENT_HEURISTIC
_HEADER = re.compile(rb"^@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@ ?(.*)$", re.M)
_SPACES = b" \t\r\v\f"  # git leaves none at the end of a header; libgit2's cut may
_NO_NEWLINE = b"\n\\ No newline at end of file\n"


class Hunks(NamedTuple):
    """The body of a file's patch from its first `@@` line on; counts are in lines."""

    body: bytes
    additions: int
    deletions: int


class _Segment(NamedTuple):
    """A stretch that differs, with equal lines around it: byte ranges of both sides."""

    old_start: int
    old_stop: int
    new_start: int
    new_stop: int


def line_count(content: bytes) -> int:
    """Number of lines as diff counts them: an unfinished last line is a line."""
    return content.count(b"\n") + (not content.endswith(b"\n") and bool(content))


def diff_lines(old: bytes, new: bytes) -> Hunks:
    """Hunks that turn `old` into `new`, with three lines of context and function names.

    Equal sides give an empty body. Neither side may hold a NUL byte.
    """
    if old == new:
        return Hunks(b"", 0, 0)
    if not old:
        return Hunks(_one_sided(b"+", b"@@ -0,0 +%s @@\n", new), line_count(new), 0)
    if not new:
        return Hunks(_one_sided(b"-", b"@@ -%s +0,0 @@\n", old), 0, line_count(old))
    if len(old) + len(new) < _WHOLE_BYTES:
        return _diff_whole(old, new)
    return _diff_segments(old, new)


def _one_sided(sign: bytes, header: bytes, content: bytes) -> bytes:
    lines = line_count(content)
    count = b"1" if lines == 1 else b"1,%d" % lines
    if content.endswith(b"\n"):
        body = sign + content[:-1].replace(b"\n", b"\n" + sign) + b"\n"
    else:
        body = sign + content.replace(b"\n", b"\n" + sign) + _NO_NEWLINE
    return header % count + body


def _xdiff(old: bytes, new: bytes) -> tuple[bytes, int, int]:
    patch = Patch.create_from(old, new, flag=_FLAGS, context_lines=CONTEXT_LINES)
    _, additions, deletions = patch.line_stats
    data = patch.data
    return data[data.index(b"\n@@ -") + 1 :], additions, deletions


def _diff_whole(old: bytes, new: bytes) -> Hunks:
    body, additions, deletions = _xdiff(old, new)
    return Hunks(_shift(body, 0, 0, old, 0), additions, deletions)


def _diff_segments(old: bytes, new: bytes) -> Hunks:
    parts: list[bytes] = []
    additions = deletions = 0
    lines = at = 0  # lines and bytes of `old` before the segment
    for segment in _segments(old, new):
        a = old[segment.old_start : segment.old_stop]
        b = new[segment.new_start : segment.new_stop]
        body, added, deleted = _xdiff(a, b)
        cut_above, cut_below = segment.old_start > 0, segment.old_stop < len(old)
        if not _has_context(body, a, cut_above, cut_below):
            return _diff_whole(old, new)  # a group slid up to the edge of what xdiff was shown
        lines += _count_newlines(old, at, segment.old_start)
        at = segment.old_start
        parts.append(_shift(body, lines, lines + additions - deletions, old, at))
        additions += added
        deletions += deleted
    return Hunks(b"".join(parts), additions, deletions)


def _has_context(body: bytes, old: bytes, cut_above: bool, cut_below: bool) -> bool:
    """Whether the first and last hunk have their full context where the file goes on."""
    if cut_above:
        lines = body.split(b"\n", CONTEXT_LINES + 1)[1 : CONTEXT_LINES + 1]
        if not all(line.startswith(b" ") for line in lines):
            return False
    if cut_below:
        lines = body.rsplit(b"\n", CONTEXT_LINES + 1)[1 : CONTEXT_LINES + 1]
        if not all(line.startswith(b" ") for line in lines):
            return False
    return True


def _shift(body: bytes, old_lines: int, new_lines: int, old: bytes, above: int) -> bytes:
    """Hunk headers moved down by the lines cut off above; function context found up there."""
    if not above and not new_lines and body.isascii() and not _cut_at_space(body):
        return body
    function: bytes | None = None  # looked for once: the hunks of a segment share what is above it
    parts = []
    at = 0
    while True:
        match = _HEADER.match(body, at)
        assert match is not None
        if not match[5] and function is None:
            function = _function_line(old, above)
        parts.append(_header(match, old_lines, new_lines, match[5] or function or b""))
        following = body.find(b"\n@@ -", match.end())
        if following < 0:
            parts.append(body[match.end() :])
            return b"".join(parts)
        parts.append(body[match.end() : following + 1])
        at = following + 1


def _cut_at_space(body: bytes) -> bool:
    """Whether some header of hunks ends in white space."""
    at = 0
    while True:
        end = body.index(b"\n", at)
        if body[end - 1] in _SPACES:
            return True
        at = body.find(b"\n@@ -", end) + 1
        if not at:
            return False


def _header(match: re.Match[bytes], old_lines: int, new_lines: int, function: bytes) -> bytes:
    start, count, new_start, new_count = match[1], match[2], match[3], match[4]
    text = b"@@ -%d%s +%d%s @@" % (
        int(start) + old_lines,
        count,
        int(new_start) + new_lines,
        new_count,
    )
    return text + b" " + _whole_characters(function).rstrip(_SPACES) if function else text


def _whole_characters(function: bytes) -> bytes:
    """The function context without a character that git's cut at 80 bytes went through."""
    if function.isascii():
        return function
    return function.decode("utf-8", "ignore").encode()


def _function_line(content: bytes, stop: int) -> bytes:
    """The last line before byte `stop` that starts like a definition to git: [A-Za-z_$]."""
    end = stop - 1
    while end > 0:
        start = content.rfind(b"\n", 0, end) + 1
        if content[start] in _DEFINITION_STARTS:
            return content[start : min(end, start + _FUNCTION_BYTES)]
        end = start - 1
    return b""


def _count_newlines(content: bytes, start: int, stop: int) -> int:
    if stop - start < _NUMPY_BYTES:
        return content.count(b"\n", start, stop)
    return int(np.count_nonzero(np.frombuffer(content, np.uint8, stop - start, start) == 10))


def _segments(old: bytes, new: bytes) -> Iterator[_Segment]:
    """The differing stretches in order, each cut at line ends, with `_KEPT_LINES` around it."""
    size_old, size_new = len(old), len(new)
    same = _equal_run(old, 0, new, 0)
    tail = _equal_run_back(old, size_old, new, size_new, same, same)
    old_end, new_end = size_old - tail, size_new - tail  # first byte of the common tail
    old_start = _lines_up(old, same, 0)
    shift = 0  # new offset minus old offset at `old_start`
    old_at, new_at = same, same
    while True:
        run = _resync(old, old_at, old_end, new, new_at, new_end)
        if run is None:
            break
        old_run, new_run, length = run
        old_stop = _lines_down(old, old_run, old_run + length)
        next_start = _lines_up(old, old_run + length, old_run)
        if old_stop is not None and old_stop < next_start:
            new_stop = old_stop + (new_run - old_run)
            yield _Segment(old_start, old_stop, old_start + shift, new_stop)
            old_start, shift = next_start, new_run - old_run
        old_at, new_at = old_run + length, new_run + length
    last_stop = _lines_down(old, old_end, size_old)
    if last_stop is None:
        last_stop = size_old
    yield _Segment(old_start, last_stop, old_start + shift, size_new - (size_old - last_stop))


def _resync(
    old: bytes, old_at: int, old_end: int, new: bytes, new_at: int, new_end: int
) -> tuple[int, int, int] | None:
    """The next long equal run after a difference: (start in old, start in new, length).

    A short run is no place to cut, but tells how the sides lie, and the search goes on behind it.
    """
    steps = iter(_PROBE_STEPS)
    while (step := next(steps, 0)) > 0:
        probe = old.find(b"\n", old_at + step, old_end) + 1
        if not probe or probe + _PROBE_BYTES > old_end:
            return None
        block = old[probe : probe + _PROBE_BYTES]
        expected = new_at + (probe - old_at)
        low = max(new_at, expected - _PROBE_REACH)
        found = new.find(block, low, min(new_end, expected + _PROBE_REACH))
        if found < 0:
            continue
        back = _equal_run_back(old, probe, new, found, old_at, new_at)
        start, new_start = probe - back, found - back
        length = _equal_run(old, start, new, new_start)
        length = min(length, old_end - start, new_end - new_start)  # the tail may follow at once
        if length >= _RUN_BYTES:
            return start, new_start, length
        old_at, new_at = start + length, new_start + length
        steps = iter(_PROBE_STEPS)
    return None


def _lines_up(content: bytes, at: int, floor: int) -> int:
    """A line start that leaves `_KEPT_LINES` above the line of byte `at`; `floor` if there is none.

    Goes up by bytes rather than line by line; lines kept beyond what is needed do no harm.
    """
    reach = _KEPT_BYTES
    while at - reach > floor:
        start = content.rfind(b"\n", floor, at - reach) + 1
        if not start:
            break
        if content.count(b"\n", start, at) >= _KEPT_LINES:
            return start
        reach *= 4
    return floor


def _lines_down(content: bytes, at: int, ceiling: int) -> int | None:
    """A line end that leaves `_KEPT_LINES` below the line of byte `at`; None past `ceiling`."""
    reach = _KEPT_BYTES
    while at + reach < ceiling:
        stop = content.find(b"\n", at + reach, ceiling) + 1
        if not stop:
            break
        if content.count(b"\n", at, stop) > _KEPT_LINES:
            return stop
        reach *= 4
    return None


def _equal_run(a: bytes, i: int, b: bytes, j: int) -> int:
    """Length of the longest common prefix of `a[i:]` and `b[j:]`: gallop, halve, then XOR."""
    limit = min(len(a) - i, len(b) - j)
    low, step = 0, _BLOCK_BYTES
    while low + step <= limit and a.startswith(b[j + low : j + low + step], i + low):
        low += step
        step *= 8
    high = min(low + step, limit)
    while high - low > _BLOCK_BYTES:
        middle = (low + high) // 2
        if a.startswith(b[j + low : j + middle], i + low):
            low = middle
        else:
            high = middle
    difference = int.from_bytes(a[i + low : i + high], "little") ^ int.from_bytes(
        b[j + low : j + high], "little"
    )
    if not difference:
        return high
    return low + ((difference & -difference).bit_length() - 1) // 8


def _equal_run_back(a: bytes, i: int, b: bytes, j: int, a_floor: int, b_floor: int) -> int:
    """Length of the longest common suffix of `a[a_floor:i]` and `b[b_floor:j]`."""
    limit = min(i - a_floor, j - b_floor)
    low, step = 0, _BLOCK_BYTES
    while low + step <= limit and a.startswith(b[j - low - step : j - low], i - low - step):
        low += step
        step *= 8
    high = min(low + step, limit)
    while high - low > _BLOCK_BYTES:
        middle = (low + high) // 2
        if a.startswith(b[j - middle : j - low], i - middle):
            low = middle
        else:
            high = middle
    difference = int.from_bytes(a[i - high : i - low], "big") ^ int.from_bytes(
        b[j - high : j - low], "big"
    )
    if not difference:
        return high
    return low + ((difference & -difference).bit_length() - 1) // 8
