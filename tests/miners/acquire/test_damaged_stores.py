"""What a damaged pack or object costs is what it costs git."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.objects.reader import ObjectReader
from gitdag import Repo
from hostile import history
from judged_by_git import run


def two_packs(path: Path) -> tuple[Repo, list[str]]:
    """Half of a history in each of two packs, and all ids of it."""
    repo, _ = history(path)
    repo.pack()
    for n in range(5):
        repo.commit({"late.py": f"x = {n}\n"}, message=f"Late {n}")
    repo.git("repack", "-dq")
    return repo, repo.git("rev-list", "--objects", "--all").decode().split("\n")[:-1]


def chop(file: Path, end: int) -> None:
    file.write_bytes(file.read_bytes()[:end])


def another(pack: Path) -> Path:
    return next(other for other in pack.parent.glob("*.pack") if other != pack)


HARMS: dict[str, Callable[[Path], None]] = {
    "no index": lambda pack: pack.with_suffix(".idx").unlink(),
    "no pack": lambda pack: pack.unlink(),
    "index cut short": lambda pack: chop(pack.with_suffix(".idx"), -9),
    "index of noise": lambda pack: (pack.with_suffix(".idx").write_bytes(b"\xff" * 3000), None)[1],
    "empty index": lambda pack: chop(pack.with_suffix(".idx"), 0),
    "pack cut short": lambda pack: chop(pack, -30),
    "pack without end": lambda pack: chop(pack, -20),
    "pack of noise": lambda pack: (pack.write_bytes(b"\xff" * 3000), None)[1],
    "index of another": lambda pack: (
        shutil.copy(another(pack).with_suffix(".idx"), pack.with_suffix(".idx")),
        None,
    )[1],
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("midx", [False, True])
def test_what_a_damaged_pack_costs_is_what_it_costs_git(
    harm: str, which: int, midx: bool, tmp_path: Path
) -> None:
    repo, objects = two_packs(tmp_path / "r")
    if midx:
        repo.git("multi-pack-index", "write")
    pack = sorted(repo.git_dir.glob("objects/pack/*.pack"))[which]
    for file in pack.parent.iterdir():
        file.chmod(0o644)
    HARMS[harm](pack)
    ids = [line.split()[0] for line in objects]
    listing = run(repo.git_dir, "cat-file", "--batch-check", input="\n".join(ids).encode())
    has = [b" missing" not in line for line in listing.stdout.splitlines()]
    reader, read = ObjectReader(inspect_git_dir(repo.path).objects.parent), []
    for oid in ids:
        try:
            kind = repo_kind(listing.stdout, oid)
            getattr(reader, kind)(bytes.fromhex(oid))
            read.append(True)
        except RepositoryError:
            read.append(False)
    assert read == has
    assert harm == "index of another" or (True in read and False in read)


def repo_kind(listing: bytes, oid: str) -> str:
    [line] = [line for line in listing.decode().splitlines() if line.startswith(oid)]
    kind = line.split()[1]
    return "blob" if kind == "missing" else kind


def test_a_multi_pack_index_that_lies_has_no_say(tmp_path: Path) -> None:
    repo, objects = two_packs(tmp_path / "r")
    commits = repo.rev_list()
    repo.git("multi-pack-index", "write")
    path = repo.git_dir / "objects/pack/multi-pack-index"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    place = data.index(b"OOFF")
    first = int.from_bytes(data[place + 4 : place + 12], "big")
    for k in range(first, first + 8 * len(objects)):
        data[k] ^= 1
    path.write_bytes(data)
    reader = ObjectReader(inspect_git_dir(repo.path).objects.parent)
    assert [len(reader.commit(bytes.fromhex(oid)).parents) for oid in commits][:3] == [1, 1, 1]


@pytest.mark.parametrize("place", ["pack", "loose"])
def test_a_second_copy_of_a_damaged_object_is_found(place: str, tmp_path: Path) -> None:
    """git goes from a damaged copy to the next, packed or loose or in an alternate."""
    repo, ids = history(tmp_path / "r")
    blob = repo.git("rev-parse", f"{ids[5]}:src/app.py").decode().strip()
    loose = repo.loose_path(blob)
    kept = loose.read_bytes()
    content = repo.git("cat-file", "blob", blob)
    repo.pack()
    loose.parent.mkdir(exist_ok=True)
    if place == "loose":
        loose.write_bytes(kept[:20])
    else:
        loose.write_bytes(kept)
        [index] = repo.git_dir.glob("objects/pack/*.idx")
        for line in repo.git("verify-pack", "-v", str(index)).decode().splitlines():
            if line.startswith(blob):
                pack, at = index.with_suffix(".pack"), int(line.split()[4])
                pack.chmod(0o644)
                data = bytearray(pack.read_bytes())
                data[at + 4] ^= 0xFF
                pack.write_bytes(data)
    assert run(repo.git_dir, "cat-file", "blob", blob).stdout == content
    assert ObjectReader(repo.git_dir).blob(bytes.fromhex(blob)) == content
    assert ObjectReader(repo.git_dir).blob_size(bytes.fromhex(blob)) == len(content)
