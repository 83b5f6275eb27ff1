"""Stores, trees, commits and formats that are odd or damaged are read, or not, as git does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.alternates import object_stores, parse_alternates
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head
from codeflow_miners.objects.reader import ObjectReader
from gitdag import ENV, Repo, git
from hostile import history

NO_FALLBACK = {"GIT_CONFIG_COUNT": "3", "GIT_CONFIG_KEY_2": "core.multiPackIndex"}
NO_FALLBACK |= {"GIT_CONFIG_VALUE_2": "false"}


def run(repo: Path, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["git", f"--git-dir={repo}", *words]
    return subprocess.run(command, env=ENV | NO_FALLBACK, input=input, capture_output=True)


def git_has(repo: Path, oid: str) -> bool:
    return run(repo, "cat-file", "-e", oid).returncode == 0


def we_have(repo: Path, oid: str) -> bool:
    try:
        ObjectReader(repo).blob(bytes.fromhex(oid))
    except RepositoryError:
        return False
    return True


# -- alternates


def store(path: Path) -> tuple[Path, str]:
    """A store with one object of its own."""
    repo = Repo.create(path)
    return repo.git_dir / "objects", repo.blob(f"in {path.name}\n")


def quoted(path: Path) -> bytes:
    letters = (b"\\%03o" % c if c > 126 or c in b'"\\' else bytes([c]) for c in os.fsencode(path))
    return b'"' + b"".join(letters) + b'"'


LISTINGS: dict[str, Callable[[Path], bytes]] = {
    "plain": lambda path: os.fsencode(path) + b"\n",
    "no newline": os.fsencode,
    "quoted": quoted,
    "quoted octal": lambda p: b'"' + b"".join(b"\\%03o" % c for c in os.fsencode(p)) + b'"\n',
    "quoted in vain": lambda path: b'"' + os.fsencode(path) + b"\n",
    "after a comment": lambda path: b"# first\n#" + b"x\n\n" + os.fsencode(path),
    "a comment behind it": lambda path: os.fsencode(path) + b" # not one\n",
    "after one that is gone": lambda path: b"/no/such\n../gone\n" + os.fsencode(path) + b"\n/gone",
    "relative": lambda path: os.fsencode(os.path.join("../../", path.parent.name, "objects")),
    "relative without a period": lambda path: (
        b"info/../../../" + os.fsencode(f"{path.parent.name}/objects")
    ),
    "with a slash behind it": lambda path: os.fsencode(path) + b"///\n",
    "CRLF": lambda path: os.fsencode(path) + b"\r\n",
    "a space before it": lambda path: b" " + os.fsencode(path) + b"\n",
    "form feed": lambda path: b"/gone\x0c" + os.fsencode(path) + b"\n",
    "after a NUL": lambda path: b"\0\n" + os.fsencode(path) + b"\n",
    "two quoted in a line": lambda path: b'"/gone" ' + quoted(path) + b"\n",
    "twice": lambda path: (os.fsencode(path) + b"\n") * 2,
}


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("folder", ["other", 'o "th" é\\r'])
def test_alternates_are_found_as_git_finds_them(name: str, folder: str, tmp_path: Path) -> None:
    other, oid = store(tmp_path / folder)
    objects, own = store(tmp_path / "r")
    (objects / "info/alternates").write_bytes(LISTINGS[name](other))
    repo = objects.parent
    assert we_have(repo, oid) == git_has(repo, oid)
    assert we_have(repo, own)
    git("--git-dir", str(other.parent), "repack", "-adq")  # nothing reachable, and so loose still
    os.chdir(other.parent.parent)  # what libgit2 would take for the place of a relative one
    assert we_have(repo, oid) == git_has(repo, oid)


def test_alternates_are_followed_as_deep_as_git_does(tmp_path: Path) -> None:
    chain = [store(tmp_path / f"s{n}") for n in range(9)]
    for n in range(8):
        target = chain[n + 1][0] if n % 2 else f"../../s{n + 1}/objects"
        (chain[n][0] / "info/alternates").write_text(f"{target}\n")
    repo = chain[0][0].parent
    reached = [we_have(repo, oid) for _, oid in chain]
    assert reached == [git_has(repo, oid) for _, oid in chain]
    assert True in reached[1:]
    assert False in reached


def test_a_packed_alternate_is_read(tmp_path: Path) -> None:
    other, ids = history(tmp_path / "other")
    other.pack()
    objects, _ = store(tmp_path / "r")
    (objects / "info/alternates").write_bytes(quoted(other.git_dir / "objects"))
    (objects.parent / "refs/heads/main").write_text(ids[-1] + "\n")
    assert resolve_head(inspect_git_dir(objects.parent), None) == ids[-1]
    assert ObjectReader(objects.parent).commit(bytes.fromhex(ids[3])).message == b"Change 3"


def test_only_what_is_lost_with_an_alternate_is_its_fault(tmp_path: Path) -> None:
    objects, own = store(tmp_path / "r")
    (objects / "info/alternates").write_text("/no/such/objects\n")
    assert object_stores(objects).lost
    assert we_have(objects.parent, own)
    with pytest.raises(RepositoryError) as caught:
        ObjectReader(objects.parent).blob(b"\1" * 20)
    assert caught.value.rule == "missing-alternate"


def shown(path: bytes) -> bytes:
    """As git shows it in a message."""
    return bytes(ord("?") if c < 32 and c not in b"\t\n" else c for c in path)


@given(st.lists(st.sampled_from([b'"', b"\\", b"#", b"\n", b"a", b"\\n", b"\\141", b" ", b"/"])))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_list_names_the_paths_that_git_takes_from_it(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    """git says which paths it misses: it names each in a warning."""
    folder = tmp_path_factory.mktemp("r")
    repo = Repo.create(folder / "r")
    data = b"".join(parts)
    (repo.git_dir / "objects/info/alternates").write_bytes(data)
    said = run(repo.git_dir, "cat-file", "-e", "1" * 40).stderr
    for path in parse_alternates(data):
        real = os.path.realpath(os.path.join(os.fsencode(repo.git_dir / "objects"), path))
        if not os.path.isdir(real):
            assert shown(real.rstrip(b"/")) in said or shown(path) in said
    if not list(parse_alternates(data)):
        assert b"alternate" not in said


# -- damaged stores


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


# -- trees and commits

MODES = ["100644", "0100644", "00100644", "100664", "100600", "100755", "0100755", "100700"]
MODES += ["100000", "100100", "120000", "0120000", "120777", "40000", "040000", "40755", "160000"]
MODES += ["0160000", "644", "755", "0", "10644", "60000", "140000", "20100644", "37777777777"]


@pytest.mark.parametrize("mode", MODES)
def test_modes_are_those_that_git_reads(mode: str, tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r")
    blob = repo.blob("x\n")
    tree = repo.raw_tree([(mode, "name", blob)])
    line = repo.git("-c", "core.quotePath=false", "ls-tree", tree).decode()
    reader = ObjectReader(repo.git_dir)
    assert reader.tree(bytes.fromhex(tree)) == [
        (line.split()[0].lstrip("0").encode(), b"name", bytes.fromhex(blob))
    ]


@pytest.mark.parametrize("mode", ["", "8", "10064a", " 100644", "-1", "0x81a4"])
def test_what_is_no_mode_for_git_is_none_for_us(mode: str, tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r")
    tree = repo.raw_tree([(mode, "name", repo.blob("x\n"))])
    assert run(repo.git_dir, "ls-tree", tree).returncode
    with pytest.raises(RepositoryError, match="malformed"):
        ObjectReader(repo.git_dir).tree(bytes.fromhex(tree))


@given(st.lists(st.tuples(st.sampled_from(MODES), st.binary(min_size=1, max_size=5))))
@settings(max_examples=50, deadline=None)
def test_any_tree_is_read_as_git_lists_it(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes]]
) -> None:
    repo = Repo.create(tmp_path_factory.mktemp("r") / "r")
    names = {name.translate(None, b"\0/"): mode for mode, name in entries}
    names.pop(b"", None)
    blob = repo.blob("x\n")
    tree = repo.raw_tree([(mode, name, blob) for name, mode in names.items()])
    listed = []
    for line in repo.git("ls-tree", "-z", tree).split(b"\0")[:-1]:
        meta, _, name = line.partition(b"\t")
        listed.append((meta.split()[0].lstrip(b"0"), name, bytes.fromhex(blob)))
    assert ObjectReader(repo.git_dir).tree(bytes.fromhex(tree)) == listed


A, C = "author A <a@x.org> 1000000000 +0000\n", "committer C <c@x.org> 1100000000 +0100\n"
HEADS = {
    "usual": A + C,
    "no author": C,
    "no committer": A,
    "neither": "",
    "no space before the time": "author A <a@x.org>1000000000 +0000\n" + C,
    "many spaces": "author A <a@x.org>   1000000000 +0000\ncommitter C <c@x>\t1100000000 +0000\n",
    "a > in the address": "author A <a>b@x.org> 1000000000 +0000\n" + C,
    "no address": "author A <> 1000000000 +0000\ncommitter <> 1100000000 +0000\n",
    "zero-padded": "author A <a@x.org> 0001000000000 +0000\ncommitter C <c@x.org> 01 +0000\n",
    "odd zones": "author A <a@x.org> 1000000000 +5\ncommitter C <c@x> 1100000000 -99999\n",
    "two authors": A + "author B <b@x.org> 1200000000 +0000\n" + C,
    "headers between": A + "x-odd: 1\n" + C + "gpgsig x\n author Z <z@x.org> 1 +0000\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_commits_are_read_as_git_reads_them(name: str, tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    tree = repo.git("rev-parse", f"{ids[3]}^{{tree}}").decode().strip()
    text = f"tree {tree}\nparent {ids[3]}\nparent {ids[3]}\n{HEADS[name]}\nThe message\n"
    oid = repo.write("commit", text.encode())
    form = "--format=%T%x00%P%x00%at%x00%ct%x00%s"
    told = repo.git("log", "-1", form, oid).decode().strip().split("\0")
    commit = ObjectReader(repo.git_dir).commit(bytes.fromhex(oid))
    assert commit.tree.hex() == told[0]
    assert " ".join(parent.hex() for parent in commit.parents) == told[1]
    assert (commit.authored_at, commit.committed_at) == (int(told[2] or 0), int(told[3] or 0))
    assert commit.message.decode().strip() == told[4]


@pytest.mark.parametrize("time", ["-1", "+5", "1_0", "x", "", "99999999999999999999999", "\u0661"])
def test_what_is_no_time_is_the_epoch_or_the_last(time: str, tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    tree = repo.git("rev-parse", f"{ids[3]}^{{tree}}").decode().strip()
    text = f"tree {tree}\nauthor A <a> {time} +0000\ncommitter A <a> {time} +0000\n\nm\n"
    commit = ObjectReader(repo.git_dir).commit(bytes.fromhex(repo.write("commit", text.encode())))
    last = 253402300799
    wanted = {"1_0": 1, "99999999999999999999999": last}.get(time, 0)
    assert (commit.authored_at, commit.committed_at) == (wanted, wanted)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tree 12\n\nm",
        "parent {p}\n\nm",
        "{t}\n\nm",
        "tree {t}\n",
        "tree {t}\nparent {p}\n",
        "tree {t}\nparent 12\n\nm" + "m" * 60,
    ],
)
def test_what_is_no_commit_for_git_is_none_for_us(text: str, tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    tree = repo.git("rev-parse", f"{ids[3]}^{{tree}}").decode().strip()
    oid = repo.write("commit", text.format(t=tree, p=ids[3]).encode())
    assert run(repo.git_dir, "rev-list", oid).returncode
    with pytest.raises(RepositoryError, match="malformed"):
        ObjectReader(repo.git_dir).commit(bytes.fromhex(oid))


@pytest.mark.parametrize(
    "text", ["tree {t}\n\nm",  "tree {t}\nparent {p}",
             "tree {t}\nparent 12\n\nm", "tree {t}\nparent {p}\n\nm"]
)  # fmt: skip
def test_the_least_that_git_takes_for_a_commit(text: str, tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    tree = repo.git("rev-parse", f"{ids[3]}^{{tree}}").decode().strip()
    for case in (str.lower, str.upper):
        oid = repo.write("commit", text.format(t=case(tree), p=case(ids[3])).encode())
        commit = ObjectReader(repo.git_dir).commit(bytes.fromhex(oid))
        told = repo.git("log", "-1", "--format=%T %P", oid).decode().split()
        assert [commit.tree.hex(), *(parent.hex() for parent in commit.parents)] == told


# -- formats

FORMATS: dict[str, list[tuple[str, str | None]]] = {
    "99": [("core.repositoryformatversion", "99")],
    "2": [("core.repositoryformatversion", "2")],
    "1": [("core.repositoryformatversion", "1")],
    "-1": [("core.repositoryformatversion", "-1")],
    "0x1": [("core.repositoryformatversion", "0x1"), ("extensions.odd", "1")],
    "1k": [("core.repositoryformatversion", "1k")],
    "words": [("core.repositoryformatversion", "one")],
    "twice": [("core.repositoryformatversion", "99"), ("core.repositoryformatversion", "0")],
    "unknown at 0": [("core.repositoryformatversion", "0"), ("extensions.odd", "1")],
    "unknown at 1": [("core.repositoryformatversion", "1"), ("extensions.odd", "1")],
    "known at 1": [("core.repositoryformatversion", "1"), ("extensions.noop", "1")],
    "noop-v1 at 0": [("core.repositoryformatversion", "0"), ("extensions.noop-v1", "1")],
    "noop-v1 at 1": [("core.repositoryformatversion", "1"), ("extensions.noop-v1", "1")],
    "precious": [("core.repositoryformatversion", "0"), ("extensions.preciousObjects", "true")],
    "format at 0": [("core.repositoryformatversion", "0"), ("extensions.objectFormat", "sha1")],
    "format at 1": [("core.repositoryformatversion", "1"), ("extensions.objectFormat", "sha1")],
    "odd format": [("core.repositoryformatversion", "1"), ("extensions.objectFormat", "md5")],
    "subsection": [("core.repositoryformatversion", "1"), ('extensions.a "b.c', "1")],
    "worktree config": [("extensions.worktreeConfig", "true")],
    "refs at 0": [("core.repositoryformatversion", "0"), ("extensions.refStorage", "reftable")],
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_refused_where_git_refuses_it(name: str, tmp_path: Path) -> None:
    repo, _ = history(tmp_path / "r")
    lines = ["[core]\n\tbare = true\n"]
    for key, value in FORMATS[name]:
        section, _, rest = key.partition(".")
        if '"' in rest:
            lines.append(f'[{section} "{rest}"]\n\tkey = {value}\n'.replace('a "b.c', "a.b"))
        else:
            lines.append(f"[{section}]\n\t{rest} = {value}\n")
    (repo.git_dir / "config").write_text("".join(lines))
    judged = run(repo.git_dir, "rev-parse", "HEAD")
    if judged.returncode == 0:
        inspect_git_dir(repo.path)
        return
    with pytest.raises(RepositoryError) as caught:
        inspect_git_dir(repo.path)
    assert caught.value.rule == "unsupported-format"
    assert str(tmp_path) not in caught.value.reason
    assert caught.value.reason.split(": ", 1)[1][:20].encode() in judged.stderr


# -- refs


def test_refs_in_all_their_forms(tmp_path: Path) -> None:
    """Packed with peeled lines, symbolic to symbolic, broken beside good ones."""
    repo, ids = history(tmp_path / "r")
    repo.tag("v1", ids[3], "a tag")
    repo.git("pack-refs", "--all")
    assert b"^" + ids[3].encode() in (repo.git_dir / "packed-refs").read_bytes()
    (repo.git_dir / "refs/heads/a").write_text("ref: refs/heads/b\n")
    (repo.git_dir / "refs/heads/b").write_text("ref: refs/heads/main\n")
    (repo.git_dir / "refs/heads/broken").write_text("nonsense\n")
    (repo.git_dir / "refs/tags/empty").write_text("")
    for head in ("ref: refs/heads/a\n", "ref:\trefs/heads/a", f"{ids[4]}\n", f"{ids[4]} and more"):
        (repo.git_dir / "HEAD").write_text(head)
        found = inspect_git_dir(repo.path)
        assert resolve_head(found, None) == repo.git("rev-parse", "HEAD").decode().strip()
    assert resolve_head(found, "v1") == ids[3]
    assert resolve_head(found, "b") == ids[-1]
    with pytest.raises(RepositoryError):
        resolve_head(found, "broken")


def test_packed_refs_that_git_cannot_read_are_damage(tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    repo.pack()
    (repo.git_dir / "packed-refs").write_text(f"{ids[-1]} refs/heads/main\nnonsense\n")
    assert run(repo.git_dir, "rev-parse", "HEAD").returncode
    with pytest.raises(RepositoryError) as caught:
        resolve_head(inspect_git_dir(repo.path), None)
    assert caught.value.rule == "damaged"


def test_a_folder_called_dot_git_in_a_bare_repository_is_passed_over(tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    (repo.path / ".git").mkdir()
    told = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repo.path, env=ENV, capture_output=True
    ).stdout
    assert resolve_head(inspect_git_dir(repo.path), None) == told.decode().strip() == ids[-1]
