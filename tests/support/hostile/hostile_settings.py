"""Hostile repositories by their settings: what git would execute, and files nobody may open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from gitdag import git
from hostile_case import MIDDLE, MINED, Cases, HostileCase, history, write

CASES = Cases()

_HOOKS: Final = ("post-checkout", "pre-commit", "reference-transaction", "post-index-change")
_PROGRAMS: Final = (
    "core.fsmonitor",
    "core.sshCommand",
    "core.gitProxy",
    "core.editor",
    "core.pager",
    "core.askPass",
    "core.alternateRefsCommand",
    "gpg.program",
    "gpg.ssh.program",
    "diff.external",
    "diff.evil.textconv",
    "diff.evil.command",
    "filter.evil.clean",
    "filter.evil.smudge",
    "filter.evil.process",
    "merge.evil.driver",
    "credential.helper",
    "uploadpack.packObjectsHook",
    "remote.origin.uploadpack",
    "alias.log",
    "alias.rev-parse",
    "alias.fetch",
    "alias.cat-file",
    "alias.for-each-ref",
)


@CASES.case("executable-config")
def _executable_config(path: Path) -> HostileCase:
    """Everything in a repository that makes plain git run a program: each leaves a canary."""
    canaries = path.parent / f"{path.name}-canaries"
    canaries.mkdir(parents=True)
    repo, _ = history(
        path,
        {".gitattributes": "* filter=evil diff=evil merge=evil\n"},
        bare=False,
        extra_headers=b"gpgsig -----BEGIN PGP SIGNATURE-----\n bogus\n",
    )

    def bait(name: str) -> str:
        script = path.parent / f"{path.name}-bait" / name
        write(script, f"#!/bin/sh\ntouch '{canaries}/{name}'\ncat\n")
        script.chmod(0o755)
        return str(script)

    settings = {key: bait(key) for key in _PROGRAMS} | {
        "log.showSignature": "true",
        "remote.origin.url": f"ext::{bait('remote.origin.url')}",
        "protocol.ext.allow": "always",
        "core.hooksPath": str(repo.git_dir / "hooks"),
        "include.path": str(path.parent / f"{path.name}-bait" / "included"),
        "includeIf.gitdir:/.path": str(path.parent / f"{path.name}-bait" / "included-if"),
        "diff.noprefix": "true",
        "core.worktree": "/",
    }
    for include in ("included", "included-if"):
        write(
            path.parent / f"{path.name}-bait" / include,
            f"[core]\n\tfsmonitor = {bait(f'{include}-monitor')}\n"
            f'[alias]\n\tlog = "!{bait(f"{include}-alias")}"\n',
        )
    for name in _HOOKS:
        hook = repo.git_dir / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        shutil.copy(bait(f"hook-{name}"), hook)
    for key, value in settings.items():
        if key.startswith("alias."):
            value = f"!{value}"
        git("config", "--file", repo.git_dir / "config", key, value)
    return HostileCase(str(path), MINED, canaries=canaries)


@CASES.case("exponential-attributes")
def _exponential_attributes(path: Path) -> HostileCase:
    repo, _ = history(path, {"a" * 60 + "/" + "a" * 200: "x\n"})
    write(repo.git_dir / "info/attributes", ("*a" * 40 + "b text\n") * 50)
    return HostileCase(str(path))


# -- special files: whoever opens them waits for ever


def _special(name: str, file: str) -> None:
    def build(path: Path) -> HostileCase:
        repo, ids = history(path)
        blob = repo.git("rev-parse", f"{ids[MIDDLE]}:src/app.py").decode().strip()
        target = repo.loose_path(blob) if file == "object" else repo.git_dir / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.mkfifo(target)
        return HostileCase(str(path), frozenset({"special-file"}))

    CASES.case(name)(build)


_special("fifo-head", "HEAD")
_special("fifo-object", "object")
_special("fifo-packed-refs", "packed-refs")
_special("fifo-branch", "refs/heads/main")
_special("fifo-config", "config")
_special("fifo-alternates", "objects/info/alternates")
_special("fifo-pack-index", "objects/pack/pack-x.idx")


@CASES.case("fifo-attributes")
def _fifo_attributes(path: Path) -> HostileCase:
    """Files that no reader of objects and refs needs to open."""
    repo, _ = history(path)
    for name in ("info/attributes", "info/grafts", "info/exclude", "index", "description"):
        (repo.git_dir / name).parent.mkdir(exist_ok=True)
        os.mkfifo(repo.git_dir / name)
    return HostileCase(str(path))


@CASES.case("endless-packed-refs")
def _endless_packed_refs(path: Path) -> HostileCase:
    repo, _ = history(path)
    (repo.git_dir / "packed-refs").symlink_to("/dev/zero")
    return HostileCase(str(path), frozenset({"special-file"}))


@CASES.case("refs-lead-outside")
def _refs_lead_outside(path: Path) -> HostileCase:
    repo, _ = history(path)
    (repo.git_dir / "refs/heads/root").symlink_to("/")
    return HostileCase(str(path), frozenset({"special-file"}))
