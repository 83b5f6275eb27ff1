"""Clones into a cache, and the refs that they hold."""

from pathlib import Path

from codeflow_miners.acquire.repositories import Source, parse_sources
from gitdag import git


def source(line: str) -> Source:
    [parsed] = parse_sources([line], Path("/"))
    return parsed


def refs_of(git_dir: Path) -> bytes:
    """Every branch and tag with its id, and HEAD, as the real git lists them."""
    listing = git(f"--git-dir={git_dir}", "for-each-ref", "refs/heads", "refs/tags")
    head = (git_dir / "HEAD").read_bytes()
    return listing + head
