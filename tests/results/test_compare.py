from __future__ import annotations

import json
import re

import pytest

from sslbench.errors import RecordError
from sslbench.protocols import protocol_spec
from sslbench.results import pairing
from sslbench.results.compare import compare, differences
from sslbench.results.pairing import check_pair, comparable, compare_records
from sslbench.results.ranks import ranking
from sslbench.results.record import Record
from sslbench.results.statistics import mcnemar
from sslbench.results.tables import pivot_markdown

VERSION = protocol_spec("linear").version
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
        ({"version": 7}, rf"task version differs .new 7, base {VERSION}.; rerun the baseline"),
        ({"fingerprint": "data-2"}, "task fingerprint differs"),
        ({"items": "other-items"}, "digest of the test items differs"),
        ({"main_score": "mean_per_class"}, "main score differs"),
        ({"unit": "degrees"}, "main score's unit differs"),
        (
            {"compat": {"linear-solver": "sklearn", "fewshot-pool": "with-val"}},
            r"different compat choices: fewshot-pool \(new with-val, base not named\), "
            r"linear-solver \(new sklearn, base not named\); run one of them again",
        ),
    ],
)
def test_records_that_cannot_be_paired_name_the_ingredient(make_record, change, told):
    with pytest.raises(RecordError, match=told):
        compare_records(make_record(correct=GOOD, **change), make_record(correct=GOOD))


def test_only_equal_choices_are_the_same_task(make_record):
    path, sklearn = ({"linear-solver": choice} for choice in ("path", "sklearn"))
    assert compare_records(*[make_record(correct=GOOD, compat=path)] * 2).difference == 0
    # A record of a time without switches, and one whose task no switch concerns.
    assert compare_records(make_record(correct=GOOD), make_record(correct=GOOD, compat={})).difference == 0
    with pytest.raises(RecordError, match=r"linear-solver \(new path, base sklearn\)"):
        compare_records(make_record(correct=GOOD, compat=path), make_record(correct=GOOD, compat=sklearn))


def test_other_recipes_are_compared_all_the_same(make_record):
    new, base = make_record(correct=BAD), make_record(correct=GOOD)
    new.backbone.update(dtype="bfloat16", stored="float16", extraction={"name": "exact"})
    base.backbone.update(dtype="float32", stored="float32", extraction={"name": "fast"})
    text = compare([new], [base])
    assert "difference -50.00 points" in text
    assert "backbone.dtype: bfloat16 | float32" in text and "backbone.extraction.name: exact | fast" in text


def test_one_definition_says_what_is_comparable(make_record):
    base = make_record("base", correct=GOOD)
    changes = ({"version": 7}, {"fingerprint": "f"}, {"items": "i"}, {"compat": {"a": "b"}}, {"main_score": "s"}, {})
    for change in changes:
        other = make_record("other", correct=GOOD, **change)
        if change:
            with pytest.raises(RecordError):
                check_pair(other, base)
        else:
            check_pair(other, base)
        assert comparable([base, other]) == (not change)
        assert ("not ranked" in pivot_markdown([base, other])) == bool(change)
        assert bool(ranking([base, other])) == (not change)


def test_the_same_pair_is_tested_once(make_record, monkeypatch):
    calls = []
    monkeypatch.setattr(pairing, "mcnemar", lambda *arrays: calls.append(1) or mcnemar(*arrays))
    new, base = (make_record(name, correct=[*GOOD, *[name == "a"] * 37]) for name in ("a", "b"))
    first = compare_records(new, base)
    # Read again from disk, a record is another object with the same outcomes.
    again = [Record.from_json(json.loads(json.dumps(record.to_json()))) for record in (new, base)]
    assert compare_records(*again) == first
    pivot_markdown(again), ranking(again), ranking([new, base])
    assert len(calls) <= 2  # and once the other way round
    assert first.n == 57 and first.difference == pytest.approx(100 * 37 / 57)


def test_too_few_or_damaged_outcomes_are_told(make_record):
    with pytest.raises(RecordError, match="cannot be paired: expected at least 2 episodes"):
        compare_records(make_record(episodes=[5]), make_record(episodes=[6]))
    broken = make_record(correct=GOOD)
    broken.paired["data"] = "AA=A"
    with pytest.raises(RecordError, match="cannot be paired"):
        compare_records(broken, make_record(correct=GOOD))
    assert ranking([make_record(name, episodes=[5]) for name in ("a", "b")]) == []
    assert pivot_markdown([make_record(name, episodes=[5]) for name in ("a", "b")]).count("≈") == 2 + 1


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
        ("task.version", "7", str(VERSION)),
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
    many = [make_record(task=f"linear/{number:02}") for number in range(40)]
    with pytest.raises(RecordError, match=r"base: swav\|linear/00, .*swav\|linear/05, and 34 more; give two runs"):
        compare([make_record()], many)
