"""The quality score: features, fit, AUC and model, each against something independent."""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.commands import quality as command
from codeflow.contracts import Filter
from codeflow.errors import UsageError
from codeflow.triple import Triple
from codeflow_filters.quality import Quality, train
from codeflow_filters.quality.features import COLUMNS, features, names
from codeflow_filters.quality.train import FOLDS, PENALTY, _Fit, _folds, auc, cuts, read_labels
from small_history import small_history
from triples import plant

GOOD_WORDS = [
    *("explain", "handle", "reject", "close", "retry", "because", "the", "session"),
    *("adapter", "was", "left", "open"),
]


def triple(number: int, good: bool, repo: str | None = None, noise: float = 0.0) -> Triple:
    """A good one says why and has a test; a poor one is a word and many data lines."""
    draw = random.Random(f"{number} {good}")
    looks_good = good if draw.random() >= noise else not good
    words = draw.sample(GOOD_WORDS, 9) if looks_good else ["wip"]
    body = "".join(f"x{draw.random()} = {draw.random()}\n" for _ in range(draw.randrange(1, 9)))
    new = {"src/a.py": f"a = 1\n{body}"}
    if looks_good:
        new["tests/test_a.py"] = f"assert {draw.random()}\n"
    return plant(
        {"src/a.py": "a = 1\n"},
        new,
        id=f"{number:032x}",
        repo=repo or f"repo{number % 7}",
        messages=[[" ".join(words)]],
    )


def labels(folder: Path, rows: Sequence[tuple[str, Any]]) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps({"id": i, "label": label}) + "\n" for i, label in rows))
    return path


def labelled(folder: Path, count: int = 140, noise: float = 0.1) -> tuple[Path, list[Triple]]:
    triples = [triple(number, number % 2 == 0, noise=noise) for number in range(count)]
    return labels(folder, [(t.id, (k + 1) % 2) for k, t in enumerate(triples)]), triples


def slow_auc(good: Sequence[bool], scores: Sequence[float]) -> float | None:
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, a_good in zip(scores, good, strict=True)
        for b, b_good in zip(scores, good, strict=True)
        if a_good and not b_good
    ]
    return sum(pairs) / len(pairs) if pairs else None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.5001, 3.0]))))
def test_auc_counts_pairs(pairs: list[tuple[bool, float]]) -> None:
    good = [pair[0] for pair in pairs]
    scores = [pair[1] for pair in pairs]
    found = auc(np.array(good, bool), np.array(scores, float))
    expected = slow_auc(good, scores)
    assert (found is None) == (expected is None)
    assert found is None or found == pytest.approx(expected)


def test_what_a_threshold_would_drop_is_what_scores_below_it() -> None:
    good = np.array([True, False, True, False])
    found = {at: counts for at, *counts in cuts(good, np.array([0.3, 0.05, 0.9, 0.65]))}
    assert found == {
        0.1: [0, 1],
        0.2: [0, 1],
        0.3: [0, 1],  # one that scores just that stays, as with the filter
        0.4: [1, 1],
        0.5: [1, 1],
        0.6: [1, 1],
        0.7: [1, 2],
    }


def test_the_fit_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(5)
    x = draw.normal(size=(300, 6)) * [1, 10, 0.1, 3, 1, 0] + [0, 5, 0, -2, 0, 4]
    y = (draw.random(300) < 1 / (1 + np.exp(-(x[:, 0] - 0.2 * x[:, 1] + 1)))).astype(float)
    fit = _Fit(x, y)
    other = linear_model.LogisticRegression(C=1 / PENALTY, tol=1e-10, max_iter=10_000)
    z = (x - fit.mean) / fit.scale
    other.fit(z, y)
    assert fit.weights[1:] == pytest.approx(other.coef_[0], abs=1e-4)
    assert fit.log_odds(x) == pytest.approx(other.decision_function(z), abs=1e-3)


@pytest.mark.parametrize("separable", [True, False])
def test_no_direction_improves_the_fit(separable: bool) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(80, 4))
    y = (x[:, 0] > 0).astype(float) if separable else draw.random(80)
    fit = _Fit(x, y)

    def loss(w: np.ndarray[Any, Any]) -> float:
        total = 0.0
        for row, label in zip(x, y, strict=True):
            z = w[0] + sum(w[1:] * (row - fit.mean) / fit.scale)
            p = 1 / (1 + math.exp(-z))
            total -= label * math.log(p) + (1 - label) * math.log(1 - p)
        return total + PENALTY * float((w[1:] ** 2).sum()) / 2

    best = loss(fit.weights)
    for k in range(5):
        for step in (1e-3, -1e-3):
            moved = fit.weights.copy()
            moved[k] += step
            assert loss(moved) >= best - 1e-9


def test_a_model_ranks_what_it_has_not_seen_and_chance_stays_chance(tmp_path: Path) -> None:
    path, triples = labelled(tmp_path)
    done = train(path, triples)
    assert (done.good, done.poor, done.missing, done.folds_by) == (70, 70, 0, "repository")
    assert 0.8 < done.auc < 1  # a tenth of the labels are wrong
    assert len(done.auc_by_fold) == FOLDS
    draw = random.Random(2)
    shuffled = labels(tmp_path, [(t.id, draw.randrange(2)) for t in triples])
    # the wrong variant, an AUC of triples that were fitted, is far above chance here
    chance = train(shuffled, triples)
    assert 0.3 < chance.auc < 0.7
    y = np.array([read_labels(shuffled)[t.id] for t in triples]) >= 0.5
    fitted = np.array([chance.model.score(features(t)) for t in triples])
    assert (auc(y, fitted) or 0) > chance.auc + 0.1


def test_folds_keep_repositories_together_when_there_are_enough(tmp_path: Path) -> None:
    # each repository is all good or all poor, so a fold of whole ones has pairs only by chance
    five = [triple(number, number % 5 < 2, repo=f"repo{number % 5}") for number in range(50)]
    path = labels(tmp_path, [(t.id, int(k % 5 < 2)) for k, t in enumerate(five)])
    done = train(path, five)
    assert (done.folds_by, done.auc_by_fold) == ("repository", (None,) * 5)
    few = [triple(number, number % 2 == 0, repo="one") for number in range(40)]
    path = labels(tmp_path, [(t.id, (k + 1) % 2) for k, t in enumerate(few)])
    assert train(path, few).folds_by == "triple"
    groups = ["a", "b", "a", "c", "d", "e", "b", "f"]
    folds = _folds(groups)
    assert {folds[0], folds[2]} == {folds[0]}
    assert {folds[1], folds[6]} == {folds[1]}
    assert set(folds.tolist()) == set(range(FOLDS))


def test_the_same_labels_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    path, triples = labelled(tmp_path)
    train(path, triples).model.write(tmp_path / "a.json")
    rows = path.read_text().splitlines()
    path.write_text("\n".join(reversed(rows)))
    train(path, reversed(triples)).model.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_labels_between_and_several_of_one_triple(tmp_path: Path) -> None:
    path = labels(tmp_path, [("a", 0.25), ("b", 1), ("a", 0.75), ("b", True)])
    assert read_labels(path) == {"a": 0.5, "b": 1.0}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not a label"),
        ("[1]", "not a label"),
        ('{"id": "a"}', "not a label"),
        ('{"id": 3, "label": 1}', "id 3"),
        ('{"id": "a", "label": 2}', "label 2"),
        ('{"id": "a", "label": "good"}', "label 'good'"),
        ('{"id": "a", "label": NaN}', "label nan"),
    ],
)
def test_a_bad_label_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": "a", "label": 1}\n\n' + line + "\n")
    with pytest.raises(UsageError, match=says) as raised:
        read_labels(path)
    assert str(raised.value).startswith(f"{path}:3: ")


def test_labels_that_cannot_train_are_refused(tmp_path: Path) -> None:
    triples = [triple(number, True) for number in range(20)]
    path = labels(tmp_path, [(t.id, 1) for t in triples])
    with pytest.raises(UsageError, match="20 good and 0 poor"):
        train(path, triples)
    with pytest.raises(UsageError, match="0 good and 0 poor"):
        train(path, [])
    with pytest.raises(UsageError, match="cannot read the labels"):
        train(tmp_path / "none.jsonl", triples)
    path.write_text("\n")
    with pytest.raises(UsageError, match="holds no label"):
        train(path, triples)


def test_the_filter_scores_all_and_drops_below_its_threshold(tmp_path: Path) -> None:
    path, triples = labelled(tmp_path, noise=0.0)
    model = tmp_path / "model.json"
    done = train(path, triples)
    done.model.write(model)
    only_scores = Quality(str(model))
    reached = sorted(only_scores(t).scores["quality"] for t in triples)[60]
    strict = Quality(str(model), threshold=reached)
    assert isinstance(strict, Filter)
    for t in triples:
        scored, judged = only_scores(t), strict(t)
        assert scored.kept
        assert dict(scored.scores) == dict(judged.scores)
        assert judged.kept == (scored.scores["quality"] >= reached)
        assert judged.reason == (None if judged.kept else "low-quality")
        # the score by the formula that the model's documentation gives
        stored = json.loads(model.read_text())
        found = features(t)
        odds = stored["bias"] + sum(
            f["weight"] * (found[name] - f["mean"]) / f["scale"]
            for name, f in stored["features"].items()
        )
        assert scored.scores["quality"] == pytest.approx(1 / (1 + math.exp(-odds)))
    assert sum(strict(t).kept for t in triples) == len(triples) - 60
    half = Quality(str(model), threshold=0.5)
    right = sum(half(t).kept == (k % 2 == 0) for k, t in enumerate(triples))
    assert right > 0.95 * len(triples)


def test_without_a_model_the_error_says_how_to_get_one() -> None:
    with pytest.raises(UsageError, match="codeflow quality train"):
        Quality()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.update(format="other"), "format 'other'"),
        (lambda v: v.pop("bias"), "bias"),
        (lambda v: v["features"]["position"].update(scale=0), "scale is not above 0"),
        (lambda v: v["features"]["position"].update(weight=math.inf), "no finite number"),
        (lambda v: v["features"]["position"].update(more=1), "not a quality model"),
        (lambda v: v["features"].update(unheard=v["features"]["position"]), "'unheard' is unknown"),
    ],
)
def test_a_model_that_is_none_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    path, triples = labelled(tmp_path, 60)
    model = tmp_path / "model.json"
    train(path, triples).model.write(model)
    values = json.loads(model.read_text())
    change(values)
    model.write_text(json.dumps(values))
    with pytest.raises(UsageError, match=says):
        Quality(str(model))
    with pytest.raises(UsageError, match="cannot read the model"):
        Quality(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="threshold = 2"):
        Quality(str(model), threshold=2.0)


def test_features_are_finite_whatever_the_triple_and_read_only_their_columns() -> None:
    read = COLUMNS | {"id", "repo"}
    cases = [
        plant({}, {"a": ""}, only=read),
        plant({"a": "x\n"}, {}, messages=[], commits=[], language=None, only=read),
        plant({"a": "x\n"}, {"a": "\n\n\n"}, messages=[[], [""]], only=read),
        plant({"é": "+++ x\n"}, {"é": "--- y\n@@\n"}, license=None, only=read),
    ]
    for t in cases:
        found = features(t)
        assert tuple(found) == names()
        assert all(math.isfinite(value) for value in found.values())
        assert all(0 <= v <= 1 for name, v in found.items() if name.endswith("share"))


def test_some_features_by_hand() -> None:
    t = plant(
        {"src/a.py": "a = 1\nb = 2\n", "docs/x.md": "old\n"},
        {
            "src/a.py": "a = 1\n# why\nb = 3\n",
            "tests/test_a.py": "assert a\n",
            "docs/x.md": "old\n",
        },
        messages=[["Fix b (#12)\n\nIt was 2 because of a typo."], ["WIP"]],
    )
    found = features(t)
    expected = {
        "additions_log": math.log1p(3),
        "deletions_log": math.log1p(1),
        "files_log": math.log1p(2),
        "files_new_share": 0.5,
        "test_share": 0.5,
        "code_with_tests": 1.0,
        "docs_share": 0.0,
        "with_body": 0.5,
        "with_issue": 0.5,
        "with_reason": 0.5,
        "with_chore": 0.5,
        "one_word": 0.5,
        "hunks_log": math.log1p(2),
        "comment_share": 1 / 3,
        "context_share": 1 / 5,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


def test_the_command_trains_on_a_dataset_folder(tmp_path: Path, capsys: Any) -> None:
    import codeflow

    out = tmp_path / "data"
    small_history(tmp_path / "repo", 60)
    codeflow.mine([str(tmp_path / "repo")], out, window=(0.1, 1.0), until="mine")
    ids = sorted(t.id for t in codeflow.open(out).triples(columns=["id"]))
    path = labels(tmp_path, [(id, k % 2) for k, id in enumerate(ids)] + [("f" * 32, 1)])
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    model = tmp_path / "model.json"
    parsed = parser.parse_args(
        ["quality", "train", str(out), "--labels", str(path), "--out", str(model)]
    )
    assert parsed.command(parsed) == 0
    said = capsys.readouterr().out
    assert f"{len(ids)} labelled triples" in said
    assert "1 labels are of triples that are not in this dataset" in said
    assert "held-out AUC 0." in said
    assert said.count(" poor, ") == 7, "a line a threshold"
    Quality(str(model))
