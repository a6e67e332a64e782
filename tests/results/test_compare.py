from __future__ import annotations

import re

import pytest

from sslbench.errors import RecordError
from sslbench.results.compare import compare, differences
from sslbench.results.pairing import compare_records

GOOD = [True] * 18 + [False] * 2
BAD = [True] * 8 + [False] * 12


def test_accuracies_are_compared_by_mcnemar(make_record):
    result = compare_records(make_record(correct=BAD), make_record(correct=GOOD))
    # 10 discordant items, all right in base only: p_worse = 2^-10.
    assert result.test == "mcnemar-exact"
    assert result.difference == pytest.approx(-50)
    assert result.p_worse == pytest.approx(2**-10)
    assert result.p_two_sided == pytest.approx(2**-9)


def test_mean_per_class_is_compared_by_the_bootstrap(make_record):
    # Class 0 has 16 items, class 7000 has 4; new loses 8 of the first and 2 of the second.
    targets = [0] * 16 + [7000] * 4
    base, new = [True] * 20, [True] * 8 + [False] * 8 + [True] * 2 + [False] * 2
    records = [make_record(correct=c, targets=targets, main_score="mean_per_class") for c in (new, base)]
    result = compare_records(*records)
    assert result.test == "paired-bootstrap"
    assert result.difference == pytest.approx(-50)


def test_episodes_are_compared_by_the_t_test(make_record):
    result = compare_records(make_record(episodes=[5, 6, 7, 8]), make_record(episodes=[6, 8, 8, 10]))
    # Differences -10, -20, -10, -20: mean -15, s = sqrt(100 / 3), stderr = s / 2, t_{0.975, 3} = 3.18245.
    assert result.test == "paired-t"
    assert result.difference == pytest.approx(-15)
    assert result.ci95[0] == pytest.approx(-15 - 3.182446 * (100 / 3) ** 0.5 / 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task": "linear/pets"}, "task id differs"),
        ({"version": 7}, "task version differs .new 7, base 2.; rerun the baseline"),
        ({"fingerprint": "data-2"}, "task fingerprint differs"),
        ({"items": "other-items"}, "digest of the test items differs"),
        ({"main_score": "mean_per_class"}, "main score differs"),
    ],
)
def test_records_that_cannot_be_paired_name_the_ingredient(make_record, change, told):
    with pytest.raises(RecordError, match=told):
        compare_records(make_record(correct=GOOD, **change), make_record(correct=GOOD))


def test_other_unpairable_records(make_record):
    with pytest.raises(RecordError, match="kind of outcomes differs"):
        compare_records(make_record(correct=GOOD), make_record(episodes=[5, 6]))
    with pytest.raises(RecordError, match="number of outcomes differs"):
        compare_records(make_record(correct=GOOD), make_record(correct=GOOD[1:]))
    with pytest.raises(RecordError, match="no outcomes of single items"):
        compare_records(make_record(), make_record())
    with pytest.raises(RecordError, match="no class targets"):
        compare_records(*[make_record(correct=GOOD, main_score="mean_per_class")] * 2)


def test_differences_are_every_ingredient_and_nothing_else(make_record):
    new = make_record(
        "moco",
        version=7,
        hyperparameters={"l2": 0.2, "solver": {"name": "lbfgs", "steps": 3}},
        environment={"torch": "2.10"},
        timings={"extract": 99.0},
    )
    assert differences(new, make_record("swav")) == [
        ("backbone.digest", "weights of moco", "weights of swav"),
        ("backbone.name", "moco", "swav"),
        ("task.version", "7", "2"),
        ("hyperparameters.l2", "0.2", "0.1"),
        ("hyperparameters.solver.name", "lbfgs", "(absent)"),
        ("hyperparameters.solver.steps", "3", "(absent)"),
        ("environment.torch", "2.10", "2.9"),
    ]
    assert differences(new, new) == []


def test_compare_tells_scores_difference_p_and_recipe(make_record):
    text = compare([make_record(correct=BAD)], [make_record(correct=GOOD, environment={"torch": "2.8"})])
    assert "linear/digits: swav against swav" in text
    assert "top1: new 40.00±1.00 %, base 90.00±1.00 %" in text
    assert "difference -50.00 points, 95 % interval [" in text
    assert "p = 0.00195, unadjusted 0.00195; mcnemar-exact, n = 20" in text
    assert "environment.torch: 2.9 | 2.8" in text
    assert "two-sided and Holm-adjusted over the 1 paired case" in text
    assert "the recipes are equal" in compare([make_record(correct=BAD)], [make_record(correct=BAD)])


def test_compare_adjusts_over_the_paired_cases(make_record):
    tasks = ("linear/a", "linear/b")
    text = compare(
        [
            make_record(task=tasks[0], correct=BAD),
            make_record(task=tasks[1], correct=GOOD),
            make_record(task="linear/c"),
        ],
        [make_record(task=t, correct=GOOD) for t in tasks] + [make_record(task="linear/c")],
    )
    # Raw 2^-9 and 1 over two cases; the third has no outcomes and counts for nothing.
    assert re.findall(r"p = ([\d.]+), unadjusted ([\d.]+)", text) == [("0.00391", "0.00195"), ("1", "1")]
    assert "no test: 'swav|linear/c' and 'swav|linear/c' cannot be paired" in text


def test_one_backbone_a_side_is_compared_under_other_names(make_record):
    text = compare([make_record("new", correct=BAD)], [make_record("old", correct=GOOD)])
    assert "linear/digits: new against old" in text


def test_several_backbones_are_compared_by_name(make_record):
    new = [make_record(name, correct=GOOD) for name in ("a", "b")]
    base = [make_record("b", correct=GOOD), make_record("b", "linear/pets", correct=GOOD)]
    text = compare(new, base)
    assert "linear/digits: b against b" in text
    assert "only in new: a|linear/digits" in text
    assert "only in base: b|linear/pets" in text


def test_runs_that_share_nothing_are_an_error(make_record):
    with pytest.raises(RecordError, match=r"new: swav\|linear/a; base: swav\|linear/b"):
        compare([make_record(task="linear/a")], [make_record(task="linear/b")])
    with pytest.raises(RecordError, match="base: no cases"):
        compare([make_record()], [])
