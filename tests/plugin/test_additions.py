"""One file each is enough for a protocol of a new kind, a dataset with other targets, and a backbone."""

from __future__ import annotations

import json

import pytest

from sslbench import protocols
from sslbench.cli import main

# As it would lie in sslbench/protocols: another kind of targets, a score that falls, no picture right or wrong by itself.
PROTOCOL = '''
"""Surface normals, guessed: every pixel gets the training set's mean normal, turned by what a feature says."""

import numpy as np

from sslbench.datasets import Normals
from sslbench.metrics.resampling import Scale, pooled_score
from sslbench.protocols.base import Development, HeldOut, Predictor, Protocol
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.protocols.registry import ProtocolSpec


class MeanNormal(Predictor):
    def __init__(self, normal):
        self.normal, self.hyperparameters = normal / np.linalg.norm(normal), {"pixels": "all"}


class Slopes(Protocol[MeanNormal]):
    def __init__(self, variant):
        self.steps = int(variant.removesuffix("steps"))

    def fit(self, development: Development, backbone, trials) -> MeanNormal:
        assert set(development.parts) == {"train", "val"}
        train = development.train.targets
        (kept,) = trials.map(lambda settings, folder: trained(train, settings), [{"steps": self.steps}], stage="mean")
        return MeanNormal(np.array(kept.values) + [backbone.params, 0.0, 0.0])

    def score(self, predictor, held_out: HeldOut) -> Outcome:
        assert set(held_out.parts) == {"test"}
        test = held_out.test
        sums = []
        for row in range(len(test.targets)):
            normals = test.targets.load(row).reshape(-1, 3)
            angles = np.degrees(np.arccos(np.clip(normals @ predictor.normal, -1, 1)))
            sums.append((angles.sum(), angles.size))
        scale = Scale("degrees", higher_is_better=False, limits=(0.0, 180.0))
        score, resampled = pooled_score(np.array(sums), lambda total: total[0] / total[1], scale)
        paired = Paired("resamples", resampled, test.targets.digest, {"images": len(sums)})
        return Outcome({"mean_angle": score}, "mean_angle", None, paired, {"sums": np.array(sums)})


def trained(targets, settings):
    from sslbench.training.trial_result import TrialResult

    mean = np.mean([targets.load(row).mean(axis=(0, 1)) for row in range(settings["steps"])], axis=0)
    return TrialResult([float(number) for number in mean])


SPEC = ProtocolSpec(
    "slopes", 1, Slopes, "mean normal", takes=(Normals,), variants=("1steps", "4steps"), marker="dense", markers=("steep",)
)
'''
DATASET = '''
"""Slopes that lean to the right."""

import numpy as np

from sslbench import register_dataset
from sslbench.datasets import Dataset, DatasetSpec, ImageArray, Normals, Split

PIXELS = np.zeros((6, 8, 8, 3), np.uint8)


def read(row):
    lean = np.array([0.2 + 0.1 * row, 0.0, 1.0], np.float32)
    return np.broadcast_to(lean / np.linalg.norm(lean), (8, 8, 3))


def load(settings):
    splits = {
        name: Split(name, ImageArray("black", PIXELS), Normals(read, "leaning-1", np.arange(6)))
        for name in ("train", "val", "test")
    }
    return Dataset("leaning", (), splits, metric=None)


register_dataset(DatasetSpec("leaning", load, 0, "slopes", "MIT", "drawn", metric=None, targets=Normals))
'''
BACKBONE = """
import sslbench
from torch import nn


class Weighted(nn.Module):
    input_size = 8

    def __init__(self, count):
        super().__init__()
        self.weights = nn.Linear(count, 1, bias=False)
        nn.init.zeros_(self.weights.weight)

    def forward(self, images):
        return images.mean(dim=(2, 3))


sslbench.register_backbone("light", lambda: Weighted(1))
sslbench.register_backbone("heavy", lambda: Weighted(50))
"""
CONFTEST = """
from pathlib import Path

import sslbench.protocols

HERE = Path(__file__).parent
sslbench.protocols.__path__.append(str(HERE / "protocols"))
sslbench.protocols.register_package("sslbench.protocols", [str(HERE / "protocols")])
import leaning, networks
"""
TEST = """
import pytest


@pytest.mark.sslbench(protocol="slopes")
def test_slopes(sslbench_record):
    assert sslbench_record.main.unit == "degrees"
"""
BOTH = ("--sslbench-backbones", "light,heavy", "--sslbench-tasks", "slopes/leaning/1steps,slopes/leaning/4steps")


@pytest.fixture
def added(project, monkeypatch):
    # Put back afterwards: runs in this process append to it.
    monkeypatch.setattr(protocols, "__path__", list(protocols.__path__))
    (project.path / "protocols").mkdir()
    (project.path / "protocols/slopes.py").write_text(PROTOCOL)
    (project.path / "leaning.py").write_text(DATASET)
    (project.path / "networks.py").write_text(BACKBONE)
    project.conftest(CONFTEST)
    project.tests(TEST)
    return project


def test_a_protocol_of_a_new_kind_is_one_file_and_its_test(added, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(added.path))
    result = added.run_alone("--strict-markers", *BOTH)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["degrees, lower is better: *leaning/1steps*"])
    records = added.records()
    assert set(records) == {f"{name}|slopes/leaning/{steps}steps" for name in ("light", "heavy") for steps in (1, 4)}
    scores = {case: record["scores"]["mean_angle"] for case, record in records.items()}
    assert all(score["unit"] == "degrees" and score["higher_is_better"] is False for score in scores.values())
    # The heavy one leans far too much.
    assert scores["light|slopes/leaning/4steps"]["value"] < scores["heavy|slopes/leaning/4steps"]["value"]
    one = records["light|slopes/leaning/1steps"]
    assert (one["paired"]["kind"], one["paired"]["images"], one["task"]["guess"]) == ("resamples", 6, None)
    assert (one["verdict"], one["references"], one["hyperparameters"]) == ("no-reference", {}, {"pixels": "all"})
    assert len(list((added.cache / "trials").glob("*.json"))) >= 4
    summary = (added.path / "results/chosen/summary.md").read_text()
    assert "| leaning/1steps (degrees, lower is better) |" in summary
    # Marked as its declaration says, and resumed.
    result = added.run("--strict-markers", "-m", "dense and steep", *BOTH)
    result.assert_outcomes(passed=4)
    assert added.records() == records
    added.run("-m", "not dense", *BOTH).assert_outcomes(deselected=4)
    # The gate and `compare` know which way is worse.
    light, heavy = (added.path / f"{name}.json" for name in ("light", "heavy"))
    for path, name in ((light, "light"), (heavy, "heavy")):
        path.write_text(json.dumps([record for case, record in records.items() if case.startswith(name)]))
    added.run(*BOTH[2:], "--sslbench-backbones", "heavy", f"--sslbench-baseline={light}#light").assert_outcomes(
        failed=2
    )
    added.run(*BOTH[2:], "--sslbench-backbones", "light", f"--sslbench-baseline={heavy}#heavy").assert_outcomes(
        passed=2
    )
    assert main(["compare", str(light), str(heavy)]) == 0
    assert "degrees, 95 % interval" in (told := capsys.readouterr().out)
    assert "lower is better (p = " in told


def test_a_protocol_gets_no_case_of_other_targets(added):
    added.run("--sslbench-backbones", "light", "--sslbench-tasks", "slopes/digits").stderr.fnmatch_lines(
        ["*'slopes/digits' names no task: slopes takes surface normals, but digits has one class an image*"]
    )
    added.run("--sslbench-backbones", "light", "--sslbench-tasks", "knn/leaning").stderr.fnmatch_lines(
        ["*'knn/leaning' names no task: knn takes one class an image, but leaning has surface normals*"]
    )
