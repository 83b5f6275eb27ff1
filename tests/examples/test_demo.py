"""The demo's own steps, with the commands it runs as fakes; then once for real, in small."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gitdag import Repo

pytest.importorskip("pypi_simple")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SPAN, COMMIT, HELD_OUT = "f" * 32, "0" * 32, "a" * 32


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    # no import statement: with a folder demo/ at the root, ruff would sort it among our packages
    demo = importlib.import_module("demo")
    history = tmp_path / "demo" / "cache" / "tqdm.git"
    history.mkdir(parents=True)
    release = demo.wheel_history.Release("1.0", "a.whl", "0", 0)
    monkeypatch.setattr(demo.wheel_history, "build", lambda *_: (history, [release]))
    return demo


@pytest.fixture
def logits(demo: Any, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the comparison of the exported model is to say."""
    answers = [True]
    monkeypatch.setattr(demo, "same_logits", lambda *_: answers[-1])
    return answers


def write_triples(
    root: Path, rows: Sequence[tuple[str, str, int, int]], split: str = "train"
) -> list[Path]:
    """Two shards of (id, kind, commits, lines of the patch) rows, as far as the demo reads them."""
    folder = root / "demo" / "data" / "triples"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{split}-0000{number}.parquet" for number in range(2)]
    for number, path in enumerate(paths):
        part = [
            {
                "id": i,
                "kind": k,
                "commits": ["c"] * n,
                "messages": [["y" * len(i)]] * n,
                "patch": "x\n" * lines,
            }
            for i, k, n, lines in rows[number::2]
        ]
        if part:
            pq.write_table(pa.Table.from_pylist(part), path)
    return [path for path in paths if path.exists()]


def write_losses(root: Path, losses: Sequence[float | str]) -> None:
    run = root / "demo/data/runs/demo"
    run.mkdir(parents=True, exist_ok=True)
    events = [{"event": "step", "step": k, "loss": loss} for k, loss in enumerate(losses, 1)]
    events.insert(1, {"event": "validation", "step": 1, "loss": 99.0})
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))


class Commands:
    """Runs nothing: leaves what `mine`, `train` and `export` would; `statuses` are by command."""

    def __init__(self, root: Path, **statuses: int) -> None:
        self.root, self.statuses = root, statuses
        self.seen: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> int:
        name = arguments[0]
        self.seen.append(list(arguments))
        if name == "mine":
            write_triples(self.root, [(SPAN, "span", 3, 30), (COMMIT, "commit", 1, 20)])
            write_triples(self.root, [(HELD_OUT, "commit", 1, 20)], "validation")
        if name == "train":
            write_losses(self.root, [8.0, 6.0, 5.0])
        if name == "export":
            (self.root / "demo" / "model").mkdir()
        return self.statuses.get(name, 0)

    @property
    def names(self) -> list[str]:
        return [arguments[0] for arguments in self.seen]


ORDER = "mine inspect verify tokenize train generate export report".split()  # noqa: SIM905


def test_the_triple_shown_is_a_span_of_several_commits_that_fits_on_a_screen(
    demo: Any, tmp_path: Path
) -> None:
    rows = [
        ("commit-right", "commit", 1, 20),
        ("span-huge", "span", 5, 4_000),
        ("span-single", "span", 1, 20),
        ("span-tiny", "span", 2, 2),
        ("span-right", "span", 3, 30),
    ]
    shown, count = demo.choose(write_triples(tmp_path, rows))
    assert (shown.id, shown.steps, shown.lines, count) == ("span-right", 3, 30, 5)
    assert demo.choose(write_triples(tmp_path, rows[:3]))[0].id == "span-single"
    assert demo.choose(write_triples(tmp_path, rows[:2]))[0].id == "commit-right"
    assert demo.choose([]) == (None, 0)


def test_the_triple_asked_about_is_the_one_that_leaves_most_room(demo: Any, tmp_path: Path) -> None:
    """With its messages: a row of the demo's model is short, and a long message may fill it."""
    rows = [
        ("long message", "commit", 9, 10),
        ("long patch", "commit", 1, 80),
        ("b", "span", 2, 20),
    ]
    assert demo.shortest(write_triples(tmp_path, rows)).id == "b"
    assert demo.shortest([]) is None


@pytest.mark.usefixtures("logits")
@pytest.mark.parametrize("clone", [True, False])
def test_the_steps_are_run_in_order_on_what_is_there(
    demo: Any, tmp_path: Path, clone: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if clone:
        (tmp_path / ".git").mkdir()
    # a repository is left out, where there is another; the proposed patch does not apply
    run = Commands(tmp_path, mine=int(clone), generate=1)
    assert demo.main(tmp_path, run) == 0
    assert run.names == ORDER
    by_name = {arguments[0]: arguments for arguments in run.seen}
    assert by_name["inspect"][-1] == SPAN[:12]
    assert HELD_OUT[:12] in by_name["generate"]
    listed = (tmp_path / "demo" / "list.txt").read_text().splitlines()
    paths = [line.partition("#")[0].strip() for line in listed]
    found = [(tmp_path / "demo" / path).resolve() for path in paths if path]
    assert found == [tmp_path / "demo/cache/tqdm.git", *([tmp_path] * clone)]
    out = capsys.readouterr().out
    assert f"checkout demo/data {SPAN[:12]} --side old" in out
    assert "3 exact triples" in out
    assert "8.00" in out
    assert "99" not in out

    again = Commands(tmp_path)
    assert demo.main(tmp_path, again) == 0
    assert again.names == [name for name in ORDER if name != "export"]


@pytest.mark.usefixtures("logits")
@pytest.mark.parametrize("failing", ORDER)
def test_a_step_that_fails_ends_the_demo_with_its_status(
    demo: Any, tmp_path: Path, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Commands(tmp_path, **{failing: 130})
    assert demo.main(tmp_path, run) == 130
    assert run.names == ORDER[: ORDER.index(failing) + 1]
    assert "exact triples" not in capsys.readouterr().out


def test_a_model_that_is_not_the_trained_one_is_named(
    demo: Any, tmp_path: Path, logits: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    logits.append(False)
    assert demo.main(tmp_path, Commands(tmp_path)) == 1
    assert str(tmp_path / "demo" / "model") in capsys.readouterr().err


def test_the_curve_falls_where_the_loss_falls(demo: Any, tmp_path: Path) -> None:
    def drawn(losses: Sequence[float | str]) -> str:
        write_losses(tmp_path, losses)
        lines = (tmp_path / "demo/data/runs/demo/metrics.jsonl").read_text().splitlines()
        return str(demo.curve(lines, width=8))

    assert "8.00 █▇▆▅▄▃▂▁ 1.00 over 80 steps" in drawn([8 - k // 10 for k in range(80)])
    assert "▁▁▁█" in drawn([1.0, 1.0, 1.0, 9.0])
    assert drawn([4.0] * 38 + [1.0, 3.0]).endswith(" 2.00 over 40 steps")
    assert "no step" in drawn(["nan"])
    assert "▁▁" in drawn([2.0, 2.0])
    assert "█▁" in drawn([2.0, "nan", 1.0])  # a step that was not finite is passed over


def test_without_a_network_the_demo_says_so_and_runs_nothing(
    demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: Any) -> None:
        raise demo.wheel_history.HistoryError("the package index cannot be reached")

    monkeypatch.setattr(demo.wheel_history, "build", unreachable)
    run = Commands(tmp_path)
    assert demo.main(tmp_path, run) == 1
    assert run.seen == []
    assert capsys.readouterr().err == "demo: the package index cannot be reached\n"


def test_the_real_commands_on_releases_give_a_model_and_a_page(
    demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    import codeflow
    from codeflow.cli import main as command

    history = Repo.create(tmp_path / "demo" / "cache" / "releases.git")
    for k in range(40):  # as wheel_history writes them: a version is all that a message says
        # a release adds one function, so that a row of 512 tokens holds the change
        lines = "".join(f"def f{i}(x):\n    return x + {i}\n\n" for i in range(k + 1))
        history.commit({"src/app.py": lines}, message=f"tqdm 1.{k}\n")
    release = demo.wheel_history.Release("1.0", "a.whl", "0", 0)
    monkeypatch.setattr(demo.wheel_history, "build", lambda *_: (history.path, [release]))
    recipes = tmp_path / "examples" / "recipes"
    recipes.mkdir(parents=True)
    (recipes.parent / "demo.toml").write_text((EXAMPLES / "demo.toml").read_text())
    recipe = (EXAMPLES / "recipes" / "demo.toml").read_text()
    for name, value in {"steps": 2, "warmup_steps": 1, "decay_steps": 1, "rows": 4}.items():
        recipe, changed = re.subn(rf"(?m)^{name} = \d+$", f"{name} = {value}", recipe)
        assert changed == 1
    (recipes / "demo.toml").write_text(recipe)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "NEW_TOKENS", 8)

    assert demo.main(tmp_path, command) == 0
    mined = codeflow.open("demo/data")
    train, held_out = (list(mined.triples(split=split)) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 28  # starts 0.2 <= k/39 < 0.9: 8 to 35
    last = max(triple.position for triple in train)
    assert held_out
    assert all(triple.position > last for triple in held_out)
    page = (tmp_path / "demo/data/report.html").read_text()
    assert "nats a token" in page

    (weights,) = (tmp_path / demo.MODEL).glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0x40  # the exponent of a weight
    weights.write_bytes(content)
    assert not demo.same_logits(tmp_path / demo.RUN, tmp_path / demo.MODEL)

    # why the demo has a configuration: the defaults leave nothing of such a history
    (tmp_path / "defaults.toml").write_text("[filter]\n")
    capsys.readouterr()
    assert command(["filter", "demo/data", "--config", "defaults.toml", "--workers", "1"]) == 0
    assert "28  filter/message/version-bump" in capsys.readouterr().out


def test_the_list_of_examples_names_public_repositories_and_a_ref() -> None:
    text = (EXAMPLES / "repos.txt").read_text()
    entries = [line.partition(" #")[0].strip() for line in text.splitlines()]
    entries = [entry for entry in entries if entry and not entry.startswith("#")]
    assert len(entries) >= 6
    assert all(re.fullmatch(r"https://[\w.]+/[\w.-]+/[\w.-]+(@[\w.-]+)?", e) for e in entries)
    (ref,) = [entry.partition("@")[2] for entry in entries if "@" in entry]
    subprocess.run(["git", "check-ref-format", f"refs/tags/{ref}"], check=True)
