"""The packaged figures: a typo must fail here, since the paper's own averages and correlations are recomputed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from sslbench.studies import Figure
from sslbench.studies.ericsson2021 import STUDY
from sslbench.studies.study import AVERAGE, read_table

TABLES, NETWORKS = STUDY.tables, tuple(STUDY.networks)
FOLDER = TABLES[0].path.parent
IMAGENET = "imagenet"


def rows(stem: str) -> dict[str, dict[str, str]]:
    return read_table(FOLDER / f"{stem}.csv")


def published(network: str, task: str, score: str = "") -> tuple[Figure, str] | None:
    """The figure of one case and where it stands."""
    for table in TABLES:
        for name, column in table.columns.items():
            if (column.task, column.score) == (task, score) and (cell := table.figure(network, name)) is not None:
                return cell, STUDY.source(table)
    return None


MANY_SHOT = ("many_shot_linear", "many_shot_finetune")


def numbers(stem: str, column: str) -> np.ndarray:
    return np.array([float(row[column].partition("±")[0]) for row in rows(stem).values()])


def logit(percent: np.ndarray) -> np.ndarray:
    fraction = np.clip(percent / 100, 1e-6, 1 - 1e-6)
    return np.log(fraction / (1 - fraction))


def test_fourteen_networks_in_every_table() -> None:
    assert len(NETWORKS) == 14
    stems = [table.stem for table in TABLES]
    for stem in [
        *stems,
        *MANY_SHOT,
        "detection_voc",
        "dense_prediction",
        "feature_analysis",
        "pretraining",
        "many_shot_linear_best_C",
    ]:
        assert tuple(rows(stem)) == NETWORKS, stem


@pytest.mark.parametrize("stem", MANY_SHOT)
def test_printed_averages_are_those_of_the_rows(stem: str) -> None:
    for name, row in rows(stem).items():
        values = [float(text) for column, text in row.items() if column not in (AVERAGE, IMAGENET)]
        assert len(values) == 11
        # Two printed digits, of figures that were themselves rounded.
        assert np.mean(values) == pytest.approx(float(row[AVERAGE]), abs=0.0101), name


def test_printed_correlations_are_those_of_the_columns() -> None:
    imagenet = logit(numbers("many_shot_linear", IMAGENET))
    text = (FOLDER / "feature_analysis_correlation_to_imagenet.csv").read_text()
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
    found = published("swav", "fewshot/eurosat/20shot")
    assert found is not None
    cell, source = found
    assert cell.value == 91.99
    assert cell.stderr == pytest.approx(0.36 / 1.96, rel=1e-3)
    assert source.endswith(
        "cross-domain sets, 20 shots (sslbench/studies/ericsson2021/tables/few_shot_cdfsl_20shot.csv)"
    )
    assert published("byol", "linear/voc2007") == (Figure(81.14, None), STUDY.source(TABLES[0]))


@pytest.mark.parametrize(
    ("network", "task"),
    [
        ("swav", "fewshot/flowers/50shot"),  # too few pictures a class in the study
        ("swav", "knn/pets"),
        ("swav", "linear/imagenet"),
        ("resnet50", "linear/pets"),
    ],
)
def test_no_figure(network: str, task: str) -> None:
    assert published(network, task) is None


def test_the_columns_are_those_of_the_files_in_their_order() -> None:
    for table in TABLES:
        heads = [name for name in next(iter(read_table(table.path).values())) if name not in (AVERAGE, IMAGENET)]
        # Of the analysis of features only calibration is a score of tasks here.
        expected = heads[:4] if table.stem == "feature_analysis" else heads
        # The figures of one file may be judged in two ways.
        columns = [name for other in TABLES if other.path == table.path for name in other.columns]
        assert columns == heads, table.stem
        assert table.average == (AVERAGE in next(iter(read_table(table.path).values()))) or table.stem.startswith("few")


def test_every_cell_is_a_number_with_its_scale() -> None:
    for table in TABLES:
        for network in NETWORKS:
            for name, column in table.columns.items():
                cell = table.figure(network, name)
                assert cell is not None and 0 < cell.value < (5000 if name.startswith("mse") else 100)
                assert (cell.stderr is None) != column.task.startswith("fewshot/")
                falls = column.unit == "degrees" or (bool(column.mean_of) and name != "attentive_diffusion")
                assert column.unit in ("%", "degrees", "LPIPS", "grey levels squared")
                assert column.higher_is_better == (not falls)


def test_overlap_is_printed_as_a_fraction_and_angles_fall() -> None:
    found = published("swav", "segmentation/ade20k", "mean_iou")
    assert found is not None and found[0].value == pytest.approx(29.61)
    dense = next(table for table in TABLES if table.stem == "dense_prediction")
    assert dense.columns["normals_mean_deg"].unit == "degrees"
    falling = [name for name, column in dense.columns.items() if not column.higher_is_better]
    assert falling == ["normals_mean_deg", "normals_median_deg"]
    detection = next(table for table in TABLES if table.stem == "detection_voc")
    assert {column.task for column in detection.columns.values()} == {"detection/voc/frozen", "detection/voc/finetune"}
    assert [column.score for column in detection.columns.values()] == ["AP", "AP50", "AP75"] * 2


def test_calibration_is_a_mean_of_ten_sets_and_no_reference_of_a_case() -> None:
    table = next(table for table in TABLES if table.stem == "feature_analysis")
    assert {name: column.score for name, column in table.columns.items()} == {
        "ece_linear": "ece", "ece_linear_scaled": "ece_scaled", "ece_finetune": "ece", "ece_finetune_scaled": "ece_scaled",
    }  # fmt: skip
    many_shot = [name for name in TABLES[0].columns if name != "voc2007"]
    for name, column in table.columns.items():
        protocol = name.split("_")[1]
        assert column.tasks == tuple(f"{protocol}/{dataset}" for dataset in many_shot)
        assert len(column.tasks) == 10
    for score in ("ece", "ece_scaled"):
        assert published("swav", "linear/pets", score) is None


def test_what_nobody_has_run_judges_nothing_and_says_why() -> None:
    judging = {table.stem for table in TABLES if table.allowance is not None}
    assert judging == {"many_shot_linear", *(table.stem for table in TABLES if table.stem.startswith("few_shot"))}
    assert all(bool(table.no_verdict) == (table.stem not in judging) for table in TABLES)


def test_published_c_lies_on_the_grid() -> None:
    grid = 1 / np.logspace(-6, 5, 45, dtype=np.float32).astype(np.float64)
    for network in NETWORKS:
        for dataset in TABLES[0].columns:
            c = TABLES[0].chosen(network, dataset)["C"]
            assert np.abs(grid / c - 1).min() < 1e-5, (network, dataset)
    assert TABLES[0].chosen("resnet50", "pets") == {}
