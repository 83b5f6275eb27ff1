"""Replies applied: what was rendered gives the new side again, and what does not fit is refused."""

from __future__ import annotations

import difflib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.documents.document import FILE_SEP
from codeflow.documents.options import Options
from codeflow.documents.reply import _replaced, apply_reply
from codeflow.documents.triples import RENDERINGS
from codeflow.documents.triples.blocks import _written, blocks_of
from codeflow.errors import DataError
from codeflow.git.apply import changed_files
from codeflow.git.patch import parse_patch
from codeflow.triple import Triple
from tiny_dataset import Git
from token_samples import make, opened, reply

ADDRESSES = re.compile(r"[\w.]+@corp\.io|8\.8\.8\.8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Triple], dict[str, Git]]:
    path, repos = make(tmp_path_factory.mktemp("reply"))
    return list(opened(path).triples()), {name: git for name, (git, _) in repos.items()}


def parts_of(triple: Triple, rendering: str) -> list[str]:
    (document,) = RENDERINGS[rendering].render(triple, Options(4096, 0.0), "k")
    return reply(document, rendering).split(FILE_SEP)


@pytest.mark.parametrize("rendering", ["diff", "blocks", "files"])
def test_a_rendered_reply_gives_the_new_side(
    made: tuple[list[Triple], dict[str, Git]], rendering: str
) -> None:
    """Compared with the trees that git made; with addresses in it, with git's tree of the files."""
    triples, repos = made
    exact = 0
    for triple in triples:
        applied = apply_reply(rendering, parts_of(triple, rendering), triple)
        assert triple.new_tree == applied.tree or ADDRESSES.search(triple.patch)
        exact += triple.new_tree == applied.tree
        git = repos[triple.repo]
        files = git.files(triple.old_tree)
        for path, file in applied.files.items():
            files.pop(path, None)
            if file is not None:
                files[path] = file
        assert git.tree(files) == applied.tree
        assert applied.files.keys() == {
            path for f in triple.files for path in (f.old_path, f.new_path) if path
        }
    assert 5 < exact < len(triples)


TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "=======\n", "<<<<<<< SEARCH\n", "d"]))


@given(TEXTS, TEXTS, st.integers(0, 3))
def test_diffs_and_blocks_of_any_texts(old: list[str], new: list[str], context: int) -> None:
    """Against diffs made by difflib, which knows nothing of us."""
    before, after = "".join(old), "".join(new)
    one, two = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (before, after))
    diff = list(difflib.unified_diff(one, two, "a/x", "b/x", n=context, lineterm="\n"))
    if not diff:
        return
    body = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff
    )
    patch = f"diff --git a/x b/x\n{body}".encode()
    (parsed,) = parse_patch(patch, with_ids=False)
    if context:  # git takes a hunk without context behind it for one at the file's end
        made = changed_files([parsed], {"x": ("100755", before.encode())})
        assert made == {"x": ("100755", after.encode())}
    with pytest.raises(DataError, match="no index line"):
        parse_patch(patch)
    text = "".join(_written(block) for block in blocks_of(parsed, before))
    assert _replaced(text, before, "x") == after


HEAD = "diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n"
BLOCK = "<<<<<<< SEARCH\n{}=======\n{}>>>>>>> REPLACE\n"


@pytest.mark.parametrize(
    ("rendering", "parts", "message"),
    [
        ("diff", [""], "reply: changes nothing"),
        ("diff", ["I would change it."], "patch: does not end with a newline"),
        ("diff", ["I would change it.\n"], "did not expect 'I would change it.'"),
        ("diff", [HEAD + "@@ -1 +1 @@\n-# two\n+# 2\n"], "does not match the file at line 1"),
        ("diff", [HEAD + "@@ -1 +1 @@\n-# one\n"], "the patch ends inside the hunk"),
        ("diff", [HEAD.replace("README", "none") + "@@ -1 +1 @@\n-a\n+b\n"], "no such file"),
        (
            "diff",
            [
                "diff --git a/../x b/../x\nnew file mode 100644\n"
                "--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n"
            ],
            r"\.\./x: git refuses this name",
        ),
        ("diff", ["", "x"], r"a <\|file_sep\|> in it"),
        ("blocks", ["well", "README.md\n"], "starts with 'well', not with a file"),
        ("blocks", [""], "changes nothing"),
        ("blocks", ["", "README.md\n"], "README.md: named, but nothing changes"),
        ("blocks", ["", "none\n" + BLOCK.format("x\n", "y\n")], "none: changed, but there is no"),
        ("blocks", ["", "README.md\n" + BLOCK.format("# two\n", "")], "block 1: .* not in the"),
        ("blocks", ["", "src/app.py\n" + BLOCK.format("a = 1\n", "")], "occurs more than once"),
        ("blocks", ["", "README.md\n" + BLOCK.format("", "x\n")], "an empty SEARCH"),
        ("blocks", ["", "README.md\n" + 2 * BLOCK.format("# one\n", "x\n")], "two blocks overlap"),
        ("blocks", ["", "README.md\n<<<<<<< SEARCH\nx\n"], "a block is not closed"),
        ("blocks", ["", "README.md\n# one\n"], "expected a SEARCH mark, found '# one"),
        ("blocks", ["", "README.md\tbetter\n"], "README.md: cannot be 'better'"),
        ("blocks", ["", "README.md\tmode 100600\n"], "cannot be 'mode 100600'"),
        ("blocks", ["", "README.md\tnew\n"], "created, but it is there already"),
        ("blocks", ["", "x\tnew\tdeleted\n"], "both new and deleted"),
        ("blocks", ["", '"x\\q"\tnew\n'], "is no path"),
        ("blocks", ["", "README.md\tdeleted\n", "README.md\tdeleted\n"], "patched twice"),
        ("files", ["", "README.md\tdeleted\nx"], "deleted, but has a text"),
        ("files", ["", "\tnew\nx"], "a file without a name"),
        ("files", ["", "src/.git/hooks\tnew\nx"], "git refuses this name"),
        ("files", ["", "src\tnew\nx\n"], "src: a directory stands where a file is written"),
        ("files", ["", "README.md/x\tnew\nx\n"], "README.md: a file stands where a directory"),
    ],
)
def test_what_does_not_fit_is_named(
    made: tuple[list[Triple], dict[str, Git]], rendering: str, parts: list[str], message: str
) -> None:
    old = {"README.md": b"# one\n", "src/app.py": b"a = 1\n" * 20}
    triple = next(
        t for t in made[0] if all(t.old_repo.get(path) == text for path, text in old.items())
    )
    with pytest.raises(DataError, match=message) as caught:
        apply_reply(rendering, parts, triple)
    assert "\n" not in str(caught.value)
