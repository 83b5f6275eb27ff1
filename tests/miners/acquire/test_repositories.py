"""The list of repositories: every form of a line, identities, and secrets that must not get out."""

from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.errors import UsageError
from codeflow_miners.acquire.repositories import Source, parse_sources, read_list

BASE = Path("/no/such/base")


def one(line: str, base: Path = BASE) -> Source:
    [source] = parse_sources([line], base)
    return source


@pytest.mark.parametrize(
    ("line", "location", "ref", "repo"),
    [
        ("https://github.com/pallets/flask", None, None, "github.com/pallets/flask"),
        ("https://GitHub.com/pallets/flask.git", None, None, "github.com/pallets/flask"),
        ("https://github.com/a/b/", None, None, "github.com/a/b"),
        ("https://h.org/a/b@v1.0", "https://h.org/a/b", "v1.0", "h.org/a/b"),
        ("https://h.org/a/b.git@fix/x", "https://h.org/a/b.git", "fix/x", "h.org/a/b"),
        ("https://h.org/a/b@pkg@1.0", "https://h.org/a/b", "pkg@1.0", "h.org/a/b"),
        ("https://h.org/a/b@@scope/p@1", "https://h.org/a/b", "@scope/p@1", "h.org/a/b"),
        ("https://h.org/@me/b", "https://h.org/@me/b", None, "h.org/@me/b"),
        ("https://h.org/@me/b@v1", "https://h.org/@me/b", "v1", "h.org/@me/b"),
        ("https://u:p@h.org/a/b@v1", "https://h.org/a/b", "v1", "h.org/a/b"),
        ("https://u:p@t@h.org:8443/a/b", "https://h.org:8443/a/b", None, "h.org/a/b"),
        ("git@github.com:a/b.git", None, None, "github.com/a/b"),
        ("git@github.com:a/b@main", "git@github.com:a/b", "main", "github.com/a/b"),
        ("git@github.com:a/b.git@x/y", "git@github.com:a/b.git", "x/y", "github.com/a/b"),
        ("host:a/b", None, None, "host/a/b"),
        ("me@[::1]:a/b@r", "me@[::1]:a/b", "r", "[::1]/a/b"),
        ("ssh://git@h.org:2222/a/b.git@r", "ssh://git@h.org:2222/a/b.git", "r", "h.org/a/b"),
        ("git://127.0.0.1:9418/x.git", None, None, "127.0.0.1/x"),
        ("file:///data/my%20repo.git@r", "file:///data/my%20repo.git", "r", "my repo"),
        ("/data/flask", None, None, "flask"),
        ("/data/flask/.git", None, None, "flask"),
        ("/data/flask.git/", "/data/flask.git", None, "flask"),
        ("../x", "/no/such/x", None, "x"),
        ("flask@v1", "/no/such/base/flask", "v1", "flask"),
        ("./a:b", "/no/such/base/a:b", None, "a:b"),
        ("/data/@me/x", "/data/@me/x", None, "x"),
        ("/data/a#b   # a comment", "/data/a#b", None, "a#b"),
    ],
)
def test_every_form_of_a_line(line: str, location: str | None, ref: str | None, repo: str) -> None:
    source = one(line)
    assert (source.location, source.ref, source.repo, source.problem) == (
        location or line,
        ref,
        repo,
        "",
    )


def test_a_path_that_exists_wins_over_a_ref(tmp_path: Path) -> None:
    for name in ("a", "a@b", "host:x"):
        (tmp_path / name).mkdir()

    def parsed(line: str) -> tuple[str, str | None]:
        source = one(line, tmp_path)
        return Path(source.location).name, source.ref

    assert parsed("a@b") == ("a@b", None)
    assert parsed("a@b@c/d@e") == ("a@b", "c/d@e")
    assert parsed("a@c") == ("a", "c")
    assert parsed("host:x") == ("host:x", None)


@pytest.mark.parametrize(
    "line",
    [
        "http://h.org/a/b",
        "ftp://h.org/a/b",
        "ext::sh -c touch% /tmp/x",
        "fd::17/foo",
        "https://h.org/",
        "https://h.org",
        "file://other.host/x",
        "https:///a/b",
        "https://user:pass/word@h.org/a/b",
        "https://h.org/a/b@",
        "/data/x@",
        "a\x00b",
    ],
)
def test_a_bad_line_becomes_a_source_with_a_problem(line: str) -> None:
    good, bad = parse_sources(["/data/good", line], BASE)
    assert not good.problem
    assert bad.problem
    assert bad.repo


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}[A-Za-z0-9_]", fullmatch=True).filter(
    lambda name: not name.endswith(".git")
)
SECRETS = st.from_regex(r"SECRET[A-Za-z0-9!$&*+,;=:@%._~-]{0,12}", fullmatch=True)
REFS = st.none() | st.from_regex(r"[a-z@][a-z0-9/@.:-]{0,12}[a-z0-9]", fullmatch=True).filter(
    lambda ref: "//" not in ref and ".git" not in ref
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["https", "git", "ssh", "http"]), NAMES, NAMES, SECRETS, SECRETS, REFS)
def test_secrets_stay_in_login_and_parts_come_back(
    scheme: str, owner: str, name: str, user: str, password: str, ref: str | None
) -> None:
    kept = "git" if scheme == "ssh" else user
    line = f"{scheme}://{kept}:{password}@h.org/{owner}/{name}" + (f"@{ref}" if ref else "")
    source = one(line)
    assert (source.ref, source.repo) == (ref, f"h.org/{owner}/{name}")
    shown = (
        repr(source) + source.key + str({k: v for k, v in asdict(source).items() if k != "login"})
    )
    assert "SECRET" not in shown
    if scheme == "https":
        assert source.login is not None
        assert "SECRET" in source.login[0]


@pytest.mark.parametrize(
    ("line", "repo", "url", "location", "ref"),
    [
        ("github.com/a/b=/data/b.git", "github.com/a/b", "github.com/a/b", "/data/b.git", None),
        ("flask=../mirror@v1", "flask", "flask", "/no/such/mirror", "v1"),
        ("me=file:///data/b.git@v1", "me", "me", "file:///data/b.git", "v1"),
        ("a/b=https://u:p@h.org/m?x=y", "a/b", "https://h.org/m", "https://h.org/m?x=y", None),
        ("a=git@h.org:m.git", "a", "ssh://git@h.org/m.git", "git@h.org:m.git", None),
        ("a=b=c", "a", "a", "/no/such/base/b=c", None),
        ("https://h.org/a?x=y", "h.org/a", "https://h.org/a", "https://h.org/a?x=y", None),
        ("./a=b", "a=b", "a=b", "/no/such/base/a=b", None),
        ("/data/a=b", "a=b", "a=b", "/data/a=b", None),
        ("../a=b@r", "a=b", "a=b", "/no/such/a=b", "r"),
        ("=x", "=x", "=x", "/no/such/base/=x", None),
    ],
)
def test_a_line_can_name_its_repository(
    line: str, repo: str, url: str, location: str, ref: str | None
) -> None:
    source = one(line)
    assert (source.repo, source.url, source.location, source.ref) == (repo, url, location, ref)
    assert source.problem == ""
    assert "u:p" not in source.spec


def test_a_path_that_exists_wins_over_a_name(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert one("a=b", tmp_path).location == str(tmp_path / "a=b")
    assert one("a=b@v1", tmp_path).ref == "v1"
    assert one("a=c", tmp_path).repo == "a"


def test_a_name_that_was_given_is_kept_and_names_stay_unique() -> None:
    given_, derived = parse_sources(["x=/data/one", "/data/x"], BASE)
    assert given_.repo == "x"
    assert derived.repo.startswith("x~")
    twice = parse_sources(["x=/data/one", "x=/data/one@v1", "x=/data/two"], BASE)
    assert len({s.repo for s in twice}) == 3
    assert all(s.repo.startswith("x~") for s in twice)


def test_a_bad_line_with_a_name_shows_no_secret() -> None:
    source = one("n=https://user:SECRET/word@h.org/a/b")
    assert source.problem
    assert "SECRET" not in repr(source)


def test_a_local_path_is_published_by_its_last_name_only(tmp_path: Path) -> None:
    for line in ("/home/ada/secret/flask", "file:///home/ada/secret/flask.git"):
        source = one(line)
        assert (source.url, source.repo) == ("flask", "flask")
        assert "ada" not in source.key


def test_identities_are_unique_and_do_not_depend_on_the_order() -> None:
    lines = ["/a/x", "/b/x", "/b/x@v1", "/b/y", "https://h/o/n", "git@h:o/n.git"]
    repos = {s.target: s.repo for s in parse_sources(lines, BASE)}
    turned = {s.target: s.repo for s in parse_sources(lines[::-1], BASE)}
    assert repos == turned
    assert len(set(repos.values())) == len(lines)
    assert repos["/b/y@"] == "y"
    assert repos["/a/x@"].startswith("x~")
    keys = {s.key for s in parse_sources(lines, BASE)}
    assert len(keys) == len(lines)
    assert all(key.replace("-", "").isalnum() and len(key) < 60 for key in keys)


def test_repeated_lines_are_one_source_that_knows_them() -> None:
    sources = parse_sources(["# list", "", "/a/x", "/b/y", "/a/x/", "/a/../a/x"], BASE)
    assert [(s.line, s.repeats, s.repo) for s in sources] == [(3, (5, 6), "x"), (4, (), "y")]


def test_a_list_is_relative_to_its_own_folder(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "list.txt"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf../r@v1\r\n# none\r\n")
    [source] = read_list(path)
    assert (source.location, source.ref) == (str(tmp_path / "r"), "v1")


def test_lists_that_are_usage_errors(tmp_path: Path) -> None:
    empty, latin = tmp_path / "empty", tmp_path / "latin"
    empty.write_text("# nothing\n\n")
    latin.write_bytes(b"/data/\xe9\n")
    for path in (tmp_path / "missing", tmp_path, empty, latin):
        with pytest.raises(UsageError, match=str(path)):
            read_list(path)
