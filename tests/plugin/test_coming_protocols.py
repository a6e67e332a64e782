"""What is to come, small: a head on frozen maps, beside fine-tuning. It is one file and touches no room.

It uses what the real ones will: levels, pictures by rows, masks, scores of sums.
"""

from __future__ import annotations

import pytest

from sslbench import protocols

SEGMENT = '''
"""Segmentation by the nearest class mean of the coarsest frozen map."""

import numpy as np
import torch
from torch.nn.functional import interpolate

from sslbench.datasets import Masks
from sslbench.metrics.resampling import Scale, pooled_score
from sslbench.protocols.base import Predictor, Protocol
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.protocols.registry import ProtocolSpec


class Means(Predictor):
    def __init__(self, means, backbone):
        self.means, self.backbone, self.hyperparameters = means, backbone, {"level": len(backbone.levels())}


class Segment(Protocol[Means]):
    trains = True

    def __init__(self, variant):
        self.count = int(variant)

    def fit(self, development, backbone, trials):
        vectors, labels = zip(*self._pixels(development.train, backbone, len(development.classes)))
        x, y = torch.cat(vectors), torch.cat(labels)
        # Of what was frozen a head may be trained: the maps take part in gradients.
        scale = torch.ones(x.shape[1], requires_grad=True)
        (x * scale).square().mean().backward()
        assert scale.grad is not None
        return Means(torch.stack([x[y == label].mean(0) for label in range(len(development.classes))]), backbone)

    def score(self, predictor, held_out):
        classes = len(held_out.classes)
        confusion = np.zeros((self.count, classes, classes))
        for row, (vectors, labels) in enumerate(self._pixels(held_out.test, predictor.backbone, classes)):
            distances = torch.cdist(vectors, predictor.means.nan_to_num(1e9))
            np.add.at(confusion[row], (labels.numpy(), distances.argmin(1).numpy()), 1)

        def overlap(sums):
            union = sums.sum(0) + sums.sum(1) - sums.diagonal()
            return 100 * float(np.mean(sums.diagonal()[union > 0] / union[union > 0]))

        score, resampled = pooled_score(confusion, overlap, Scale())
        accuracy, _ = pooled_score(confusion, lambda sums: 100 * sums.trace() / sums.sum(), Scale())
        paired = Paired("resamples", resampled, held_out.test.targets.digest, {"images": self.count})
        scores = {"mean_iou": score, "pixel_accuracy": accuracy}
        return Outcome(scores, "mean_iou", None, paired, {"confusion": confusion})

    def _pixels(self, part, backbone, classes):
        pictures, rows = part.load(range(self.count))
        maps = backbone.feature_maps(backbone.preprocess(pictures))[-1]
        for row, found in zip(rows, maps):
            mask = torch.from_numpy(part.targets.load(row))[None, None].float()
            labels = interpolate(mask, size=found.shape[1:]).flatten().long()
            yield found.flatten(1).T, labels


SPEC = ProtocolSpec("segment", 1, Segment, "nearest class mean of a map", takes=(Masks,), variants=("40",), marker="dense")
'''
CONFTEST = """
from pathlib import Path

import sslbench.protocols

FOLDER = str(Path(__file__).parent / "protocols")
sslbench.protocols.__path__.append(FOLDER)
sslbench.protocols.register_package("sslbench.protocols", [FOLDER])
"""
TESTS = """
import pytest


@pytest.mark.sslbench(protocol="finetune")
def test_finetune(sslbench_record):
    pass


@pytest.mark.sslbench(protocol="segment")
def test_segment(sslbench_record):
    pass


@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record):
    pass
"""
TUNED = "finetune/digits/recipe=quick+steps=3+batch=16"
TASKS = ("--sslbench-tasks", f"{TUNED},segment/world-masks/40,knn/digits")


@pytest.fixture
def added(project, monkeypatch):
    # Put back afterwards: runs in this process append to it.
    monkeypatch.setattr(protocols, "__path__", list(protocols.__path__))
    (project.path / "protocols").mkdir()
    (project.path / "protocols/segment.py").write_text(SEGMENT)
    project.conftest(CONFTEST)
    project.tests(TESTS)
    project.ini(sslbench_cache="cache")
    return project


def test_a_segmentation_is_one_file_and_fine_tuning_changes_nothing_for_others(added):
    command = ("--sslbench-backbones", "zoo:simclr", *TASKS)
    added.run(*command).assert_outcomes(passed=3)
    records = added.records()
    tuned, segmented, frozen = (
        records[f"zoo:simclr|{task}"] for task in (TUNED, "segment/world-masks/40", "knn/digits")
    )
    assert set(tuned["scores"]) == {
        "top1",
        "mean_per_class",
        "ece",
        "ace",
        "mce",
        "brier",
        "nll",
        "ece_scaled",
        "ece_scaled_val",
    }
    assert tuned["paired"]["kind"] == "correct" and tuned["paired"]["others"].keys() == set(tuned["scores"]) - {
        "top1",
        "mean_per_class",
    }
    assert (segmented["main_score"], segmented["task"]["guess"]) == ("mean_iou", None)
    assert segmented["scores"]["mean_iou"]["value"] > 4
    trials = {path.name: path.stat().st_mtime_ns for path in (added.path / "cache/trials").glob("*.json")}
    assert len(trials) == 5
    # A second run makes nothing anew; where records are, trainings are not.
    written = added.written()
    added.run(*command).assert_outcomes(passed=3)
    assert added.written() == written
    added.run(*command, "--sslbench-rerun=all").assert_outcomes(passed=3)
    assert {path.name: path.stat().st_mtime_ns for path in (added.path / "cache/trials").glob("*.json")} == trials
    assert all(added.records()[case]["scores"] == record["scores"] for case, record in records.items())
    # Fine-tuning a backbone has changed nothing that its other cases see.
    added.run(
        *command[:2], "--sslbench-tasks", "knn/digits", "--sslbench-results=again", "--sslbench-cache=other"
    ).assert_outcomes(passed=1)
    (again,) = added.records("again").values()
    assert (again["scores"], again["paired"], again["backbone"]) == (
        frozen["scores"], frozen["paired"], frozen["backbone"],
    )  # fmt: skip
