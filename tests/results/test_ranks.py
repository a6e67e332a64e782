from __future__ import annotations

import numpy as np
import pytest

from sslbench.errors import RecordError
from sslbench.results import pairing
from sslbench.results.pairing import compare_records
from sslbench.results.ranks import mean_difference, rank_ranges, ranking, ranking_lines, ranking_markdown


def outcomes(right: int, n: int = 400) -> list[bool]:
    return [True] * right + [False] * (n - right)


def test_separable_backbones_have_one_rank_each(make_record):
    column = [make_record(name, correct=outcomes(right)) for name, right in (("a", 100), ("b", 300), ("c", 200))]
    assert rank_ranges(column) == {"a": (3, 3), "b": (1, 1), "c": (2, 2)}


def test_neighbours_within_chance_share_their_ranks(make_record):
    column = [make_record(name, correct=outcomes(right)) for name, right in (("a", 300), ("b", 299), ("c", 100))]
    assert rank_ranges(column) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_overlapping_ranges(make_record):
    # b is separable from neither a nor c, but a is from c: 12 discordant items between a and c, 6 to b.
    column = [make_record(name, correct=outcomes(right)) for name, right in (("a", 212), ("b", 206), ("c", 200))]
    assert rank_ranges(column) == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}


def test_more_pairs_need_a_larger_difference(make_record):
    two = [make_record(name, correct=outcomes(right)) for name, right in (("a", 206), ("b", 200))]
    assert rank_ranges(two) == {"a": (1, 1), "b": (2, 2)}
    assert rank_ranges([*two, make_record("c", correct=outcomes(203))])["a"] == (1, 3)


def test_lower_is_better(make_record):
    column = [
        make_record(name, correct=outcomes(right), higher_is_better=False) for name, right in (("a", 100), ("b", 300))
    ]
    assert rank_ranges(column) == {"a": (1, 1), "b": (2, 2)}


def test_one_backbone_alone(make_record):
    assert rank_ranges([make_record("a", correct=outcomes(3))]) == {"a": (1, 1)}


def test_the_mean_is_over_the_shared_tasks(make_record):
    new = [make_record("a", f"linear/{name}", correct=outcomes(right)) for name, right in (("x", 300), ("y", 200))]
    base = [make_record("b", f"linear/{name}", correct=outcomes(100)) for name in ("x", "y", "z")]
    found = mean_difference(new, base)
    assert found.tasks == 2
    assert found.difference == pytest.approx((50 + 25) / 2)
    low, high = found.ci95
    assert 30 < low < found.difference < high < 45


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_the_interval_covers_whatever_the_dependence_between_tasks(make_record, shared):
    # Three tasks whose outcomes are the same items' (fully dependent) or fresh ones; the true difference is 10 points.
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        draws = [rng.random((2, 300)) for _ in range(3)]
        draws = [draws[0] if shared else draw for draw in draws]
        new, base = (
            [
                make_record(name, f"linear/t{i}", correct=list(draw[row] < rate), items=f"t{i}")
                for i, draw in enumerate(draws)
            ]
            for row, name, rate in ((0, "a", 0.6), (1, "b", 0.5))
        )
        low, high = mean_difference(new, base).ci95
        covered += low <= 10 <= high
    assert covered >= 183  # 95 % of 200 less two standard errors


def test_nothing_to_average(make_record):
    with pytest.raises(RecordError, match="no task in common"):
        mean_difference([make_record("a", "linear/x", correct=[True])], [make_record("b", "linear/y", correct=[True])])
    falling = [make_record(n, correct=[True, False], higher_is_better=False) for n in ("a", "b")]
    with pytest.raises(RecordError, match="lower is better in linear/digits"):
        mean_difference(falling[:1], falling[1:])


def test_a_ranking_over_the_shared_tasks(make_record):
    right = {"a": (300, 280), "b": (298, 284), "c": (100, 120)}
    records = [
        make_record(name, f"linear/{task}", correct=outcomes(count))
        for name, counts in right.items()
        for task, count in zip(("x", "y"), counts, strict=True)
    ]
    alone = make_record("a", "linear/z", correct=outcomes(400))
    ranks = ranking([*records, alone])
    assert [(r.backbone, r.best, r.worst, r.tasks) for r in ranks] == [("b", 1, 2, 2), ("a", 1, 2, 2), ("c", 3, 3, 2)]
    assert ranks[0].mean == pytest.approx((298 + 284) / 8)
    assert ranking_lines(ranks) == [
        "",
        "rank   mean  backbone",
        " 1-2   72.8  b",
        " 1-2   72.5  a",
        "   3   27.5  c",
        "mean over the 2 tasks that all have; ranks that the data do not separate are shared",
    ]
    markdown = ranking_markdown(ranks)
    assert "| 1-2 | b | 72.8 |\n| 1-2 | a | 72.5 |\n| 3 | c | 27.5 |\n" in markdown
    assert markdown.endswith("Mean over the 2 tasks that all have; ranks that the data do not separate are shared.\n")


def column(make_record, task, **fields):
    """Two backbones on one task, the second record as `fields` say."""
    fields = {"correct": outcomes(200), **fields}
    return [make_record("a", task, correct=outcomes(300)), make_record("b", task, **fields)]


def test_records_that_cannot_be_compared_leave_their_task_out(make_record):
    ours = [make_record(name, correct=outcomes(right)) for name, right in (("a", 300), ("b", 200))]
    old_kind = column(make_record, "linear/kind")
    for record in old_kind:
        record.paired["kind"] = "regression"
    without_kind = column(make_record, "linear/none")
    del without_kind[1].paired["kind"]
    shorter = column(make_record, "linear/n", correct=outcomes(200, n=300))
    per_class = {"main_score": "mean_per_class", "targets": [0, 1] * 200}
    for untold in (0, 1):
        without_targets = [
            make_record(name, f"linear/targets{untold}", correct=outcomes(right), **per_class)
            for name, right in (("a", 300), ("b", 200))
        ]
        del without_targets[untold].paired["targets"]
        ours += without_targets
    ranks = ranking([*ours, *old_kind, *without_kind, *shorter])
    assert [(r.backbone, r.best, r.worst, r.tasks) for r in ranks] == [("a", 1, 1, 1), ("b", 2, 2, 1)]
    assert ranking(old_kind) == []


def test_a_task_with_records_of_other_compat_choices_is_left_out(make_record):
    ours = [make_record(name, correct=outcomes(right)) for name, right in (("a", 300), ("b", 200))]
    mixed = column(make_record, "linear/x", compat={"linear-solver": "sklearn"})
    (first, _) = ranking([*ours, *mixed])
    assert (first.backbone, first.tasks) == ("a", 1)
    assert ranking(mixed) == []
    with pytest.raises(RecordError, match="linear-solver"):
        rank_ranges(mixed)


def test_the_mean_level_of_guessing_stands_below_the_ranking(make_record):
    records = [
        make_record(name, f"linear/{task}", correct=outcomes(right), guess=level)
        for name, right in (("a", 300), ("b", 100))
        for task, level in (("x", 10.0), ("y", 20.0))
    ]
    ranks = ranking(records)
    assert [rank.guess for rank in ranks] == [15.0, 15.0]
    assert ranking_lines(ranks)[4] == "       15.0  guessing"
    assert "| 2 | b | 25.0 |\n|  | *guessing* | 15.0 |\n" in ranking_markdown(ranks)
    older = [*records, *(make_record(name, "linear/z", correct=outcomes(200)) for name in ("a", "b"))]
    assert ranking(older)[0].guess is None
    assert "guessing" not in ranking_markdown(ranking(older)) + "".join(ranking_lines(ranking(older)))


def test_mean_per_class_accuracies_are_ranked_without_a_bootstrap(make_record, monkeypatch):
    targets = [0] * 300 + [1] * 100
    records = [
        make_record(name, correct=outcomes(right), targets=targets, main_score="mean_per_class")
        for name, right in (("a", 350), ("b", 340), ("c", 100))
    ]
    with_bootstrap = compare_records(records[0], records[1])
    assert with_bootstrap.test == "paired-bootstrap"
    monkeypatch.setattr(pairing, "paired_bootstrap", None)
    found = mean_difference(records[:1], records[1:2])
    assert found.difference == pytest.approx(with_bootstrap.difference)
    assert found.ci95 == pytest.approx(with_bootstrap.ci95, abs=0.6)
    assert [(r.backbone, r.best, r.worst) for r in ranking(records)] == [("a", 1, 1), ("b", 2, 2), ("c", 3, 3)]


def test_no_ranking_without_two_backbones_on_one_task(make_record):
    assert ranking([]) == []
    assert ranking([make_record("a", correct=outcomes(1))]) == []
    apart = [make_record("a", "linear/x", correct=outcomes(1)), make_record("b", "linear/y", correct=outcomes(1))]
    assert ranking(apart) == []
    other_data = [make_record(name, correct=outcomes(1), fingerprint=name) for name in ("a", "b")]
    assert ranking(other_data) == []
    assert ranking_lines([]) == []
    assert ranking_markdown([]) == ""
