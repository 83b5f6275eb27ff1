"""Whether git would open a repository of this format, asked of git itself.

`core.repositoryformatversion` and `extensions.*` say what a reader must understand. Which of them
counts at which version is git's rule and grows with it, so git judges: of a fresh empty repository
of ours whose configuration has these keys and no other, because a whole `config` may name programs.
The usual repository, of version 0 and without extensions, costs nothing.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.git import GitFailedError, run_git

VERSION: Final = "core.repositoryformatversion"
Settings = Sequence[tuple[str, str | None]]
"""(key in lower case, value) in the order of the file; None where a key stands alone."""

_POSITIVE: Final = re.compile(r"\s*\+?(?:0[xX])?0*[1-9a-fA-F]")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\b": "\\b"}


def settings_of(path: Path) -> Settings:
    """The settings of a configuration file, as data: includes are not followed.

    Raises:
        RepositoryError: `damaged`.
    """
    if not path.exists():
        return []
    try:
        listing = run_git(["config", "--file", str(path), "--no-includes", "--null", "--list"])
    except GitFailedError as error:
        reason = error.reason.replace(str(path), "config")
        raise RepositoryError("damaged", f"its configuration cannot be read: {reason}") from None
    items = [item for item in listing.decode("utf-8", "surrogateescape").split("\0") if item]
    pairs = (item.partition("\n") for item in items)
    return [(key, value if separator else None) for key, separator, value in pairs]


def require_known_format(settings: Settings) -> None:
    """Refuses what git refuses, and what codeflow cannot read.

    Raises:
        RepositoryError: `unsupported-format`, by git's own rule; `sha256`; `unsupported-refs`.
    """
    ours = [(k, v) for k, v in settings if k == VERSION or k.startswith("extensions.")]
    last = dict(ours)
    refusal = None if all(pair == (VERSION, "0") for pair in ours) else _refusal(ours)
    if _POSITIVE.match(last.get(VERSION) or ""):  # below 1 git passes over these two, or refuses
        if (last.get("extensions.objectformat") or "sha1").lower() == "sha256":
            reason = "its objects are named by SHA-256; only SHA-1 is supported"
            raise RepositoryError("sha256", reason)
        if (last.get("extensions.refstorage") or "files") != "files":
            reason = "its refs are not stored as files; run `git refs migrate --ref-format=files`"
            raise RepositoryError("unsupported-refs", reason)
    if refusal:
        reason = f"git does not open a repository of its format: {refusal}"
        raise RepositoryError("unsupported-format", reason)


def _refusal(settings: Settings) -> str | None:
    """What git says to a repository with these settings; None where it opens it."""
    with tempfile.TemporaryDirectory(prefix="codeflow-") as name:
        folder = Path(name)
        (folder / "HEAD").write_text("ref: refs/heads/main\n")
        (folder / "objects").mkdir()
        (folder / "refs").mkdir()
        text = "".join(_written(key, value) for key, value in settings)
        (folder / "config").write_bytes(text.encode("utf-8", "surrogateescape"))
        try:
            run_git(["rev-parse", "--git-dir"], git_dir=folder)
        except GitFailedError as error:
            said = [line.strip() for line in error.stderr.replace(f"{name}/", "").splitlines()]
            return " ".join(re.sub(r"^(?:fatal|error): ", "", line) for line in said if line)
    return None


def _written(key: str, value: str | None) -> str:
    section, _, rest = key.partition(".")
    subsection, dot, name = rest.rpartition(".")
    head = f'[{section} "{_escaped(subsection)}"]' if dot else f"[{section}]"
    return f"{head}\n\t{name}\n" if value is None else f'{head}\n\t{name} = "{_escaped(value)}"\n'


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
