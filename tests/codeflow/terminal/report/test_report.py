"""The report without a browser: its figures, its bytes, and folders that hold less."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import codeflow
from codeflow.commands import report as command
from codeflow.errors import DataError
from codeflow.storage import manifest
from codeflow.terminal.report.page import render
from codeflow.terminal.report.training import read_runs
from reported import ADDRESS, SECRET, Reported, curated, mined, write_run
from small_history import ROOT, environment


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    return curated(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(reported: Reported) -> str:
    return render(reported.folder)


def labels(page: str, figure: str) -> list[str]:
    """What the marks of a figure say, those of one drawing."""
    [body] = re.findall(rf'<figure id="{figure}">(.*?)</figure>', page, re.S)
    svg = re.findall(r"<svg.*?</svg>", body, re.S)[0]
    return re.findall(
        r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="bar"', svg
    )


def test_funnel_counts_what_every_stage_left(reported: Reported, page: str) -> None:
    lost = dict.fromkeys(("filter", "dedup", "mix"), 0)
    for (stage, _), count in reported.rules.items():
        lost[stage] += count
    chosen = reported.mined + mining_drops(reported.folder)
    after_filters = reported.mined - lost["filter"]
    after_dedup = after_filters - lost["dedup"]
    assert [re.findall(r"[\d,]+", text)[0] for text in labels(page, "funnel")] == [
        f"{n:,}" for n in (chosen, reported.mined, after_filters, after_dedup, len(reported.kept))
    ]
    assert after_dedup - lost["mix"] == len(reported.kept)


def mining_drops(folder: Path) -> int:
    """Ledger rows of pairs that a miner chose."""
    [path] = (folder / "ledger").glob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    return sum(row["stage"] in ("commit", "span") for row in rows)


def test_every_rule_is_counted(reported: Reported, page: str) -> None:
    found = dict(re.findall(r'class="name">([^<]*)</span><span class="rows">([\d,]+) ', page, re.S))
    for (stage, rule), count in reported.rules.items():
        if "script" not in rule:
            assert found[rule if stage == "filter" else f"{stage}/{rule}"] == f"{count:,}"
    hostile = [name for name in found if name.startswith("message/&lt;script&gt;")]
    assert len(hostile) == 1


def test_positions_add_up_to_the_triples_of_the_kind(reported: Reported, page: str) -> None:
    for kind in ("commit", "span"):
        counts = [
            int(re.findall(r": ([\d,]+) triple", t)[0]) for t in labels(page, f"position-{kind}")
        ]
        assert sum(counts) == sum(row["kind"] == kind for row in reported.kept) > 0


def test_sizes_are_shares_of_the_kind(reported: Reported, page: str) -> None:
    single = sum(len(row["files"]) == 1 and row["kind"] == "commit" for row in reported.kept)
    assert f"commit, 0 or 1: {single} triples" in labels(page, "size-files")


def test_marks_say_what_was_written_for_them(page: str) -> None:
    """And not what Vega makes of names and values where nothing was."""
    marks = re.findall(
        r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="(?!axis|legend)', page
    )
    assert len(marks) > 100
    assert not [text for text in marks if re.search(r"; \w+: |\d{4,}%|undefined|null|NaN", text)]


def test_languages_are_those_of_the_mix(reported: Reported, page: str) -> None:
    texts = labels(page, "languages")
    total = sum(line["tokens_after"] for line in reported.languages.values())
    assert len(texts) == len(reported.languages)
    for name, line in reported.languages.items():
        share = line["tokens_after"] / total
        [text] = [t for t in texts if t.startswith(f"{name}: ")]
        assert f"{share:.0%} after the mix" in text


def test_contents_that_failed_a_filter_are_not_shown(reported: Reported, page: str) -> None:
    """And of what is shown, addresses are replaced; the kept file holds both, too."""
    assert any(SECRET in row["patch"] for row in reported.kept)
    blocks = re.findall(
        r'<details>.*?class="name">([^<]*)<.*?</summary>(.*?)</details>', page, re.S
    )
    diffs = {name: 'class="diff"' in body for name, body in blocks}
    assert not diffs["secrets/secret"]
    assert diffs["dedup/near"]
    assert diffs["mix/over-share"]
    assert ADDRESS not in page
    assert "user@example.com" in page


def test_a_pair_of_near_duplicates_is_shown_with_its_similarity(page: str) -> None:
    assert page.count("dropped, similarity 0.812") == 1


def test_same_folder_same_bytes(reported: Reported, page: str, tmp_path: Path) -> None:
    """In another process, another place, another order of hashes."""
    shutil.copytree(reported.folder, tmp_path / "moved")
    code = "from codeflow.terminal.report.writer import write; write('moved')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(PYTHONHASHSEED="7"), check=True
    )
    assert (tmp_path / "moved" / "report.html").read_text(encoding="utf-8") == page


def test_nothing_in_the_page_acts_on_its_reader(page: str) -> None:
    """No control or direction character, and no attack outside of text."""
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page
    )
    assert "\\u202egnp.exe" in page
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<img" not in page
    assert len(page.encode()) < 1_500_000


def test_a_folder_that_was_only_mined(tmp_path: Path) -> None:
    """Has no stages; without `mined/` it has no subjects of what was dropped, either."""
    data = mined(tmp_path)
    page = render(data)
    assert '<figure id="funnel">' in page
    assert '<figure id="languages">' in page
    assert '<section id="duplicates">' not in page
    assert '<section id="training">' not in page
    shutil.rmtree(data / "mined")
    assert '<section id="triples">' in render(data)


def test_a_folder_without_triples(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    summary = codeflow.mine(repos=[str(tmp_path / "none")], out=tmp_path / "data", until="mine")
    assert summary.failed
    page = render(tmp_path / "data")
    assert "0 triples from 0 repositories" in page
    assert "Repositories that gave nothing" in page


def test_stages_and_runs_may_say_less(reported: Reported, tmp_path: Path) -> None:
    shutil.copytree(reported.folder, tmp_path / "data", ignore=shutil.ignore_patterns("runs"))
    values = manifest.read(tmp_path / "data")
    values["stages"] = [{"stage": "other"}, {"stage": "dedup", "figures": {"curve": []}}]
    (tmp_path / "data" / "manifest.json").write_bytes(manifest.seal(values))
    (tmp_path / "data" / "runs" / "odd").mkdir(parents=True)
    line = '{"event": "step", "step": 1, "loss": "nan", "tokens": 1}\n'
    (tmp_path / "data" / "runs" / "odd" / "metrics.jsonl").write_text(line)
    page = render(tmp_path / "data")
    assert '<figure id="detection">' not in page
    assert "before and after the mix" not in page
    assert '<section id="training">' in page
    assert not re.search(r"\bnan\b", page, re.I)


def test_runs_are_read_past_what_is_broken(tmp_path: Path) -> None:
    write_run(tmp_path, "good", steps=200)
    write_run(tmp_path, "empty", steps=0)
    (tmp_path / "runs" / "odd").mkdir()
    lines = ['{"event": "step"}', "[1]", "null", '{"event": "step", "step": 1, "loss": "inf"}', "{"]
    (tmp_path / "runs" / "odd" / "metrics.jsonl").write_text("\n".join(lines))
    runs = {run.name: run for run in read_runs(tmp_path)}
    assert set(runs) == {"good", "odd"}
    metrics = (tmp_path / "runs" / "good" / "metrics.jsonl").read_text().splitlines()[:-1]
    events = [json.loads(line) for line in metrics]
    losses = [e["loss"] for e in events if e["event"] == "step"][-10:]
    good = runs["good"]
    assert (len(good.steps), good.bad_steps) == (200, 1)
    assert good.final_loss == pytest.approx(sum(losses) / 10)
    assert good.best_validation == min(e["loss"] for e in events if e["event"] == "validation")


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return parser.parse_args(["report", *arguments])


def test_command_writes_the_same_page(
    reported: Reported, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parsed(str(reported.folder))
    assert arguments.command(arguments) == 0
    path = reported.folder / "report.html"
    assert re.fullmatch(rf"{re.escape(str(path))} \([\d.]+ kB\)\n", capsys.readouterr().out)
    assert path.read_text(encoding="utf-8") == page


def test_a_folder_that_is_no_dataset_is_one_line(tmp_path: Path) -> None:
    arguments = parsed(str(tmp_path))
    with pytest.raises(DataError, match="not a dataset"):
        arguments.command(arguments)
    assert os.listdir(tmp_path) == []


def test_assets_are_in_the_package() -> None:
    """The wheel takes whole packages: what the page is made of lies in one."""
    assert {p.suffix for p in (ROOT / "codeflow/terminal/report").iterdir()} >= {
        ".j2",
        ".css",
        ".js",
    }
