"""A rendering of one's own: from a file, from an installed package, and what is wrong with one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codeflow.documents.triples import RENDERINGS
from codeflow.errors import UsageError
from codeflow.plugins.renderings import rendering_of
from codeflow.shards.documents import documents
from codeflow.shards.reader import TokenShards
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.stage import tokenize
from codeflow.tokens.tokenizer import Encoder
from token_samples import make, opened

STORY = """
from codeflow.documents.document import Piece

def story(triple, options, key):
    yield [
        Piece("a story\\n", options.rest),
        Piece(triple.patch, 1.0),
        Piece("<|im_end|>", 1.0, special=True),
    ]

story.needs = ("<|im_end|>",)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("own"))[0]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "own.py"
        path.write_text(text)
        return path

    return write


def made(data: Path, spec: str) -> tuple[Path, list[str], list[str]]:
    """A token folder, and of each document what is shown and what is to be written."""
    config = TokenizeConfig(renderings=(spec,), length=2048, vocab_size=600, validation=0.0)
    [done] = tokenize(data, config, fast=False)
    encoder = Encoder.open(done.folder / "tokenizer.json", fast=False)
    packed = list(documents(TokenShards(done.folder)))
    shown = [encoder.decode(d.ids[d.weights == 0]) for d in packed]
    return done.folder, shown, [encoder.decode(d.ids[d.weights > 0]) for d in packed]


def test_a_function_in_a_file_renders(data: Path, file: Callable[[str], Path]) -> None:
    spec = f"{file(STORY)}:story"
    folder, shown, written = made(data, spec)
    assert folder.name == "story-2048"
    assert set(shown) == {"a story\n"}
    patches = {triple.patch + "<|im_end|>" for triple in opened(data).triples()}
    assert set(written) <= patches
    assert len(set(written)) > 3
    settings = json.loads((folder / "tokens.json").read_text())["settings"]
    assert settings["rendering"] == "story"
    before = (folder / "tokens.json").stat().st_mtime_ns
    assert made(data, spec)[0] == folder
    assert (folder / "tokens.json").stat().st_mtime_ns == before  # left alone
    _, shown, _ = made(data, f"{file(STORY.replace('a story', 'a tale'))}:story")
    assert set(shown) == {"a tale\n"}  # another text of the code, another folder


def test_an_installed_package_names_renderings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "own_stories-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-stories\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[codeflow.renderings]\nown = own_stories:MADE\n")
    (tmp_path / "own_stories.py").write_text(STORY + "\nMADE = {'installed-story': story}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    named = rendering_of("installed-story")
    assert named.name == "installed-story"
    assert named.rendering.loss == "patch"
    assert named.rendering.needs == ("<|endoftext|>", "<|im_end|>")
    assert named.identity["source"]
    with pytest.raises(UsageError, match=r"'instaled': choose of diff, .*, installed-story"):
        rendering_of("instaled")
    (tmp_path / "own_stories.py").write_text(STORY + "\nMADE = {'diff': story}\n")
    sys.modules.pop("own_stories")
    with pytest.raises(UsageError, match="has a rendering 'diff', as codeflow has"):
        rendering_of("other")


def test_ours_are_what_they_were() -> None:
    for name, rendering in RENDERINGS.items():
        assert rendering_of(name).rendering is rendering
        assert rendering_of(name).identity == {}
    assert TokenizeConfig(renderings=("diff",)).folder("diff") == "diff-4096"


@pytest.mark.parametrize(
    ("text", "attribute", "message"),
    [
        (STORY, ":tale", "has no function 'tale'"),
        (STORY, "", r"name the function in it, as in .*own\.py:my_rendering"),
        ("1 / 0", ":story", "division by zero"),
        (STORY + "story.loss = 'most'", ":story", "loss 'most': give patch"),
        (STORY + "story.needs = ('<|end|>',)", ":story", r"'<\|end\|>' is no special token"),
    ],
)
def test_what_is_no_rendering_is_one_line(
    file: Callable[[str], Path], text: str, attribute: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        rendering_of(f"{file(text)}{attribute}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"<|im_end|>", 1.0', '"<|end|>", 1.0', r"'<\|end\|>' is no special token"),
        ("triple.patch", "triple.nothing", r"triple [0-9a-f]{12}: .*nothing"),
        ("yield [", "yield 3, [", "triple [0-9a-f]{12}: "),
    ],
)
def test_what_goes_wrong_within_names_the_triple(
    data: Path, file: Callable[[str], Path], old: str, new: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        made(data, f"{file(STORY.replace(old, new))}:story")
    assert "\n" not in str(caught.value)
