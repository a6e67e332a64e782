"""Goldens: Table 9's last row, and coefficients of the published tables computed apart from this package."""

import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sslbench.analyses import Cell, Item, Sheet, sheet_of_records, sheet_of_study
from sslbench.analyses.correlation import (
    average_ranks,
    compare_correlations,
    correlate,
    correlation,
    log_odds,
    scale_of,
    scaled,
    settings,
)
from sslbench.results.references import read_records
from sslbench.studies import STUDIES
from sslbench.studies.ericsson2021.names import CROSS_DOMAIN, MANY_SHOT

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"
SHEET = sheet_of_study(STUDIES["ericsson2021"])
MANY = (*MANY_SHOT, "voc2007")
SETTINGS = {
    "linear": ([f"linear/{name}" for name in MANY], 0.926, 0.855),
    "finetune": ([f"finetune/{name}" for name in MANY], 0.857, 0.820),
    "fewshot": ([f"fewshot/{name}/20shot" for name in MANY_SHOT], 0.827, 0.886),
    "cross-domain": ([f"fewshot/{name}/20shot" for name in CROSS_DOMAIN], 0.606, 0.631),
}
ITEMS = {
    ("fewshot/cropdiseases/20shot", ""): (0.69, None),
    ("fewshot/eurosat/20shot", ""): (0.66, None),
    ("fewshot/isic/20shot", ""): (0.05, None),
    ("fewshot/chestx/20shot", ""): (0.52, None),
    ("detection/voc/frozen", "AP"): (0.379, 0.226),
    ("detection/voc/frozen", "AP50"): (0.788, 0.530),
    ("detection/voc/frozen", "AP75"): (0.374, 0.191),
    ("detection/voc/finetune", "AP"): (0.199, 0.196),
    ("detection/voc/finetune", "AP50"): (0.328, 0.314),
    ("detection/voc/finetune", "AP75"): (0.204, 0.204),
    ("normals/nyuv2", "mean_angle"): (0.338, 0.332),
    ("normals/nyuv2", "median_angle"): (0.366, 0.341),
    ("normals/nyuv2", "within_11.25"): (0.430, 0.525),
    ("normals/nyuv2", "within_22.5"): (0.391, 0.354),
    ("normals/nyuv2", "within_30"): (0.373, 0.330),
    ("segmentation/ade20k", "mean_iou"): (0.193, 0.007),
    ("segmentation/ade20k", "pixel_accuracy"): (0.170, -0.042),
    # Table 9's last row, with three digits of the published figures.
    ("linear/*", "ece"): (-0.772, None),
    ("linear/*", "ece_scaled"): (-0.590, None),
    ("finetune/*", "ece"): (-0.896, None),
    ("finetune/*", "ece_scaled"): (-0.595, None),
    ("inversion/*", "lpips_alexnet"): (-0.492, None),
    ("inversion/*", "lpips_vgg"): (-0.689, None),
    ("inversion/*", "lpips_squeezenet"): (-0.573, None),
    ("inversion/*", "mse_red"): (-0.563, None),
    ("inversion/*", "mse_green"): (-0.112, None),
    ("inversion/*", "mse_blue"): (-0.220, None),
    ("occlusion/*", "attentive_diffusion"): (0.085, None),
}


def _item(task: str, score: str = "") -> Item:
    item = SHEET.item(task, score)
    assert item is not None, (task, score)
    return item


def _digits(value: float) -> float:
    return 0.0051 if round(value, 2) == value else 0.00051


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_have_the_coefficients_computed_apart(name: str) -> None:
    tasks, r, rho = SETTINGS[name]
    found = correlate(SHEET, [_item(task) for task in tasks])
    assert found.n == 14 and not found.left_out and not found.note
    assert found.pearson.value == pytest.approx(r, abs=_digits(r))
    assert found.spearman.value == pytest.approx(rho, abs=_digits(rho))


@pytest.mark.parametrize(("task", "score"), ITEMS)
def test_items_have_the_published_coefficients(task: str, score: str) -> None:
    r, rho = ITEMS[task, score]
    found = correlate(SHEET, _item(task, score))
    assert found.n == 14
    assert found.pearson.value == pytest.approx(r, abs=_digits(r))
    if rho is not None:
        assert found.spearman.value == pytest.approx(rho, abs=_digits(rho))


def test_attention_against_the_mean_of_linear_scores() -> None:
    # The text's .38.
    linear = [_item(task) for task in SETTINGS["linear"][0]]
    x = np.mean([scaled(item, [SHEET.cells[name, item].value for name in SHEET.backbones]) for item in linear], axis=0)
    attention = _item("occlusion/*", "attentive_diffusion")
    y = scaled(attention, [SHEET.cells[name, attention].value for name in SHEET.backbones])
    assert correlation(x, y).pearson.value == pytest.approx(0.376, abs=0.0005)


def test_settings_group_main_items_and_take_data_sets_apart() -> None:
    found = settings(SHEET, {"cross-domain": CROSS_DOMAIN})
    assert len(found["linear"]) == 11 and len(found["fewshot/20shot"]) == 10
    assert {item.dataset for item in found["fewshot/20shot, cross-domain"]} == set(CROSS_DOMAIN)
    assert sum(map(len, settings(SHEET).values())) == len(SHEET.main_items)


def test_log_odds_are_clipped_and_refuse_percentages() -> None:
    assert log_odds([0.25, 0.5]) == pytest.approx([-math.log(3), 0])
    assert log_odds([0, 1]) == pytest.approx([-math.log((1 - 1e-6) / 1e-6), math.log((1 - 1e-6) / 1e-6)])
    with pytest.raises(ValueError, match=r"fractions in \[0, 1\], got 55"):
        log_odds([0.2, 55.0])


def test_scales() -> None:
    scales = {
        ("linear/cars", ""): "log-odds",
        ("normals/nyuv2", "mean_angle"): "negated",
        ("linear/*", "ece"): "log-odds",
        ("inversion/*", "lpips_vgg"): "log-odds",
        ("inversion/*", "mse_red"): "as it is",
    }
    assert {key: scale_of(_item(*key)) for key in scales} == scales
    assert scale_of(Item("depth/rooms/linear", "abs_rel", False, "%", False)) == "negated"
    with pytest.raises(ValueError, match="on one scale, got log-odds, negated"):
        correlate(SHEET, [_item("linear/cars"), _item("normals/nyuv2")])


@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_intervals_and_p_are_scipys(ties: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=17)
    y = 0.6 * x + rng.normal(size=17)
    x, y = (x.round(), y.round()) if ties else (x, y)
    found = correlation(x, y)
    pearson, spearman = stats.pearsonr(x, y), stats.spearmanr(x, y)
    assert (found.pearson.value, found.pearson.p) == pytest.approx((pearson.statistic, pearson.pvalue))
    assert found.pearson.ci95 == pytest.approx(tuple(pearson.confidence_interval()))
    assert (found.spearman.value, found.spearman.p) == pytest.approx((spearman.statistic, spearman.pvalue))
    assert average_ranks(y) == pytest.approx(stats.rankdata(y))
    assert found.spearman.ci95 is not None and found.pearson.ci95 is not None
    half = stats.norm.ppf(0.975) * math.sqrt((1 + found.spearman.value**2 / 2) / 14)
    assert np.arctanh(found.spearman.ci95) == pytest.approx(np.arctanh(found.spearman.value) + np.array([-half, half]))


def test_the_interval_of_spearman_covers() -> None:
    # Normal pairs with correlation .5, of which rho is 6 / pi asin(.25): in 95 % of samples, up to the approximation.
    rng, truth, inside = np.random.default_rng(0), 6 / math.pi * math.asin(0.25), 0
    for _ in range(600):
        x = rng.normal(size=14)
        ci95 = correlation(x, 0.5 * x + math.sqrt(0.75) * rng.normal(size=14)).spearman.ci95
        assert ci95 is not None
        inside += ci95[0] <= truth <= ci95[1]
    assert 0.92 <= inside / 600 <= 0.98


def test_few_backbones_and_constants_are_told() -> None:
    three = correlation([1, 2, 3], [1, 2, 2.5])
    assert three.pearson.ci95 is None and three.pearson.p is not None and "it takes 4" in three.note
    two = correlation([1, 2], [1, 2])
    assert math.isnan(two.pearson.value) and two.note == "no correlation of 2 backbones"
    assert correlation([1, 2, 3, 4], [5, 5, 5, 5]).note == "no correlation: all have one value"
    perfect = correlation([1, 2, 3, 4], [2, 4, 6, 8])
    assert perfect.pearson.ci95 == (1.0, 1.0) and perfect.pearson.p == 0
    with pytest.raises(ValueError, match="one length"):
        correlation([1, 2, 3], [1, 2])


@pytest.mark.parametrize("x", [[1, 2, 3], [1, 2, 3, 4], [1, 1, 3, 4], [1, 2, 2, 2, 5]])
@pytest.mark.parametrize("sign", [1, -1])
def test_few_in_one_order_are_no_certainty(x: list[float], sign: int) -> None:
    found = correlation(x, [sign * value**3 for value in x]).spearman
    orders = [stats.spearmanr(x, order).statistic for order in permutations(x)]
    assert found.value == sign and found.ci95 is None
    # By brute force, but that ties may reach it in one direction alone: then it is twice that.
    as_far = np.mean(np.array(orders) > 1 - 1e-9)
    assert found.p == pytest.approx(min(1, 2 * as_far))


def test_a_difference_of_shares_is_taken_as_it_is() -> None:
    excess = Item("occlusion/world-masks/recipe=quick", "attention_excess", False, "%", True)
    assert scale_of(excess) == "as it is" and scaled(excess, [-3.0, 2.0]).tolist() == [-3.0, 2.0]
    names = ("a", "b", "c")
    sheet = Sheet(
        "made", {(n, excess): Cell(v) for n, v in zip(names, (-3.0, 0.5, 1.0), strict=True)}, dict.fromkeys("abc", 9.0)
    )
    assert correlate(sheet, excess, among=[]).n == 0 and correlate(sheet, excess, among=["a"]).n == 1


def test_a_network_under_several_options_counts_once() -> None:
    item = Item("knn/digits", "top1", True, "%", True)
    names = ("byol?size=64", "byol", "byol?pooling=cls", "swav?size=64", "pirl", "sela-v2")
    sheet = Sheet(
        "made", {(n, item): Cell(50.0 + k) for k, n in enumerate(names)}, {n: 60.0 + k for k, n in enumerate(names)}
    )
    found = correlate(sheet, item)
    assert found.backbones == ("byol", "swav?size=64", "pirl", "sela-v2") and found.n == 4 and not found.left_out


def test_controls_and_holes_do_not_count() -> None:
    item = Item("knn/digits", "top1", True, "%", True)
    names = ("a", "b", "c", "d", "hole", "random-init:a", "pixels")
    cells = {(name, item): Cell(50.0 + 3 * index) for index, name in enumerate(names) if name != "hole"}
    upstream = {name: 40.0 + index**2 for index, name in enumerate(names)}
    found = correlate(Sheet("made up", {**cells, ("hole", replace(item, score="top5")): Cell(1.0)}, upstream), item)
    assert found.backbones == ("a", "b", "c", "d") and found.left_out == ("hole",)


def test_compared_correlations_keep_their_level() -> None:
    # x equally correlated with two things that are correlated themselves: a true null is rejected in 5 % of samples.
    rng = np.random.default_rng(1)
    root = np.linalg.cholesky([[1, 0.5, 0.5], [0.5, 1, 0.6], [0.5, 0.6, 1]])
    rejected, runs = 0, 1500
    for _ in range(runs):
        r = np.corrcoef(root @ rng.normal(size=(3, 14)))
        rejected += compare_correlations(r[0, 1], r[0, 2], r[1, 2], 14)[1] < 0.05
    assert 0.035 <= rejected / runs <= 0.065
    with pytest.raises(ValueError, match="4 backbones or more"):
        compare_correlations(0.5, 0.2, 0.1, 3)


def test_compared_correlations_of_things_that_differ_by_noise_alone() -> None:
    # With nothing shared between the two things the test tends to that of two z of independent samples of the same x.
    z, p = compare_correlations(0.5, 0.0, 0.0, 103)
    m = 0.125
    f = 1 / (2 * (1 - m))
    expected = math.atanh(0.5) * 10 / math.sqrt(2 * (1 - f * m) / (1 - m))
    assert z == pytest.approx(expected) and p == pytest.approx(2 * stats.norm.sf(expected))


def test_percentages_beyond_a_whole_have_no_log_odds() -> None:
    records = [record for record in read_records(BASELINE) if record.task["id"] == "linear/digits"]
    name = records[0].main_score
    records[0] = replace(records[0], scores={**records[0].scores, name: {**records[0].scores[name], "value": -3.0}})
    sheet = sheet_of_records(records)
    item = sheet.item("linear/digits")
    assert item is not None and scale_of(item) == "as it is"
    assert correlate(sheet, item).n == len(sheet.upstream)
