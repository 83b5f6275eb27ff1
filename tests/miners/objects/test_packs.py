"""Packs as git writes them pass, in every format; what would never end, or ends early, does not."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from codeflow.errors import RepositoryError
from codeflow_miners.objects import packs
from codeflow_miners.objects.packs import require_sound_packs
from gitdag import Repo, git
from packwriter import DeltaEntry, write_pack

A, B, C, D = (bytes([k]) * 20 for k in (10, 20, 30, 40))


def packed(folder: Path, *settings: str) -> Repo:
    repo = Repo.create(folder / "r")
    lines = [f"line {k} of a file that changes little by little" for k in range(120)]
    for n in range(12):
        lines[n * 7] = f"changed in {n}"
        repo.commit({"file.txt": "\n".join(lines)})
    options = [part for setting in settings for part in ("-c", setting)]
    git(*options, f"--git-dir={repo.path}", "repack", "-adfq", "--depth=50")
    return repo


def kinds(repo: Repo) -> set[int]:
    """Kinds of the packed objects, by the index that git reads out."""
    [index] = repo.git_dir.glob("objects/pack/*.idx")
    data = index.with_suffix(".pack").read_bytes()
    lines = git("show-index", input=index.read_bytes()).splitlines()
    return {data[int(line.split()[0])] >> 4 & 7 for line in lines}


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ((), 6),
        (("pack.indexVersion=1",), 6),
        (("repack.useDeltaBaseOffset=false",), 7),
        (("repack.useDeltaBaseOffset=false", "pack.indexVersion=1"), 7),
    ],
)
def test_what_git_writes_passes(settings: tuple[str, ...], kind: int, tmp_path: Path) -> None:
    repo = packed(tmp_path, *settings)
    assert kind in kinds(repo), "the pack has the deltas that are meant"
    require_sound_packs(repo.git_dir / "objects")


def test_the_index_is_read_as_git_reads_it(tmp_path: Path) -> None:
    repo = packed(tmp_path)
    [index] = repo.git_dir.glob("objects/pack/*.idx")
    found = packs._read_index(index)
    assert found is not None
    names, offsets, _ = found
    ours = {names[20 * k : 20 * k + 20].hex(): int(at) for k, at in enumerate(offsets)}
    lines = [
        line.decode().split() for line in git("show-index", input=index.read_bytes()).splitlines()
    ]
    assert ours == {line[1]: int(line[0]) for line in lines}


def test_large_offsets_are_read_from_their_own_table(tmp_path: Path) -> None:
    data = b"\377tOc" + struct.pack(">I", 2) + struct.pack(">256I", *[3] * 256)
    data += A + B + C + bytes(12) + struct.pack(">3I", 1 << 31 | 1, 77, 12)
    data += struct.pack(">2Q", 5 << 32, 6 << 32) + bytes(40)
    (tmp_path / "x.idx").write_bytes(data)
    found = packs._read_index(tmp_path / "x.idx")
    assert found is not None
    assert found.offsets.tolist() == [6 << 32, 77, 12]


@pytest.mark.parametrize(
    ("entries", "endless"),
    [
        ([DeltaEntry(A, A)], True),
        ([DeltaEntry(A, B), DeltaEntry(B, A)], True),
        ([DeltaEntry(A, B), DeltaEntry(B, C), DeltaEntry(C, D), DeltaEntry(D, B)], True),
        ([DeltaEntry(B, C), DeltaEntry(A), DeltaEntry(C)], True),  # C is of A, A of B, B of C
        ([DeltaEntry(A, D)], False),  # of an object elsewhere: a thin pack, which git refuses
        ([DeltaEntry(A, D), DeltaEntry(B), DeltaEntry(C, A)], False),
    ],
)
def test_a_circle_is_found_and_nothing_else(
    entries: list[DeltaEntry], endless: bool, tmp_path: Path
) -> None:
    write_pack(tmp_path / "pack", entries)
    if not endless:
        require_sound_packs(tmp_path)
        return
    with pytest.raises(RepositoryError, match="a delta without end") as caught:
        require_sound_packs(tmp_path)
    assert caught.value.rule == "damaged"


def test_a_base_between_objects_is_refused(tmp_path: Path) -> None:
    """An offset into the middle of something could lead to deltas that no index lists."""
    pack = write_pack(tmp_path / "pack", [DeltaEntry(A, D), DeltaEntry(B)])
    data = bytearray(pack.read_bytes())
    second = data.index(bytes([6 << 4 | 4]), 33)
    data[second + 1] -= 1
    pack.write_bytes(data)
    with pytest.raises(RepositoryError, match="without a base"):
        require_sound_packs(tmp_path)


@pytest.mark.parametrize("suffix", [".pack", ".idx"])
def test_what_git_does_not_open_is_passed_over(suffix: str, tmp_path: Path) -> None:
    """Even where it holds a circle: nothing is read from it. Whole, it is refused."""
    pack = write_pack(tmp_path / "pack", [DeltaEntry(A, A), DeltaEntry(B)])
    with pytest.raises(RepositoryError, match="without end"):
        require_sound_packs(tmp_path)
    file = pack.with_suffix(suffix)
    for size in range(file.stat().st_size - 1, -1, -7):
        os.truncate(file, size)
        require_sound_packs(tmp_path)
