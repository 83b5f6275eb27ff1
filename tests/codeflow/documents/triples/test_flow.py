"""Flows read back: what each step asks for is on the page, and git applies one after the other."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeflow.documents.document import Document
from codeflow.documents.options import Options
from codeflow.documents.triples import RENDERINGS
from codeflow.git.patch import parse_patch
from codeflow.tokens.fit import Fitter
from codeflow.tokens.tokenizer import Encoder
from codeflow.tokens.windows import lines_of
from codeflow.triple import Triple
from tiny_dataset import Files, Git, build, history, write_dataset
from tiny_steps import tables_of
from token_samples import LARGE, encoder_for, opened, plain, read_shown

FLOWS = ("flow", "plan")
Sample = tuple[list[Triple], Encoder, dict[str, Git]]


def edited(draw: random.Random, number: int, files: Files) -> Files:
    """The files with lines changed, put in and taken out, now and then moved, made or gone."""
    made = dict(files)
    for path in draw.sample(sorted(made), min(len(made), 2)):
        mode, content = made[path]
        lines = content.splitlines(keepends=True)
        for change in range(draw.randrange(1, 4)):
            at = draw.randrange(len(lines) + 1)
            lines[at : at + draw.randrange(3)] = [
                b"step %d change %d line %d\n" % (number, change, k)
                for k in range(draw.randrange(4))
            ]
        made[path] = mode, b"".join(lines)
    what = draw.random()
    path = draw.choice(sorted(made))
    if what < 0.2:
        made[f"moved-{number}.txt"] = made.pop(path)
    elif what < 0.4:
        made[f"new-{number}.txt"] = "100644", b"".join(b"new %d\n" % k for k in range(12))
    elif what < 0.5 and len(made) > 2:
        del made[path]
    return made


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("flow")
    repos = {}
    for seed in range(3):
        draw = random.Random(seed)
        snapshots: list[Files] = [
            {
                f"f{n}.txt": ("100644", b"".join(b"%d %d\n" % (n, k) for k in range(80)))
                for n in range(4)
            }
        ]
        for number in range(9):
            snapshots.append(edited(draw, number, snapshots[-1]))
        git = Git(folder / f"r{seed}.git")
        repos[f"r{seed}"] = (git, history(git, snapshots))
    git = Git(folder / "two.git")
    repos["two"] = (git, history(git, LARGE + LARGE[::-1]))
    path = build(folder / "data", repos, spans=(1, 3, 6))
    triples = list(opened(path).triples())
    return triples, encoder_for(path), {name: git for name, (git, _) in repos.items()}


def rendered(triple: Triple, name: str) -> Document:
    [document] = RENDERINGS[name].render(triple, Options(1 << 16, 0.0), triple.id)
    return document


def told(text: str) -> list[tuple[str, str]]:
    """(role, text) of each turn."""
    return re.findall(r"<\|im_start\|>(message|diff)\n(.*?)<\|im_end\|>", text, re.DOTALL)


def read_page(page: str) -> dict[str, list[str | None]]:
    """By path, the lines of a file as far as they are shown."""
    known: dict[str, list[str | None]] = {}
    for path, lines in read_shown(page).items():
        known[path] = [lines.get(k) for k in range(1, max(lines, default=0) + 1)]
    return known


def follow(known: dict[str, list[str | None]], diff: str) -> None:
    """Applies a diff to what is known of files; each line that it asks for must be known."""
    before = dict(known)
    patches = parse_patch(diff.encode(), with_ids=False)
    for patch in patches:
        if patch.old_path is not None:
            known.pop(patch.old_path, None)
    for patch in patches:
        old = before.get(patch.old_path, []) if patch.old_path is not None else []
        made: list[str | None] = []
        at = 0
        for hunk in patch.hunks:
            stop = hunk.old_skip + hunk.old_lines
            asked = [line.rstrip("\n") for line in lines_of(hunk.old_text.decode())]
            shown = [line and line.rstrip("\n") for line in old[hunk.old_skip : stop]]
            assert shown == asked
            made += [*old[at : hunk.old_skip], *lines_of(hunk.new_text.decode())]
            at = stop
        if patch.new_path is not None:
            known[patch.new_path] = made + old[at:]


def fitted(sample: Sample, triple: Triple, name: str, length: int, cut: bool) -> Iterator[str]:
    documents = RENDERINGS[name].render(triple, Options(length, 0.0), triple.id)
    for made in Fitter(sample[1], length, cut).encode(documents):
        assert len(made.ids) <= length
        yield sample[1].decode(made.ids)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("cut", [False, True])
def test_every_line_that_a_step_asks_for_is_on_the_page(
    sample: Sample, name: str, cut: bool
) -> None:
    lengths = (500, 1200, 60_000)
    counts = dict.fromkeys(lengths, 0)
    for triple in sample[0]:
        for length in lengths:
            for text in fitted(sample, triple, name, length, cut):
                page, _, _ = text.partition("<|im_start|>message\n")
                assert page.startswith("<|repo_name|>")
                known = read_page(page)
                turns = told(text)
                assert [role for role, _ in turns].count("message") <= len(triple.commits)
                for role, turn in turns:
                    if role == "diff":
                        follow(known, turn)
                counts[length] += 1
    assert all(counts.values())


@pytest.mark.parametrize("name", FLOWS)
def test_git_applies_one_step_after_the_other(sample: Sample, name: str) -> None:
    for triple in sample[0]:
        turns = told(plain(rendered(triple, name).written))
        changing = [step for step in triple.steps if step.files]
        git = sample[2][triple.repo]
        git.run("read-tree", triple.old_tree, index="apply")
        diffs = [turn for role, turn in turns if role == "diff"]
        clean = True
        for step, diff in zip(changing, diffs, strict=True):
            git.run("apply", "--cached", "-", stdin=diff.encode(), index="apply")
            tree = git.run("write-tree", index="apply").decode().strip()
            clean = clean and not re.search(r"^\+.*(?:@corp\.io|8\.8\.8\.8)", step.patch, re.M)
            assert not clean or tree == step.new_tree


def test_in_which_order_things_are_told(sample: Sample) -> None:
    several = [t for t in sample[0] if len(t.commits) > 1 and all(s.files for s in t.steps)]
    assert several
    for triple in several:
        flow, plan = (told(plain(rendered(triple, name).written)) for name in FLOWS)
        assert [role for role, _ in flow] == ["message", "diff"] * len(triple.commits)
        assert [role for role, _ in plan] == ["message"] * len(triple.commits) + ["diff"] * len(
            triple.commits
        )
        for role in ("message", "diff"):
            assert [t for r, t in flow if r == role] == [t for r, t in plan if r == role]
        assert [t for r, t in flow if r == "message"] == [step.message for step in triple.steps]


def test_one_commit_is_told_as_a_diff(sample: Sample) -> None:
    for triple in sample[0]:
        if len(triple.commits) == 1:
            for name in FLOWS:
                flow, diff = rendered(triple, name), rendered(triple, "diff")
                assert (flow.head, flow.written) == (diff.head, diff.written)
                shown = [section.seen and section.seen[:2] for section in flow.sections]
                assert shown == [section.seen and section.seen[:2] for section in diff.sections]


def test_what_is_learnt_are_the_diffs(sample: Sample) -> None:
    for triple in sample[0]:
        document = rendered(triple, "flow")
        learnt = plain([piece for piece in document.written if piece.weight])
        expected = "".join(
            f"{t}<|im_end|>" for r, t in told(plain(document.written)) if r == "diff"
        )
        assert learnt == expected


def test_addresses_that_a_step_wrote_are_nowhere(sample: Sample) -> None:
    """One step writes bob's address, the next shows it as context of another change."""
    found = 0
    for triple in sample[0]:
        if triple.repo == "two" and len(triple.commits) > 1:
            old = b"".join(triple.old_repo.values())
            for address in ("bob@corp.io", "8.8.8.8"):
                if address.encode() not in old:
                    found += any(address in step.patch for step in triple.steps)
                    assert address not in plain(rendered(triple, "flow").written)
    assert found > 1


def test_generated_files_are_not_told(sample: Sample, tmp_path: Path) -> None:
    """A file that one step finds generated is in no step, under none of its names."""
    git = Git(tmp_path / "r.git")
    one, two = b"".join(b"%d\n" % k for k in range(40)), b"a\n" * 9
    chain = history(
        git,
        [
            {"lock": ("100644", one), "code": ("100644", two)},
            {"lock": ("100644", one + b"x\n"), "code": ("100644", two)},
            {"code.lock": ("100644", one + b"x\n"), "code": ("100644", two + b"b\n")},
            {"code.lock": ("100644", one + b"xy\n"), "code": ("100644", two + b"bc\n")},
        ],
    )
    tables = tables_of(build(tmp_path / "data", {"r": (git, chain)}, spans=(1, 3)))
    for side, rows in (("new_path", tables["train"]), ("old_path", tables["steps"])):
        for file in (file for row in rows for file in row["files"]):
            file["generated"] = file[side] == "code.lock"
    ds = opened(write_dataset(tmp_path / "other", tables, {}))
    [span] = ds.triples(kind="span")
    text = plain(rendered(span, "flow").written)
    assert [role for role, _ in told(text)] == ["message", "diff"] * 2, "one step is the lock alone"
    assert "lock" not in text
    assert "+b\n" in text
    assert "+bc\n" in text
    for name in ("diff", "blocks", "files", "snapshot", "fim-file", "fim-repo"):
        for document in RENDERINGS[name].render(span, Options(4096, 0.0), "k"):
            page = plain(document.written) + "".join(c.path for c in document.context)
            assert "lock" not in page.replace("<|im_start|>blocks", "")
            assert "bc" in page
