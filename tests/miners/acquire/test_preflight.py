"""Looking at repositories from outside: nothing hangs, nothing runs, every reason is plain."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.git import run_git
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head, stand_in, tags
from codeflow_miners.acquire.repositories import parse_sources
from gitdag import ENV, Repo, Symlink, git
from hostile import HOSTILE, MINED, HostileCase, history

pytestmark = pytest.mark.timeout(60)  # a FIFO that is opened waits for ever


def outcome(case: HostileCase, folder: Path) -> tuple[str, str]:
    """What becomes of a repository before it is read: `mined` and its head, or rule and reason."""
    [source] = parse_sources([case.line], folder)
    try:
        found = inspect_git_dir(acquire(source, folder / "cache"))
        head = resolve_head(found, source.ref)
        tags(found)
    except RepositoryError as error:
        return error.rule, error.reason
    return "mined", head


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if n % 5 == 0 else pytest.mark.slow)
        for n, name in enumerate(sorted(HOSTILE))
    ],
)
def test_hostile_repositories_pass_or_get_a_plain_reason(name: str, tmp_path: Path) -> None:
    case = HOSTILE[name](tmp_path)
    got, detail = outcome(case, tmp_path)
    if case.expect == MINED:
        assert got == "mined", detail
    elif got == "mined":  # only damage deeper inside may pass here
        assert case.expect & {"missing-object", "damaged-object"}
    else:
        assert got in case.expect
        assert detail
        assert "\n" not in detail
        assert str(tmp_path) not in detail
    if case.canaries:
        assert list(case.canaries.iterdir()) == []


def test_the_bait_is_real(tmp_path: Path) -> None:
    """Plain git does run what the executable configuration names: the canaries mean something."""
    case = HOSTILE["executable-config"](tmp_path)
    assert case.canaries is not None
    repo, bait = Path(case.line), tmp_path / "executable-config-bait"
    (repo / ".gitattributes").write_text("* filter=evil\n")
    runs: dict[tuple[str, ...], dict[str, str]] = {
        ("status",): {"core.fsmonitor": "core.fsmonitor"},
        ("log", "--show-signature"): {"gpg.program": "gpg.program"},
        ("add", ".gitattributes"): {"filter.evil.clean": "filter.evil.clean"},
        ("update-ref", "refs/x", "HEAD"): {},
        ("diff", "--cached"): {"include.path": "included"},
        ("ls-files", "-m"): {"includeIf.gitdir:/.path": "included-if"},
    }
    for command, settings in runs.items():
        os.truncate(repo / ".git/config", 0)
        for key, value in settings.items():
            git("config", key, str(bait / value), cwd=repo)
        subprocess.run(["git", *command], cwd=repo, env=ENV, capture_output=True, timeout=240)
    wanted = {"core.fsmonitor", "gpg.program", "filter.evil.clean", "hook-reference-transaction"}
    wanted |= {"included-monitor", "included-if-monitor"}
    assert {p.name for p in case.canaries.iterdir()} >= wanted


def test_git_through_the_stand_in_runs_nothing_of_the_repository(tmp_path: Path) -> None:
    case = HOSTILE["executable-config"](tmp_path)
    assert case.canaries is not None
    with stand_in(inspect_git_dir(Path(case.line))) as git_dir:
        log = run_git(["log", "--show-signature", "--oneline", "-p", "main"], git_dir=git_dir)
        assert b"--- a/src/app.py" in log  # diff.noprefix did not leak in either
    assert list(case.canaries.iterdir()) == []


def test_the_ways_to_name_a_repository(tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r", bare=False)
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "w"), ids[3])
    (tmp_path / "link").symlink_to(repo.path)
    for path in (repo.path, repo.git_dir, tmp_path / "link", tmp_path / "w"):
        found = inspect_git_dir(path)
        assert found.objects == repo.git_dir / "objects"
        head = git("rev-parse", "HEAD", cwd=path if path != repo.git_dir else repo.path)
        assert resolve_head(found, None) == head.decode().strip()


def test_links_in_place_of_the_parts_are_followed(tmp_path: Path) -> None:
    """As tools make them that share one store between several working trees."""
    repo, ids = history(tmp_path / "r")
    shared = tmp_path / "shared"
    shared.mkdir()
    for part in ("objects", "refs", "config"):
        (repo.git_dir / part).rename(shared / part)
        (repo.git_dir / part).symlink_to(shared / part)
    (repo.git_dir / "HEAD").unlink()
    (repo.git_dir / "HEAD").symlink_to("refs/heads/main")  # how git wrote it before 2005 ended
    assert resolve_head(inspect_git_dir(repo.path), None) == ids[-1]


def _unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", os.fspath(path))  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)


def _loop(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("HEAD").unlink()
    Path("HEAD").symlink_to("HEAD")


@pytest.mark.parametrize("spoil", [_unreadable, _loop])
def test_what_cannot_be_read_is_a_reason(
    spoil: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, _ = history(tmp_path / "r")
    monkeypatch.chdir(repo.git_dir)
    spoil(monkeypatch)
    with pytest.raises(RepositoryError) as caught:
        inspect_git_dir(repo.path)
    assert caught.value.rule == "unreadable"


@pytest.mark.parametrize("packed", [False, True])
def test_refs_are_resolved_as_git_does(packed: bool, tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r", {"l": Symlink("x")})
    repo.branch("fix/x", ids[1])
    repo.tag("light", ids[2])
    nested = repo.tag("inner", repo.tag("annotated", ids[3], "note"), "note", kind="tag")
    repo.tag("v1@2", ids[4])
    repo.branch("both", ids[5])
    repo.tag("both", ids[6])
    repo.ref("refs/remotes/origin/theirs", ids[7])
    if packed:
        repo.pack()
    found = inspect_git_dir(repo.path)
    names = {"fix/x": 1, "light": 2, "annotated": 3, "inner": 3, "v1@2": 4, "both": 6, "theirs": 7}
    for name, index in names.items():
        assert resolve_head(found, name) == ids[index], name
    for commit in (ids[8], ids[8][:10], nested):
        expected = repo.git("rev-parse", f"{commit}^{{commit}}").decode().strip()
        assert resolve_head(found, commit) == expected
    for bad in ("nope", "--all", "-h", "^main", "main..light", "main light", "f" * 40, "main^9"):
        with pytest.raises(RepositoryError) as caught:
            resolve_head(found, bad)
        assert caught.value.rule == "missing-ref", bad
    with pytest.raises(RepositoryError) as caught:
        resolve_head(found, f"{ids[8]}^{{tree}}")
    assert caught.value.rule == "not-a-commit"


@pytest.mark.parametrize("packed", [False, True])
def test_tags_are_peeled_and_others_left_out(packed: bool, tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    assert tags(inspect_git_dir(repo.path)) == []
    repo.tag("b", ids[1])
    repo.tag("a", repo.tag("c/d", ids[2], "note"), "note", kind="tag")
    repo.tag("blob", repo.blob("x"), "note", kind="blob")
    if packed:
        repo.pack()
    repo.tag("gone", "1" * 40)
    assert tags(inspect_git_dir(repo.path)) == [("a", ids[2]), ("b", ids[1]), ("c/d", ids[2])]


def test_a_graft_and_a_replacement_do_not_change_a_ref(tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    tag = repo.tag("t", ids[4], "note")
    repo.ref(f"refs/replace/{tag}", repo.tag("u", ids[5], "note"))
    assert resolve_head(inspect_git_dir(repo.path), "t") == ids[4]


def test_an_alternate_is_looked_at_and_used(tmp_path: Path) -> None:
    repo, ids = history(tmp_path / "r")
    git("clone", "--quiet", "--bare", "--shared", str(repo.path), tmp_path / "s")
    assert resolve_head(inspect_git_dir(tmp_path / "s"), None) == ids[-1]
    (tmp_path / "s/objects/info/alternates").write_text("../../r/objects\n")  # relative to objects
    assert resolve_head(inspect_git_dir(tmp_path / "s"), None) == ids[-1]


def test_nobodys_home_and_somebody_elses_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = HOSTILE["other-owner"](tmp_path)
    monkeypatch.delenv("HOME", raising=False)
    assert outcome(case, tmp_path)[0] == "mined"
    if os.geteuid() == 0:  # the refusal that has to be overcome is real
        plain = {**ENV, "GIT_CONFIG_COUNT": "0"}
        done = subprocess.run(["git", "log"], cwd=case.line, env=plain, capture_output=True)
        assert b"dubious ownership" in done.stderr


def test_a_repository_below_the_named_folder_is_not_guessed(tmp_path: Path) -> None:
    Repo.create(tmp_path / "r", bare=False)
    (tmp_path / "r/sub").mkdir()
    with pytest.raises(RepositoryError) as caught:
        inspect_git_dir(tmp_path / "r/sub")
    assert caught.value.rule == "not-a-repository"
