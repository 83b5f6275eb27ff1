"""What is to be mined, and whether it can be: lines of a list, through the door to miners."""

from __future__ import annotations

from codeflow_miners.acquire.given import read_repos
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.repositories import Source, parse_sources

__all__ = ["Source", "inspect_git_dir", "parse_sources", "read_repos"]
