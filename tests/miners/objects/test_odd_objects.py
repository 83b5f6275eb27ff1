"""Trees and commits that are odd are read, or refused, as git reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.errors import RepositoryError
from codeflow_miners.objects.reader import ObjectReader
from gitdag import Repo
from hostile import history
from judged_by_git import run

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
