"""Wins and summaries against what records and tables say by the ways that are there already."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sslbench.analyses import Cell, Item, Sheet, sheet_of_records, sheet_of_study
from sslbench.analyses.block import block
from sslbench.analyses.summary import summaries
from sslbench.analyses.wins import Contrast, contrast, duels, mean_gains, outcomes, variances
from sslbench.errors import RecordError
from sslbench.results.pairing import compare_records
from sslbench.results.ranks import mean_difference, rank_ranges
from sslbench.results.references import read_records
from sslbench.studies import STUDIES

RECORDS = read_records(Path(__file__).parents[2] / "results" / "baselines" / "embedded.json")
SHEET = sheet_of_records(RECORDS)
STUDY = sheet_of_study(STUDIES["ericsson2021"])
PAPER = [item for item in STUDY.main_items if item.task in STUDIES["ericsson2021"].suites[0].tasks]
ACCURACY, ANGLE = Item("linear/x", "top1", True, "%", True), Item("normals/x", "mean_angle", True, "degrees", False)


def _of(name: str, protocols: tuple[str, ...]) -> list:
    return [r for r in RECORDS if r.backbone["name"] == name and r.task["protocol"] in protocols]


def test_records_are_paired_and_gains_point_upwards() -> None:
    item = SHEET.item("normals/world-normals/linear")
    assert item is not None
    first, second = (SHEET.cells[name, item] for name in ("zoo:simclr", "random-init:zoo:simclr"))
    found = contrast(item, first, second)
    assert first.record is not None and second.record is not None
    expected = compare_records(first.record, second.record)
    assert found.test == "paired" and found.gain == -expected.difference and found.p == expected.p_two_sided
    assert found.ci95 == (-expected.ci95[1], -expected.ci95[0]) and found.gain > 0
    ece = next(i for i in SHEET.items if i.task == "linear/digits" and i.score == "ece")
    assert contrast(ece, SHEET.cells["zoo:simclr", ece], SHEET.cells["zoo:mae", ece]).test == "paired"


def test_without_records_two_standard_errors_or_the_sign() -> None:
    found = contrast(ACCURACY, Cell(60.0, 0.3), Cell(59.0, 0.4))
    assert found.test == "independent" and found.ci95 == pytest.approx((1 - 0.98, 1 + 0.98), abs=1e-3)
    assert found.p == pytest.approx(2 * stats.norm.sf(2.0))
    assert contrast(ANGLE, Cell(30.0), Cell(31.0)) == Contrast(1.0, None, None, "sign")
    assert contrast(ACCURACY, Cell(60.0, 0.0), Cell(60.0, 0.0)).p == 1
    with pytest.raises(RecordError, match="cannot be paired"):
        one, other = (r for r in RECORDS if r.case in ("zoo:mae|linear/digits", "zoo:mae|knn/digits"))
        contrast(ACCURACY, Cell(1.0, record=one), Cell(2.0, record=other))


def test_a_score_without_outcomes_of_single_items_falls_back_on_standard_errors() -> None:
    item = next(i for i in SHEET.items if i.task == "linear/digits" and i.score == "mean_per_class")
    assert contrast(item, SHEET.cells["zoo:simclr", item], SHEET.cells["zoo:mae", item]).test == "independent"


def test_outcomes_are_adjusted_by_holm() -> None:
    def of(p: float | None, gain: float = 1.0) -> Contrast:
        return Contrast(gain, None, p, "x")

    assert outcomes([of(0.02), of(0.03), of(None, -1.0), of(None, 0.0)]) == ["win", "win", "loss", "open"]
    assert outcomes([of(0.03), of(0.03, -1.0)]) == ["open", "open"]
    assert outcomes([of(0.01), of(0.03, -1.0)]) == ["win", "loss"]


def test_mean_gains_are_those_of_the_ranking() -> None:
    protocols = ("linear", "knn", "fewshot")
    items = [item for item in SHEET.main_items if item.protocol in protocols]
    duel = duels(SHEET, items, ["zoo:simclr", "zoo:supervised"])["zoo:simclr", "zoo:supervised"]
    expected = mean_difference(_of("zoo:simclr", protocols), _of("zoo:supervised", protocols))
    (mean,) = duel.means
    assert (mean.gain, mean.items, mean.p) == pytest.approx((expected.difference, expected.tasks, expected.p))
    assert mean.ci95 == pytest.approx(expected.ci95) and duel.tests == {"paired": 13}
    assert "zoo:simclr beats zoo:supervised on" in duel.told and "13 tasks" in duel.told


def test_a_matrix_separates_as_rank_ranges_do() -> None:
    task = "fewshot/world-objects/20shot"
    column = [r for r in RECORDS if r.task["id"] == task]
    names = [r.backbone["name"] for r in column]
    item = SHEET.item(task)
    assert item is not None
    found = duels(SHEET, [item], names)
    for name, (best, worst) in rank_ranges(column).items():
        lost = sum(
            d.outcomes[item] == ("loss" if d.first == name else "win")
            for d in found.values()
            if name in (d.first, d.second)
        )
        won = sum(
            d.outcomes[item] == ("win" if d.first == name else "loss")
            for d in found.values()
            if name in (d.first, d.second)
        )
        assert (1 + lost, len(column) - won) == (best, worst)


def test_published_tables_are_tested_where_they_print_intervals() -> None:
    duel = duels(STUDY, PAPER, ["byol", "supervised"])["byol", "supervised"]
    assert duel.tests == {"independent": 14, "sign": 26}
    by_unit = {mean.unit: mean for mean in duel.means}
    assert by_unit["%"].ci95 is None and by_unit["degrees"].items == 1
    assert by_unit["degrees"].gain == pytest.approx(33.52 - 30.56)


def test_mean_gains_keep_units_apart() -> None:
    one, two = Contrast(1.0, (0.0, 2.0), 0.05, "paired"), Contrast(3.0, (2.0, 4.0), 0.001, "paired")
    percent, degrees = mean_gains([(ACCURACY, one), (ANGLE, two), (ACCURACY, two)])
    assert (percent.gain, percent.ci95, percent.items, degrees.gain) == (2.0, (1.0, 3.0), 2, 3.0)
    assert percent.p == pytest.approx(2 * stats.norm.sf(2 / (2 / (2 * stats.norm.ppf(0.975)))))


def test_two_variances_stay_apart() -> None:
    record = next(r for r in RECORDS if r.case == "zoo:simclr|finetune/digits/recipe=quick")
    once = variances(record)
    assert once.items == record.main.stderr and once.seed is None and "one training" in once.told
    spread = {"value": 1.2, "stderr": 0.6, "ci95": [None, None], "n": 4, "unit": "%", "higher_is_better": False}
    several = variances(replace(record, scores={**record.scores, "top1_seed_sd": spread}))
    assert (several.seed, several.seeds) == (1.2, 4) and "1.20 each, 0.60 of their mean (4 trainings)" in several.told


def test_summaries_are_means_over_what_all_have() -> None:
    found = {summary.backbone: summary for summary in summaries(SHEET)}
    made = block(SHEET)
    assert len(made.items) == 13 and len(made.left_out) == 8  # the wheel's network is not trained further
    row = made.backbones.index("zoo:simclr")
    simclr = found["zoo:simclr"]
    assert simclr.items == 13 and simclr.rank.value == pytest.approx(stats.rankdata(-made.values, axis=0)[row].mean())
    assert simclr.z.value == pytest.approx(stats.zscore(made.values, axis=0)[row].mean())
    p = made.values[row] / 100
    stderr = [SHEET.cells["zoo:simclr", item].stderr for item in made.items]
    assert simclr.log_odds is not None and simclr.log_odds.ci95 is not None
    assert simclr.log_odds.value == pytest.approx(np.log(p / (1 - p)).mean())
    half = stats.norm.ppf(0.975) * np.mean(np.array(stderr) / 100 / (p * (1 - p)))
    assert simclr.log_odds.ci95[1] - simclr.log_odds.value == pytest.approx(half)
    ranges = [
        rank_ranges([r for r in RECORDS if r.task["id"] == item.task and r.backbone["name"] in made.backbones])
        for item in made.items
    ]
    ends = np.mean([of_task["zoo:simclr"] for of_task in ranges], axis=0)
    assert simclr.rank.ci95 == pytest.approx(tuple(ends))


def test_summaries_of_published_tables_say_where_no_interval_is() -> None:
    first, *_ = summaries(STUDY, PAPER)
    assert first.backbone == "deepcluster-v2" and first.items == 40
    assert first.rank.ci95 is first.z.ci95 is None and first.log_odds is not None and first.log_odds.ci95 is None
    few = [item for item in STUDY.main_items if item.protocol == "fewshot"]
    tested = summaries(STUDY, few)[0]
    assert tested.rank.ci95 is not None and tested.rank.ci95[0] <= tested.rank.value <= tested.rank.ci95[1]
    degrees = summaries(Sheet("made up", {("a", ANGLE): Cell(3.0), ("b", ANGLE): Cell(2.0)}))
    assert (
        [s.backbone for s in degrees] == ["b", "a"]
        and degrees[0].log_odds is None
        and math.isclose(degrees[0].z.value, 1)
    )
