"""What a document asks for can be seen in it: read back from the ids, line by line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.documents.document import Window
from codeflow.documents.options import Options
from codeflow.documents.triples import RENDERINGS
from codeflow.documents.triples.context import merged
from codeflow.git.patch import parse_patch
from codeflow.text.quoting import unquote_path
from codeflow.tokens.fit import Fitter
from codeflow.tokens.tokenizer import Encoder
from codeflow.tokens.windows import lines_of, shown_text
from codeflow.triple import Triple
from token_samples import MARK, encoder_for, make, opened, read_shown

QUICK = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Sample = tuple[list[Triple], Encoder]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder, _ = make(tmp_path_factory.mktemp("windows"))
    return list(opened(folder).triples()), encoder_for(folder)


def fitted(sample: Sample, triple: Triple, name: str, length: int, cut: bool) -> Iterator[str]:
    documents = RENDERINGS[name].render(triple, Options(length, 0.0), triple.id)
    for made in Fitter(sample[1], length, cut).encode(documents):
        assert len(made.ids) <= length
        assert made.weights[0] == 0
        yield sample[1].decode(made.ids)


def check_shown(triple: Triple, shown: Mapping[str, Mapping[int, str]]) -> None:
    """That what is shown is what stands there, number by number."""
    for path, lines in shown.items():
        old = lines_of(triple.old_repo[path].decode())
        for number, line in lines.items():
            assert old[number - 1].rstrip("\n") == line.rstrip("\n")


@QUICK
@given(length=st.integers(150, 3000), cut=st.booleans())
def test_every_old_line_of_a_diff_is_on_the_page(sample: Sample, length: int, cut: bool) -> None:
    for triple in sample[0]:
        patches = {patch.path: patch for patch in parse_patch(triple.patch.encode())}
        for text in fitted(sample, triple, "diff", length, cut):
            assert text.startswith("<|repo_name|>")
            page, _, reply = text.partition("<|im_start|>message\n")
            assert page, "the request is never missing"
            shown = read_shown(page)
            check_shown(triple, shown)
            body = reply.partition("<|im_start|>diff\n")[2].removesuffix("<|im_end|>")
            written = re.findall(r"^diff --git .*\n", body, re.MULTILINE)
            assert written
            for path, patch in patches.items():
                if f"+++ b/{path}\n" not in body and f"--- a/{patch.old_path}\n" not in body:
                    continue
                for hunk in patch.hunks if patch.old_path else ():
                    wanted = range(hunk.old_skip + 1, hunk.old_skip + hunk.old_lines + 1)
                    assert set(wanted) <= shown.get(patch.old_path or "", {}).keys()


@QUICK
@given(length=st.integers(200, 3000))
def test_every_text_to_search_for_is_on_the_page(sample: Sample, length: int) -> None:
    searches = 0
    for triple in sample[0]:
        for text in fitted(sample, triple, "blocks", length, cut=True):
            page, _, reply = text.partition("<|im_start|>message\n")
            shown = read_shown(page)
            check_shown(triple, shown)
            for part in reply.split("<|file_sep|>")[1:]:
                fields = part.partition("\n")[0].split("\t")
                path = next((f[5:] for f in fields if f.startswith("from ")), fields[0])
                lines = shown.get(unquote_path(path.encode()).decode(), {})
                page_text = "".join(f"{lines[n].rstrip(chr(10))}\n" for n in sorted(lines))
                for search in re.findall(r"^<{7,} SEARCH\n(.*?)^={7,}", part, re.M | re.S):
                    searches += bool(search)
                    assert search in page_text
    assert searches or length < 400


def test_parts_of_a_long_change_have_each_file_once(sample: Sample) -> None:
    parted = 0
    for triple in sample[0]:
        wanted = Counter(re.findall(r"^diff --git .*$", triple.patch, re.MULTILINE))
        texts = list(fitted(sample, triple, "diff", 700, cut=True))
        parted += len(texts) > 1
        headers = Counter(
            line for text in texts for line in re.findall(r"^diff --git .*$", text, re.MULTILINE)
        )
        assert headers <= wanted
        for text in texts:
            assert text.count("<|im_start|>message\n") == 1
    assert parted


@given(
    text=st.text("ab\n\r\u2028", max_size=60),
    windows=st.lists(st.tuples(st.integers(-3, 30), st.integers(0, 9)), max_size=4),
)
def test_marks_say_where_lines_stand(text: str, windows: list[tuple[int, int]]) -> None:
    chosen = merged(Window(start, max(0, start) + size) for start, size in windows)
    shown = read_shown(f"<|file_sep|>f\n{shown_text(text, chosen)}")["f"]
    lines = lines_of(text)
    assert "".join(lines) == text
    for number, line in shown.items():
        assert lines[number - 1].rstrip("\n") == line.rstrip("\n")
    wanted = {n + 1 for start, stop in chosen for n in range(start, min(stop, len(lines)))}
    if not MARK.search(text):
        assert wanted <= shown.keys()


def test_a_file_of_which_more_fits_is_shown_whole(sample: Sample) -> None:
    whole = 0
    for triple in sample[0]:
        for text in fitted(sample, triple, "diff", 60_000, cut=False):
            shown = read_shown(text.partition("<|im_start|>message\n")[0])
            for file in triple.files:
                if file.old_path in shown:
                    old = lines_of(triple.old_repo[file.old_path].decode())
                    assert len(shown[file.old_path]) == len(old)
                    whole += 1
    assert whole
