"""The list of repositories: text lines in, typed sources out, nothing opened yet.

A line is a URL (https, ssh, `user@host:path`, git, file) or a path, optionally followed by `@REF`;
`#` starts a comment. `NAME=` before it says what the repository is to be called: a mirror, or a
copy on this machine, gets the name that others know it by. A line that cannot be mined becomes a
source with a `problem`, because one bad line must not stop a run: acquiring it fails with that
reason. Credentials in a URL are taken out of everything that could be printed or stored, and kept
only in `Source.login`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from codeflow.config import read_text
from codeflow.errors import UsageError

SCHEMES: Final = ("https", "ssh", "git", "file")

_COMMENT = re.compile(r"(?:^|\s)#.*")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(/.*)?", re.DOTALL)
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")  # ext::sh -c ..., fd::3: git runs a program for it
_SCP = re.compile(r"(?:([^/@:]*)@)?(\[[^\]/]*\]|[^/:\[\]]+):(.+)", re.DOTALL)
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d*)?")
_NAMED = re.compile(r"(\w[\w.-]*(?:/\w[\w.-]*)*)=(.+)", re.DOTALL)
# a ref starts at an @ that follows a name: `/@user/name` holds none
_PATH_AND_REF = re.compile(r"(.*?\.git/?|.*?[^/@])@(.*)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """One repository to mine.

    Attributes:
        line: number of its first line in the list, from 1.
        spec: the line as written, without comment and credentials.
        location: what git is given: a URL without credentials, or an absolute path.
        ref: branch, tag or commit after `@`; None for the default branch.
        repo: the identity, as in the published `repo` column; unique within the list.
        url: the public form, as in `repo_url`; of a local path its last name only.
        name: what the line calls it, before `=`; empty for a name made of the location.
        problem: why this line can never be acquired, or empty.
        repeats: numbers of later lines that say the same again.
        login: `(user, password)` of an https URL. A secret: never print or store it.
    """

    line: int
    spec: str
    location: str
    ref: str | None
    repo: str
    url: str
    problem: str = ""
    name: str = ""
    repeats: tuple[int, ...] = ()
    login: tuple[str, str] | None = field(default=None, repr=False, compare=False)

    @property
    def is_path(self) -> bool:
        return self.location.startswith("/")

    @property
    def target(self) -> str:
        """Location and ref in one string: what makes two sources the same."""
        return f"{self.location}@{self.ref or ''}"

    @property
    def key(self) -> str:
        """A short folder name of its own, such as `flask-1a2b3c4d5e`."""
        plain = re.sub(r"~[0-9a-f]{8}$", "", self.repo)
        return folder_name(plain, self.target)


def folder_name(name: str, unique: str) -> str:
    """A name that is safe on any file system: the last part of `name`, a hash of `unique`."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name.rpartition("/")[2])[:40].strip("-")
    return f"{slug or 'repository'}-{_hash(unique, 10)}"


def read_list(path: Path) -> list[Source]:
    """The sources of a list file; relative paths in it start at the file's own folder.

    Raises:
        UsageError: the file cannot be read, or names no repository at all.
    """
    text = read_text(path, "list")
    try:
        return parse_sources(text.split("\n"), path.absolute().parent)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def parse_sources(lines: Iterable[str], base: Path) -> list[Source]:
    """The sources of some lines, each (location, ref) once, in order, with unique identities.

    Paths that hold an `@` are looked up on disk to tell a name from a ref; nothing is opened.

    Raises:
        UsageError: there is no repository in the lines.
    """
    specs = ((n, _COMMENT.sub("", line, count=1).strip()) for n, line in enumerate(lines, 1))
    return settled(parse_source(number, spec, base) for number, spec in specs if spec)


def settled(parsed: Iterable[Source]) -> list[Source]:
    """Each source once, with identities that are unique among them. Raises as `parse_sources`."""
    sources: dict[tuple[str, str | None], Source] = {}
    for source in parsed:
        same = (source.location, source.ref)
        if same in sources:
            first = sources[same]
            sources[same] = replace(first, repeats=(*first.repeats, source.line))
        else:
            sources[same] = source
    if not sources:
        raise UsageError("no repository in the list: write one URL or path a line")
    shared = Counter(source.repo for source in sources.values())
    named = Counter(source.name for source in sources.values() if source.name)
    return [
        # of a path, what was written: the same list means the same names on another machine
        replace(s, repo=f"{s.repo}~{_hash(s.spec if s.is_path else s.target, 8)}")
        if shared[s.repo] > 1 and named[s.name] != 1  # a name that was given is kept
        else s
        for s in sources.values()
    ]


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def parse_source(line: int, spec: str, base: Path) -> Source:
    """The source that one text names, taken whole: no comment is cut from it."""
    if any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in spec):
        return _bad(line, "control characters in the line")
    named = _NAMED.fullmatch(spec)
    if named is None or _begins_with_a_path(spec, base):
        return _parse_place(line, spec, base)
    name, place = named.groups()
    source = _parse_place(line, place, base)
    if source.problem:
        return source
    local = source.is_path or source.location.startswith("file:")
    url, spec = name if local else source.url, f"{name}={source.spec}"
    return replace(source, spec=spec, repo=name, url=url, name=name)


def _parse_place(line: int, spec: str, base: Path) -> Source:
    if _HELPER.match(spec):
        return _bad(line, f"transport {spec.partition('::')[0]!r} is not allowed")
    if url := _URL.fullmatch(spec):
        return _parse_url(line, *url.groups())
    scp = _SCP.fullmatch(spec)
    if scp and not os.path.lexists(base / spec):
        return _parse_scp(line, *scp.groups())
    return _parse_path(line, spec, base)


def _begins_with_a_path(spec: str, base: Path) -> bool:
    """Whether a line, or what stands before one of its `@`, is a path that exists."""
    ends = [i for i, letter in enumerate(spec) if letter == "@"] + [len(spec)]
    return any(os.path.lexists(base / spec[:end]) for end in ends if end)


def _bad(line: int, problem: str) -> Source:
    name = f"line-{line}"
    return Source(line, name, name, None, name, name, problem)


def _parse_url(line: int, scheme: str, authority: str, rest: str | None) -> Source:
    scheme = scheme.lower()
    userinfo, _, host = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    if scheme != "file" and not _HOST.fullmatch(host):  # perhaps a part of a password: not shown
        return _bad(line, "the URL has no valid host; write / in a password as %2F")
    path, ref = _split_ref(rest or "")
    public_path = re.split(r"[?#]", path)[0]
    problem = "the ref after @ is empty" if ref == "" else ""
    login = None
    kept_user = ""
    if scheme not in SCHEMES:
        problem = f"{scheme} URLs are not allowed; use https, ssh, git or file"
    elif not _name(public_path):
        problem = "the URL names no repository"
    elif scheme == "file":
        if host not in ("", "localhost"):
            problem = "a file URL must name this machine: file:///path"
        name = _name(unquote(public_path))
        location = f"file://{path}"
        return Source(line, _join(location, ref), location, ref, name, name, problem)
    elif scheme == "ssh":
        kept_user = f"{user}@" if user else ""
    elif scheme == "https" and userinfo:
        login = (unquote(user), unquote(password))
    location = f"{scheme}://{kept_user}{host}{path}"
    public_user = "git@" if kept_user == "git@" else ""
    url = f"{scheme}://{public_user}{host}{public_path}"
    repo = f"{_hostname(host)}/{_name(public_path, whole=True)}"
    return Source(line, _join(url, ref), location, ref, repo, url, problem, login=login)


def _parse_scp(line: int, user: str | None, host: str, rest: str) -> Source:
    path, ref = _split_ref(rest)
    problem = "the ref after @ is empty" if ref == "" else ""
    if not _name(path):
        problem = "the URL names no repository"
    location = f"{user}@{host}:{path}" if user else f"{host}:{path}"
    public_user = "git@" if user == "git" else ""
    url = f"ssh://{public_user}{host}/{path.lstrip('/')}"
    repo = f"{_hostname(host)}/{_name(path, whole=True)}"
    return Source(line, _join(url, ref), location, ref, repo, url, problem)


def _parse_path(line: int, spec: str, base: Path) -> Source:
    def absolute(text: str) -> str:
        return os.path.normpath(base / os.path.expanduser(text))

    path, ref = spec, None
    if not os.path.lexists(absolute(spec)) and "@" in spec:
        cuts = [i for i, c in enumerate(spec) if c == "@" and i > 0 and spec[i - 1] != "/"]
        known = [i for i in cuts if os.path.lexists(absolute(spec[:i]))]
        if cut := max(known or cuts[:1], default=0):
            path, ref = spec[:cut], spec[cut + 1 :]
    location = absolute(path)
    problem = "the ref after @ is empty" if ref == "" else ""
    name = _name(location) or "repository"
    return Source(line, _join(path, ref), location, ref, name, name, problem)


def _split_ref(text: str) -> tuple[str, str | None]:
    match = _PATH_AND_REF.fullmatch(text)
    return (match[1], match[2]) if match else (text, None)


def _join(location: str, ref: str | None) -> str:
    return location if ref is None else f"{location}@{ref}"


def _hostname(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()


def _name(path: str, whole: bool = False) -> str:
    """The last name of a path (or all of them), without `.git`."""
    parts = [part for part in path.split("/") if part]
    if parts and parts[-1] == ".git":
        parts.pop()
    if parts:
        parts[-1] = parts[-1].removesuffix(".git")
    return "/".join(parts) if whole else "".join(parts[-1:])
