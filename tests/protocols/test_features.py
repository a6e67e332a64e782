"""Scores of features as cases: those of the cached features, for any kind of targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from sslbench.backbones import Backbone
from sslbench.config import Settings
from sslbench.errors import DataError, UnknownNameError
from sslbench.metrics.representation import lidar, rankme
from sslbench.results.record import Record
from sslbench.results.statistics import paired_resamples
from sslbench.runner import Case, Runner
from sslbench.tasks import list_tasks, parse_task
from tests.protocols import dense, detecting, tuning

pytestmark = pytest.mark.usefixtures("one_thread")


def run(folder: Path, task: str, network: Backbone) -> Record:
    runner = Runner(Settings(cache_dir=folder, device="cpu"))
    runner.add_backbone(network)
    return runner.prepare(Case(network.name, parse_task(task))).execute()


def test_scores_are_those_of_the_test_splits_features(tuned: tuning.Sets, tmp_path: Path) -> None:
    network = tuning.backbone()
    record = run(tmp_path, "features/tuned", network)
    test = tuned.load(Settings()).splits["test"]
    x = network.embed(network.preprocess(test.images.load(range(40)))).numpy()
    assert record.main_score == "rankme" and record.main.n == 40 and record.main.unit == "dimensions"
    assert record.main.value == pytest.approx(rankme(x), rel=1e-3)
    assert record.scores["lidar"]["value"] == pytest.approx(lidar(x, test.targets.values), rel=1e-2)
    assert set(record.scores) == {"rankme", "effective_rank", "alpha_req", "uniformity", "lidar", "alignment"}
    assert set(record.paired["others"]) == set(record.scores) - {"rankme"}
    assert record.hyperparameters == {"width": 12}


def test_two_networks_are_paired(tuned: tuning.Sets, tmp_path: Path) -> None:
    one, other = (
        run(tmp_path, "features/tuned", each) for each in (tuning.backbone(), detecting.backbone(name="stages"))
    )
    assert one.paired["items"] == other.paired["items"]


@pytest.mark.parametrize("dataset", ["masked", "facing"])
def test_targets_that_are_no_labels_leave_the_scores_of_classes_out(
    mapped: dense.Sets, dataset: str, tmp_path: Path
) -> None:
    record = run(tmp_path, f"features/{dataset}", detecting.backbone())
    assert set(record.scores) == {"rankme", "effective_rank", "alpha_req", "uniformity"}


def test_a_network_that_gives_zeros(tuned: tuning.Sets, tmp_path: Path) -> None:
    class Nothing(nn.Module):
        def forward(self, images: object) -> object:
            return images.new_zeros(len(images), 4)

    with pytest.raises(DataError, match="nothing can be said of these features: x: expected features, got zeros alone"):
        run(tmp_path, "features/tuned", detecting.backbone(Nothing()))


def test_every_dataset_has_the_task_and_a_star_does_not_stand_for_it() -> None:
    assert {"features/digits", "features/world-masks"} <= set(list_tasks("features/*"))
    with pytest.raises(UnknownNameError, match="unknown variant of features '5shot'"):
        parse_task("features/digits/5shot")


def test_the_standard_error_of_a_difference_is_that_of_paired_groups() -> None:
    from sslbench.metrics.representation import representation_scores

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 10))
    one, other = (representation_scores(each) for each in (x, x + 0.05 * rng.normal(size=(200, 10))))
    found = paired_resamples(one.resampled["rankme"], other.resampled["rankme"], 0.1, 200)
    assert found.ci95[1] - found.ci95[0] < 0.5 * (one.scores["rankme"].ci95[1] - one.scores["rankme"].ci95[0])
