"""Gold patches are found elsewhere, edited or among others; what only looks like one is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from decontamination import FIXED, GOLD, SOURCE, decontaminator, gold, instance, planted
from triples import plant


def test_the_same_change_elsewhere_in_the_file_is_the_gold_patch(tmp_path: Path) -> None:
    above = "import this\n" * 40
    verdict = gold(tmp_path)(
        planted({"lib/steps.py": above + SOURCE}, {"lib/steps.py": above + FIXED})
    )
    assert (verdict.kept, verdict.reason) == (False, "gold-patch")
    assert verdict.detail == "psf__requests-1 (benchmark.jsonl:1), patch: in lib/steps.py"


def test_its_added_lines_among_others_are_found_under_any_path(tmp_path: Path) -> None:
    verdict = gold(tmp_path)(
        planted(
            {"src/steps.py": SOURCE, "b.py": "b = 1\n"},
            {"src/steps.py": FIXED.replace("    ", "\t"), "b.py": "b = 2\n", "c.py": "c = 3\n"},
        )
    )
    assert (verdict.kept, verdict.reason) == (False, "gold-lines")
    assert (verdict.detail or "").endswith("patch: in src/steps.py")


def test_part_of_it_or_its_reverse_is_not_the_gold_patch(tmp_path: Path) -> None:
    rule = gold(tmp_path, GOLD)
    half = SOURCE.replace(
        "    return advance(state, 17)\n", "    return advance(state.pending, 17)\n"
    )
    assert rule(planted({"lib/steps.py": SOURCE}, {"lib/steps.py": half})).kept
    # taking it away again shows it, but is another change
    reverse = rule(planted({"lib/steps.py": FIXED}, {"lib/steps.py": SOURCE}))
    assert (reverse.kept, reverse.reason) == (False, "ngram")
    # code around it, which is in every triple near that place
    near = SOURCE.replace("advance(state, 16)", "advance(state, -16)")
    assert rule(planted({"lib/steps.py": SOURCE}, {"lib/steps.py": near})).kept


def test_a_short_gold_patch_matches_as_a_whole_only(tmp_path: Path) -> None:
    old, new = {"a.py": "x = 1\nreturn x\n"}, {"a.py": "x = 1\nreturn None\n"}
    rule = gold(tmp_path, plant(old, new).patch)
    assert rule(planted(old, new)).reason == "gold-patch"
    assert rule(planted({"b.py": old["a.py"]}, {"b.py": new["a.py"]})).kept
    assert rule(planted({"a.py": "x = 1\n"}, {"a.py": "x = 1\nreturn None\n"})).kept


def test_files_of_a_patch_in_another_order_are_the_same_change(tmp_path: Path) -> None:
    first = plant({"a.py": "one\n"}, {"a.py": "two\n"}).patch
    second = plant({"b.py": "three\n"}, {"b.py": "four\n"}).patch
    triple = planted({"a.py": "one\n", "b.py": "three\n"}, {"a.py": "two\n", "b.py": "four\n"})
    assert gold(tmp_path, second + first)(triple).reason == "gold-patch"
    assert gold(tmp_path, second)(triple).kept, "a short one is not looked for inside"


def test_lines_that_a_gold_patch_only_moves_are_not_its_answer(tmp_path: Path) -> None:
    body = [f"        total = combine(total, weight_{k}, key_{k}, scale_{k})" for k in range(9)]
    block = "\n".join(body)
    patch = plant(
        {"m.py": f"import this\n{block}\n", "n.py": "pass\n"},
        {"m.py": "import this\n", "n.py": f"pass\n{block}\n"},
    ).patch
    rule = gold(tmp_path, patch)
    # it was written long before, by a triple that has nothing to do with the task
    assert rule(planted({"m.py": "x = 1\n"}, {"m.py": f"x = 1\n{block}\n"})).kept


def added_lines(edited: set[int]) -> dict[str, str]:
    """A file of forty distinct lines, some of which say other words."""
    return {
        "lib/cache.py": "".join(
            f"    entry_{k} = other_{k} if later_{k} else gone_{k}\n"
            if k in edited
            else f"    value_{k} = self.first_{k}.lookup(key_{k}, default_{k})\n"
            for k in range(40)
        )
    }


@pytest.mark.parametrize(
    ("edited", "reason"),
    [
        (set[int](), "gold-patch"),
        (set(range(0, 40, 3)), "gold-share"),  # every third
        (set(range(0, 40, 2)), "gold-share"),  # a half
        (set(range(40)) - {0, 9, 18, 27, 36}, None),  # five are left, each for itself
    ],
)
def test_an_edited_copy_of_a_gold_patch_is_found_by_its_share(
    tmp_path: Path, edited: set[int], reason: str | None
) -> None:
    before = {"lib/cache.py": ""}
    patch = plant(before, added_lines(set())).patch
    rule = decontaminator(
        tmp_path, instance(repo="a/other", base_commit="f" * 40, patch=patch), ngram=60
    )
    assert rule(planted(before, added_lines(edited))).reason == reason


def test_lines_that_many_gold_patches_add_tell_of_none(tmp_path: Path) -> None:
    before = {"lib/cache.py": ""}
    rows = [
        instance(
            instance_id=f"x__y-{k}",
            repo="a/other",
            base_commit="f" * 40,
            patch=plant(
                before, {"lib/cache.py": added_lines(set())["lib/cache.py"] + f"last_{k} = 1\n"}
            ).patch,
        )
        for k in range(6)
    ]
    edited = planted(before, added_lines(set(range(0, 40, 3))))
    assert decontaminator(tmp_path, *rows, ngram=60)(edited).kept
    assert decontaminator(tmp_path, *rows[:2], ngram=60)(edited).reason == "gold-share"
