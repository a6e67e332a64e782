"""The packaged figures: a typo must fail here, since the paper's own averages and correlations are recomputed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from sslbench.results import published as module
from sslbench.results.published import (
    AVERAGE,
    IMAGENET,
    TABLES,
    columns,
    figure,
    networks,
    published,
    published_c,
    rows,
)

MANY_SHOT = ("many_shot_linear", "many_shot_finetune")


def numbers(stem: str, column: str) -> np.ndarray:
    return np.array([float(row[column].partition("±")[0]) for row in rows(stem).values()])


def logit(percent: np.ndarray) -> np.ndarray:
    fraction = np.clip(percent / 100, 1e-6, 1 - 1e-6)
    return np.log(fraction / (1 - fraction))


def test_fourteen_networks_in_every_table() -> None:
    assert len(networks()) == 14
    stems = [table.stem for table in TABLES]
    for stem in [
        *stems,
        *MANY_SHOT,
        "detection_voc",
        "dense_prediction",
        "feature_analysis",
        "pretraining",
        module.BEST_C,
    ]:
        assert tuple(rows(stem)) == networks(), stem


@pytest.mark.parametrize("stem", MANY_SHOT)
def test_printed_averages_are_those_of_the_rows(stem: str) -> None:
    for name, row in rows(stem).items():
        values = [float(text) for column, text in row.items() if column not in (AVERAGE, IMAGENET)]
        assert len(values) == 11
        # Two printed digits, of figures that were themselves rounded.
        assert np.mean(values) == pytest.approx(float(row[AVERAGE]), abs=0.0101), name


def test_printed_correlations_are_those_of_the_columns() -> None:
    imagenet = logit(numbers("many_shot_linear", IMAGENET))
    text = module.files("sslbench").joinpath("reference", "feature_analysis_correlation_to_imagenet.csv").read_text()
    names, printed = (line.split(",") for line in text.split())
    for name, value in zip(names, printed, strict=True):
        column = numbers("feature_analysis", name)
        y = column if name.startswith("mse") else logit(column * 100 if name.startswith("lpips") else column)
        # The inputs are rounded themselves; LPIPS has two printed digits only (-0.492 against the printed -0.51).
        tolerance = 0.02 if name == "lpips_alexnet" else 0.006
        assert pearsonr(imagenet, y).statistic == pytest.approx(float(value), abs=tolerance), name


# Recomputed once from the published tables (mean logit over the datasets of a setting against logit ImageNet).
CORRELATIONS = {
    ("many_shot_linear",): (0.926, 0.855),
    ("many_shot_finetune",): (0.857, 0.820),
    ("few_shot_kornblith_20shot",): (0.827, 0.886),
    ("few_shot_cdfsl_20shot",): (0.606, 0.631),
}


@pytest.mark.parametrize("stems", CORRELATIONS)
def test_correlation_of_a_setting_with_imagenet(stems: tuple[str]) -> None:
    imagenet = logit(numbers("many_shot_linear", IMAGENET))
    names = [name for name in next(iter(rows(stems[0]).values())) if name not in (AVERAGE, IMAGENET)]
    mean = np.mean([logit(numbers(stems[0], name)) for name in names], axis=0)
    r, rho = CORRELATIONS[stems]
    assert pearsonr(imagenet, mean).statistic == pytest.approx(r, abs=0.0006)
    assert spearmanr(imagenet, mean).statistic == pytest.approx(rho, abs=0.0006)


@pytest.mark.parametrize(("column", "r"), [("cropdiseases", 0.69), ("eurosat", 0.66), ("isic", 0.05), ("chestx", 0.52)])
def test_correlation_of_the_cross_domain_sets(column: str, r: float) -> None:
    imagenet = logit(numbers("many_shot_linear", IMAGENET))
    found = pearsonr(imagenet, logit(numbers("few_shot_cdfsl_20shot", column))).statistic
    assert found == pytest.approx(r, abs=0.0051)


def test_a_figure_states_value_interval_and_source() -> None:
    cell = published("swav", "fewshot", "eurosat", "20shot")
    assert cell is not None
    assert cell.value == 91.99
    assert cell.stderr == pytest.approx(0.36 / 1.96, rel=1e-3)
    assert cell.source.endswith("cross-domain sets, 20 shots (sslbench/reference/few_shot_cdfsl_20shot.csv)")
    linear = published("byol", "linear", "voc2007", "")
    assert linear is not None and (linear.value, linear.stderr) == (81.14, None)


@pytest.mark.parametrize(
    "case",
    [
        ("swav", "fewshot", "flowers", "50shot"),  # too few pictures a class in the study
        ("swav", "knn", "pets", ""),
        ("swav", "linear", "imagenet", ""),
        ("resnet50", "linear", "pets", ""),
    ],
)
def test_no_figure(case: tuple[str, str, str, str]) -> None:
    if case[2] == "imagenet":
        assert "imagenet" not in columns(TABLES[0])
    else:
        assert published(*case) is None


def test_every_cell_is_a_number() -> None:
    for table in TABLES:
        for network in networks():
            for column in columns(table):
                cell = figure(table, network, column)
                assert cell is not None and 0 < cell.value < 100
                assert (cell.stderr is None) == (table.setting == "linear")


def test_published_c_lies_on_the_grid() -> None:
    grid = 1 / np.logspace(-6, 5, 45, dtype=np.float32).astype(np.float64)
    for network in networks():
        for dataset in columns(TABLES[0]):
            c = published_c(network, dataset)
            assert c is not None
            assert np.abs(grid / c - 1).min() < 1e-5, (network, dataset)
    assert published_c("resnet50", "pets") is None
