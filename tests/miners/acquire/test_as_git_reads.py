"""Formats and refs are read, or refused, as git does it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head
from gitdag import ENV
from hostile import history
from judged_by_git import run

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
