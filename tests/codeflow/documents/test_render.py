"""Renderings read back: what was written gives the new side again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codeflow.cli import main
from codeflow.documents.document import Document
from codeflow.documents.options import Options
from codeflow.documents.privacy import EMAIL, IPV4, IPV6, scrub, scrub_added, scrub_patch
from codeflow.documents.triples import RENDERINGS
from codeflow.text.quoting import unquote_path
from codeflow.tokens.stage import copies
from codeflow.triple import Triple
from tiny_dataset import Git
from token_samples import make, opened, plain, reply

Files = dict[str, tuple[str, str]]
ADDRESSES = re.compile(r"[\w.]+@corp\.io|8\.8\.8\.8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Triple], dict[str, Git]]:
    path, repos = make(tmp_path_factory.mktemp("render"))
    triples = list(opened(path).triples())
    assert {f.status for t in triples for f in t.files} == {"A", "D", "M", "R", "T"}
    return triples, {name: git for name, (git, _) in repos.items()}


def rendered(triple: Triple, name: str, key: str = "k") -> Iterator[Document]:
    return RENDERINGS[name].render(triple, Options(4096, 0.0), key)


def side(repo: Any) -> Files:
    return {p: (repo.mode(p), repo[p].decode()) for p in repo}


def expected_new(triple: Triple) -> Files:
    """The new side, addresses replaced on lines that the old file does not have."""
    old, new = side(triple.old_repo), side(triple.new_repo)
    before = {f.new_path: f.old_path for f in triple.files}
    result = {}
    for path, (mode, text) in new.items():
        had = old.get(before.get(path) or "", ("", ""))[1] if path in before else text
        known = had.split("\n")
        lines = [
            line if line in known else re.sub(r"\S+@corp\.io", EMAIL, line).replace("8.8.8.8", IPV4)
            for line in text.split("\n")
        ]
        result[path] = (mode, "\n".join(lines))
    return result


def test_git_applies_the_diff(made: tuple[list[Triple], dict[str, Git]]) -> None:
    triples, repos = made
    checked = 0
    for triple in triples:
        (document,) = rendered(triple, "diff")
        patch = reply(document, "diff")
        with_index = scrub_patch(triple.patch)
        expected = [k for k in with_index.split("\n") if not re.match(r"index [0-9a-f]{40}", k)]
        assert patch.split("\n") == expected
        added = [k for k in patch.split("\n") if k.startswith("+")]
        assert not ADDRESSES.search("\n".join(added))
        git = repos[triple.repo]
        git.run("read-tree", triple.old_tree, index="apply")
        git.run("apply", "--cached", "-", stdin=patch.encode(), index="apply")
        tree = git.run("write-tree", index="apply").decode().strip()
        if triple.patch == with_index:
            assert tree == triple.new_tree
            checked += 1
    assert 5 < checked < len(triples)


def apply_changes(triple: Triple, text: str, change: Callable[[str, str | None], str]) -> Files:
    """The old side with the files of a reply changed; `change(text, old)` makes a new text."""
    old = side(triple.old_repo)
    gone, made_files = set(), {}
    for part in text.split("<|file_sep|>")[1:]:
        line, _, rest = part.partition("\n")
        name, *notes = line.split("\t")
        path = unquote_path(name.encode()).decode()
        source = None if "new" in notes else path
        mode = "100644" if source is None else old[path][0] if path in old else "?"
        for note in notes:
            if note.startswith("from "):
                source = unquote_path(note[5:].encode()).decode()
                mode = old[source][0]
        for note in notes:
            if note.startswith("mode "):
                mode = note[5:]
        if source is not None:
            gone.add(source)
        if "deleted" not in notes:
            made_files[path] = (mode, change(rest, None if source is None else old[source][1]))
        else:
            assert not rest
    return {**{p: f for p, f in old.items() if p not in gone}, **made_files}


def apply_blocks(text: str, old: str | None) -> str:
    """Applies search/replace blocks, all of them to the old text."""
    places = []
    while text:
        mark = re.match(r"(<+) SEARCH\n", text)
        assert mark, text[:200]
        size = len(mark[1])
        middle = re.compile(rf"^={{{size}}}( no newline)?\n", re.M).search(text, mark.end())
        assert middle
        end = re.compile(rf"^>{{{size}}} REPLACE( no newline)?\n", re.M).search(text, middle.end())
        assert end
        search, replace = text[mark.end() : middle.start()], text[middle.end() : end.start()]
        search = search[:-1] if middle[1] else search
        replace = replace[:-1] if end[1] else replace
        if old:
            assert sum(old.startswith(search, k) for k in range(len(old))) == 1
            places.append((old.index(search), len(search), replace))
        else:
            assert not search
            places.append((0, 0, replace))
        text = text[end.end() :]
    result = old or ""
    limit = len(result)
    for start, length, replace in sorted(places, reverse=True):
        assert start + length <= limit, "blocks overlap"
        result = result[:start] + replace + result[start + length :]
        limit = start
    return result


def test_blocks_applied_give_the_new_files(made: tuple[list[Triple], dict[str, Git]]) -> None:
    long_marks = 0
    for triple in made[0]:
        (document,) = rendered(triple, "blocks")
        text = reply(document, "blocks")
        long_marks += "<<<<<<<<< SEARCH" in text
        assert apply_changes(triple, text, apply_blocks) == expected_new(triple)
    assert long_marks


def test_whole_files_give_the_new_files(made: tuple[list[Triple], dict[str, Git]]) -> None:
    for triple in made[0]:
        (document,) = rendered(triple, "files")
        text = reply(document, "files")
        assert apply_changes(triple, text, lambda new, _: new) == expected_new(triple)
        changed = {f.old_path for f in triple.files if f.old_path}
        seen = {section.seen.path: section.seen for section in document.sections if section.seen}
        assert seen.keys() == changed
        for path, file in seen.items():
            assert file.read().encode() == side(triple.old_repo)[path][1].encode()
            assert file.windows[0].start == 0
            assert file.windows[-1].stop >= file.read().count("\n")


@pytest.mark.parametrize("name", ["fim-file", "fim-repo"])
def test_the_parts_of_a_middle_join_to_the_file(
    made: tuple[list[Triple], dict[str, Git]], name: str
) -> None:
    form = re.compile(
        r"<\|fim_prefix\|>(.*)<\|fim_suffix\|>(.*)<\|fim_middle\|>(.*)<\|im_end\|>", re.S
    )
    cuts = set()
    for triple in made[0]:
        for key in "abcdefgh":
            for document in rendered(triple, name, key):
                match = form.search(plain(document.written))
                assert match
                whole = match[1] + match[3] + match[2]
                texts = [scrub(triple.new_repo[p].decode()) for p in triple.new_repo]
                assert whole in texts
                assert not ADDRESSES.search(whole)
                assert match[3], "an empty middle teaches nothing"
                at_lines = all(
                    not part or part.endswith("\n") for part in (match[1], match[3][:-1])
                )
                cuts.add((len(match[1]), len(match[3]), at_lines))
                again = next(iter(rendered(triple, name, key)))
                assert again.written == document.written
    assert len(cuts) > 30


def test_a_middle_of_a_long_file_is_from_a_stretch_that_fits(
    made: tuple[list[Triple], dict[str, Git]],
) -> None:
    triple = next(t for t in made[0] if any(f.new_path == "pkg/a.py" for f in t.files))
    text = triple.new_repo["pkg/a.py"].decode()
    shares = []
    for key in map(str, range(60)):
        for document in RENDERINGS["fim-file"].render(triple, Options(100, 1.0), key):
            _, before, _, after, _, middle, _ = document.written
            part = before.text + middle.text + after.text
            assert len(middle.text) <= 2 * 100
            assert len(part) <= 5 * 100
            if part in text and part != text:
                assert len(part) > 4 * 100
                start = text.index(part)
                assert start == 0 or text[start - 1] == "\n"
                shares.append(len(before.text) / len(part))
    assert min(shares) < 0.2, "the middle is not always in the middle"
    assert max(shares) > 0.6


def test_a_snapshot_shows_the_new_files(made: tuple[list[Triple], dict[str, Git]]) -> None:
    for triple in made[0]:
        (document,) = rendered(triple, "snapshot")
        text = plain(document.written)
        for change in triple.files:
            if change.new_path and change.new_mode != "120000":
                assert scrub(triple.new_repo[change.new_path].decode()) in text
        assert "diff --git" not in text
        assert "<|im_start|>" not in text
        assert text.endswith("<|endoftext|>")


def test_context_starts_with_changed_files_then_imports_then_neighbours(
    made: tuple[list[Triple], dict[str, Git]],
) -> None:
    triple = next(
        t for t in made[0] if {f.old_path for f in t.files} >= {"pkg/b.py"} and t.repo == "two"
    )
    (document,) = rendered(triple, "diff")
    paths = [file.path for file in document.context]
    changed = [f.old_path for f in triple.files if f.old_path]
    assert not set(paths) & set(changed)
    seen = {section.seen.path for section in document.sections if section.seen}
    paths = [*changed, *paths]
    assert seen <= set(changed)
    regular = {p for p in triple.old_repo if triple.old_repo.mode(p) != "120000"}
    assert sorted(paths) == sorted(regular | set(changed))


def test_imports_come_before_what_is_merely_near(tmp_path: Path) -> None:
    class Tree(dict[str, bytes]):
        """Enough of a snapshot to resolve imports."""

    from codeflow.documents.triples.imports import imported

    files = Tree(
        {
            "p/q/m.py": b"from ..x import y\nimport p.z.w\nfrom . import near\nimport os\n",
            "p/x/y.py": b"", "p/x.py": b"", "p/z/w.py": b"", "p/q/near.py": b"", "os.txt": b"",
            "web/a.ts": b"import {b} from './lib/b'\nconst c = require('../c')\n",
            "web/lib/b/index.ts": b"", "c.js": b"",
            "src/m.c": b'#include "m.h"\n# include "deep/n.h"\n#include <stdio.h>\n',
            "src/m.h": b"", "include/deep/n.h": b"",
            "j/src/a/b/C.java": b"import a.d.E;\nimport java.util.List;\n", "j/src/a/d/E.java": b"",
            "crate/src/lib.rs": b"mod one;\nuse crate::two::Three;\n",
            "crate/src/one.rs": b"", "crate/src/two/mod.rs": b"",
            "lib/r.rb": b"require 'r/s'\nrequire_relative 't'\n",
            "lib/r/s.rb": b"", "lib/t.rb": b"",
            "cmd/main.go": b'package main\n\nimport (\n\t"fmt"\n\t"path"\n\n'
            b'\t"example.com/o/mod"\n\tx "example.com/o/mod/v2/in/fs" // why\n'
            b'\t. "example.com/o/mod/render"\n\t"example.com/else/where"\n)\n\n'
            b'import "example.com/o/mod/in/one"\n\nvar s = "example.com/o/mod/text"\n',
            "mod.go": b"", "in/fs/fs.go": b"", "render/render.go": b"", "in/one/one.go": b"",
            "path/path.go": b"", "text/text.go": b"",
        }
    )  # fmt: skip

    def found(path: str) -> list[str]:
        return list(imported(path, files))  # type: ignore[arg-type]

    assert found("p/q/m.py") == ["p/x/y.py", "p/z/w.py", "p/q/near.py"]
    assert found("web/a.ts") == ["web/lib/b/index.ts", "c.js"]
    assert found("src/m.c") == ["src/m.h", "include/deep/n.h"]
    assert found("j/src/a/b/C.java") == ["j/src/a/d/E.java"]
    assert found("crate/src/lib.rs") == ["crate/src/one.rs", "crate/src/two/mod.rs"]
    assert found("lib/r.rb") == ["lib/r/s.rb", "lib/t.rb"]
    assert found("cmd/main.go") == ["mod.go", "in/fs/fs.go", "render/render.go", "in/one/one.go"]
    assert found("os.txt") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("by Ann <ann.lee+x@mail.corp.co.uk>.", f"by Ann <{EMAIL}>."),
        ("a@b.io, c@d.io", f"{EMAIL}, {EMAIL}"),
        ("git@github.com:x/y user@example.org", "git@github.com:x/y user@example.org"),
        ("q@k.transpose(1) @app.route('/') x@y", "q@k.transpose(1) @app.route('/') x@y"),
        ("at 8.8.8.8:53 and 10.0.0.1, 127.0.0.1", f"at {IPV4}:53 and 10.0.0.1, 127.0.0.1"),
        ("v1.2.3.4.5 300.1.1.1 1.2.3", "v1.2.3.4.5 300.1.1.1 1.2.3"),
        ("[2606:4700:4700::1111]:80 ::1 12:30:45 std::abc", f"[{IPV6}]:80 ::1 12:30:45 std::abc"),
    ],
)
def test_addresses_are_replaced_and_look_alikes_stay(text: str, expected: str) -> None:
    assert scrub(text) == expected
    assert scrub(expected) == expected


def test_only_added_lines_are_touched() -> None:
    patch = (
        "diff --git a/x@a.io b/x@a.io\n--- a/x@a.io\n+++ b/x@a.io\n@@ -1,3 +1,3 @@ b@a.io\n"
        " c@a.io\n-d@a.io\n+e@a.io\n --- f@a.io\n"
    )
    assert scrub_patch(patch) == patch.replace("+e@a.io", f"+{EMAIL}")
    assert scrub_added("a@a.io\nb@b.io", "z\na@a.io") == f"a@a.io\n{EMAIL}"


def test_weight_decides_the_number_of_copies() -> None:
    ids = [f"{k:032x}" for k in range(4000)]
    assert {copies(2.0, id, 0) for id in ids} == {2}
    assert {copies(0.0, id, 0) for id in ids} == {0}
    counts = [copies(1.3, id, 0) for id in ids]
    assert set(counts) == {1, 2}
    assert abs(sum(counts) / len(ids) - 1.3) < 4 * (0.3 * 0.7 / len(ids)) ** 0.5
    assert counts == [copies(1.3, id, 0) for id in ids]
    assert counts != [copies(1.3, id, 1) for id in ids]


def test_every_rendering_can_be_taken_from_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["tokenize", "--help"])
    assert set(re.findall(r"[\w-]+", capsys.readouterr().out)) >= set(RENDERINGS)
