"""The report draws triples of several commits step after step, where they lie in a life."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from codeflow.dataset import reader as reading
from codeflow.terminal.report.page import render
from tiny_dataset import SNAPSHOTS, Git, build, history
from token_samples import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("flows"))[0]


def test_flows_are_drawn_step_after_step(folder: Path) -> None:
    page = html.unescape(render(folder))
    section = page.partition('<section id="flows">')[2].partition("</section>")[0]
    flows = re.split(r'<div class="flow">', section)[1:]
    assert 1 <= len(flows) <= 3
    dataset = reading.open(folder)
    for flow in flows:
        [id] = re.findall(r"\d{4}-\d\d-\d\d · ([0-9a-f]{12})<", flow)
        triple = dataset[id]
        assert f"left: {100 * triple.position:.1f}%" in flow
        titles = re.findall(r'class="title">([^<]*)</p>\s*<p class="about">([^<]*)<', flow)
        assert len(titles) == len(triple.commits) > 1
        for step, (title, about) in zip(triple.steps, titles, strict=True):
            assert title == step.message.partition("\n")[0]
            assert about.startswith(f"step {step.index + 1} of {len(triple.steps)} · +")
            assert step.commit[:10] in about
    assert "@corp.io" not in section


def test_a_dataset_of_commits_has_no_flows(tmp_path: Path) -> None:
    git = Git(tmp_path / "r.git")
    data = build(tmp_path / "data", {"r": (git, history(git, SNAPSHOTS))}, spans=(1,))
    assert "flows" not in render(data)


def test_repositories_say_how_much_of_them_is_told(folder: Path) -> None:
    page = render(folder)
    head = re.findall(r'<th scope="col">([^<]*)</th>', page)
    assert head[head.index("repository") :][:6] == [
        "repository",
        "commit",
        "span",
        "all",
        "commits in them",
        "by a human",
    ]
    dataset = reading.open(folder)
    for repo in ("one", "two"):
        triples = list(dataset.triples(repo=repo))
        told = len({commit for triple in triples for commit in triple.commits})
        cells = re.findall(rf"<tr><td>{repo}</td>((?:<td>[^<]*</td>)*)", page)[0]
        numbers = re.findall(r"<td>([^<]*)</td>", cells)
        assert numbers[2:5] == [str(len(triples)), str(told), str(len(triples))]
