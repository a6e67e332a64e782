"""The runner: from a case to a record."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn

from sslbench.backbones import Backbone
from sslbench.backbones.options import Options
from sslbench.backbones.python_source import wrap
from sslbench.config import Settings
from sslbench.datasets import Dataset, DatasetSpec, LabelSets, Split, registry
from sslbench.errors import BackboneError, DataError
from sslbench.metrics import METRICS, Score
from sslbench.metrics.calibration_scores import calibration_scores
from sslbench.protocols import classification
from sslbench.protocols.knn import NearestNeighbours
from sslbench.results import references
from sslbench.results.record import unpack_paired
from sslbench.results.runs import Run
from sslbench.runner import BACKBONES_HELD, Case, Runner
from sslbench.tasks import Task
from tests.conftest import Registries
from tests.pictures import Pictures

COLOURS = 5


class Means(nn.Module):
    input_size = 4
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images.mean(dim=(2, 3)) * self.weight


def backbone(name="means", weight=1.0):
    network = Means()
    with torch.no_grad():
        network.weight.fill_(weight)
    return wrap(name, network, Options(name, {}), recipe="test")


class Spy:
    """A dataset of five colours that notes which split is read when."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.metric = "top1"
        self.shift = 0
        self.sizes = {"train": 60, "val": 60, "test": 60}
        self.classes = COLOURS
        self.unreadable: dict[str, list[int]] = {}

    def targets(self, name: str, count: int) -> np.ndarray:
        return np.arange(count, dtype=np.int64) % self.classes

    def load(self, settings: Settings) -> Dataset:
        splits = {}
        for seed, (name, count) in enumerate(self.sizes.items()):
            rng = np.random.default_rng(seed)
            palette = np.random.default_rng(99).integers(40, 200, size=(COLOURS, 3)) + self.shift
            shown = palette[np.arange(count) % COLOURS][:, None, None]
            images = (shown + rng.integers(-40, 40, size=(count, 4, 4, 3))).astype(np.uint8)
            unreadable = self.unreadable.get(name, [])

            def read(row, *, name=name, images=images, unreadable=unreadable):
                if name not in self.read[-1:]:
                    self.read.append(name)
                return None if row in unreadable else Image.fromarray(images[row])

            digest = hashlib.sha256(images.tobytes() + bytes(unreadable)).hexdigest()[:16]
            splits[name] = Split(name, Pictures(f"spy:{digest}", count, read), self.targets(name, count))
        return Dataset("spy", tuple("abcde"), splits, self.metric, details={"drawn": "here"})


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch, registries: Registries):
    spy = Spy()
    monkeypatch.setattr(references, "embedded_references", dict)
    registry.register_dataset(DatasetSpec("spy", spy.load, COLOURS, "colours", "MIT", "drawn"))
    yield spy


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", device="cpu")


CALIBRATION = ("ece", "ace", "mce", "brier", "nll", "ece_scaled", "ece_scaled_val")


def prepare(settings, task, run=None, built=None):
    runner = Runner(settings, run)
    built = built or backbone()
    runner.add_backbone(built)
    return runner.prepare(Case(built.name, task))


KNN = Task("knn", "spy")


def test_names_and_ids():
    case = Case("net", Task("fewshot", "spy", "5shot"))
    assert (case.name, case.id) == ("net|fewshot/spy/5shot", "net-spy-5shot")
    assert Case("net", KNN).id == "net-spy"


def test_preparing_reads_no_image(spy, settings):
    case = prepare(settings, KNN)
    assert len(case.key) == 32
    assert spy.read == []


def test_the_test_split_is_opened_after_selection(spy, settings, monkeypatch):
    seen = []
    fit = NearestNeighbours.learn

    def watched(self, *args, **kwargs):
        seen.append(list(spy.read))
        predictor = fit(self, *args, **kwargs)
        seen.append(list(spy.read))
        return predictor

    monkeypatch.setattr(NearestNeighbours, "learn", watched)
    prepare(settings, KNN).execute()
    assert seen == [["train", "val"], ["train", "val"]]
    assert spy.read == ["train", "val", "test"]


def test_scores_are_those_of_the_stored_decisions(spy, settings, tmp_path):
    run = Run(tmp_path / "run")
    record = prepare(settings, KNN, run).execute()
    samples = load_file(run.record_path(record.case).parent / record.samples["path"])
    right = samples["decision"].argmax(axis=1) == samples["targets"]
    assert record.main.value == pytest.approx(100 * right.mean())
    assert set(record.scores) == {"top1", "mean_per_class", *CALIBRATION}
    assert unpack_paired(record.paired).tolist() == right.tolist()
    assert 20 < record.main.value <= 100
    assert record.task["details"] == {"drawn": "here"}
    assert run.read(record.case) == record


@pytest.mark.parametrize("protocol", ["knn", "linear"])
def test_calibration_is_that_of_the_stored_decisions(protocol, spy, settings, tmp_path):
    spy.targets = lambda name, count: (np.arange(count) + (np.arange(count) % 7 == 0)) % COLOURS
    run = Run(tmp_path / "run")
    record = prepare(settings, Task(protocol, "spy"), run).execute()
    samples = load_file(run.record_path(record.case).parent / record.samples["path"])
    found = calibration_scores(samples["decision"], samples["targets"])
    # Stored in float32.
    for name in ("ece", "mce", "brier", "nll", "ece_scaled"):
        assert record.scores[name]["value"] == pytest.approx(found.scores[name].value, rel=1e-4, abs=1e-3)
    np.testing.assert_allclose(samples["reliability"], found.reliability, atol=1e-5)
    assert record.paired["others"].keys() == set(CALIBRATION)
    for name, packed in record.paired["others"].items():
        score, values = Score.from_json(record.scores[name]), unpack_paired(packed)
        assert (packed["kind"], packed["n"], packed["images"]) == ("resamples", 200, score.n)
        assert values.std(ddof=1) == pytest.approx(score.stderr, rel=1e-4, abs=1e-7)
    temperatures = record.hyperparameters["ece_temperatures"]
    assert temperatures["ece_scaled"] == pytest.approx(found.temperatures["ece_scaled"], rel=1e-3)
    assert temperatures["ece_scaled_val"] > 0
    assert run.read(record.case) == record


def test_a_record_from_before_calibration_scores_is_run_again(spy, settings, tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    keys = {task: prepare(settings, task).key for task in (KNN, LINEAR, Task("fewshot", "spy", "5shot"))}
    monkeypatch.setattr(classification, "CALIBRATION_VERSION", 2)
    changed = {task: prepare(settings, task).key for task in keys}
    assert {task for task in keys if keys[task] != changed[task]} == {KNN, LINEAR}
    # A record of earlier versions is read and lacks them.
    record = prepare(settings, KNN, run).execute()
    older = {name: score for name, score in record.scores.items() if name in ("top1", "mean_per_class")}
    paired = {name: value for name, value in record.paired.items() if name != "others"}
    run.write(replace(record, scores=older, paired=paired, key="of before"))
    assert set(run.read(record.case).scores) == {"top1", "mean_per_class"}
    assert prepare(settings, KNN, run).resume() is None


def test_a_record_is_resumed_with_or_without_outcomes_to_pair(spy, settings, tmp_path):
    run = Run(tmp_path / "run")
    record = prepare(settings, KNN, run).execute()
    assert prepare(settings, KNN, run).resume() == record
    run.write(replace(record, paired={}))
    assert prepare(settings, KNN, run).resume() == replace(record, paired={})


def test_the_metric_of_the_dataset_is_the_main_score(spy, settings):
    spy.metric = "mean_per_class"
    assert prepare(settings, KNN).execute().main_score == "mean_per_class"


@pytest.mark.parametrize("metric", ["auroc", "map"])
def test_a_ranking_metric_comes_with_resamples_and_the_accuracies(metric, spy, settings, tmp_path):
    spy.metric = metric
    spy.targets = lambda name, count: (np.arange(count) + (np.arange(count) % 7 == 0)) % COLOURS
    run = Run(tmp_path / "run")
    record = prepare(settings, Task("linear", "spy"), run).execute()
    samples = load_file(run.record_path(record.case).parent / record.samples["path"])
    score, resampled = METRICS[metric].resampled(samples["decision"], samples["targets"])
    assert record.main_score == metric
    assert set(record.scores) == {metric, "top1", "mean_per_class", *CALIBRATION}
    assert record.main.value == pytest.approx(score.value)
    assert (record.paired["kind"], record.paired["images"]) == ("resamples", 60)
    np.testing.assert_allclose(unpack_paired(record.paired), resampled, rtol=1e-6)
    assert 60 < record.main.value < 100
    assert record.hyperparameters["val_score"] <= 100


def test_the_record_says_what_guessing_scores(spy, settings):
    before = prepare(settings, KNN).key
    assert prepare(settings, KNN).execute().task["guess"] == pytest.approx(20)
    assert prepare(settings, Task("fewshot", "spy", "5shot")).execute().task["guess"] == 20
    spy.metric = "auroc"
    assert prepare(settings, KNN).execute().task["guess"] == 50
    spy.metric, spy.classes = "top1", 2
    assert prepare(settings, KNN).execute().task["guess"] == pytest.approx(50)
    spy.classes = COLOURS
    assert prepare(settings, KNN).key == before


LINEAR, SHOTS = Task("linear", "spy"), Task("fewshot", "spy", "50shot")


def without(spy, split, *classes):
    """No image of these classes in a split."""
    targets = spy.targets

    def changed(name, count):
        given = targets(name, count)
        return np.where(np.isin(given, classes), 4, given) if name == split else given

    spy.targets = changed


@pytest.mark.parametrize(
    ("task", "metric", "lacking", "told"),
    [
        (
            SHOTS,
            "top1",
            (),
            r"fewshot/spy/50shot: 50 shots .* of 5 of 5 classes: 'a' 36, 'b' 36, 'c' 36, 'd' 36, 'e' 36",
        ),
        (LINEAR, "top1", ("train", 1, 2), r"linear/spy: the training split has no image with the classes 'b', 'c'"),
        (
            LINEAR,
            "auroc",
            ("test", 1, 2),
            r"auroc has no value on the test split, .* no image with the classes 'b', 'c'",
        ),
        (LINEAR, "map", ("val", 0), r"map has no value on the val split, which has no image with the class 'a'"),
        (KNN, "map", ("test", 0), r"knn/spy: the metric map has no value on the test split"),
        (KNN, "voc_map11", (), r"spy has one class an image, .* its metric may be top1, mean_per_class, auroc, map"),
    ],
)
def test_what_the_targets_tell_is_told_before_a_picture_is_read(
    task, metric, lacking, told, spy, settings, monkeypatch
):
    loaded = []
    monkeypatch.setattr(Runner, "backbone", lambda self, name: loaded.append(name))
    spy.metric = metric
    if lacking:
        without(spy, *lacking)
    with pytest.raises(DataError, match=told):
        prepare(settings, task)
    assert (spy.read, loaded) == ([], [])


def test_nearest_neighbours_select_nothing_and_need_no_class_in_validation(spy, settings):
    spy.metric = "auroc"
    without(spy, "val", 1, 2)
    assert prepare(settings, KNN).execute().main_score == "auroc"


def test_several_labels_need_a_protocol_and_a_metric_that_take_them(spy, settings, registries):
    targets = spy.targets
    spy.targets = lambda name, count: (targets(name, count)[:, None] == np.arange(COLOURS)).astype(np.int8)
    with pytest.raises(DataError, match=r"declared with one class .* gives several .*; declare targets=LabelSets"):
        prepare(settings, LINEAR)
    registries.redeclare(DatasetSpec("spy", spy.load, COLOURS, "colours", "MIT", "drawn", targets=LabelSets))
    with pytest.raises(
        DataError, match=r"linear/spy: spy has several classes an image, which the metric top1 does not"
    ):
        prepare(settings, LINEAR)
    for task in (KNN, SHOTS):
        with pytest.raises(
            DataError, match="this protocol takes one class an image, but spy has several classes an image"
        ):
            prepare(settings, task)
    assert spy.read == []
    spy.metric = "auroc"
    record = prepare(settings, LINEAR).execute()
    assert (list(record.scores), record.task["guess"]) == (["auroc"], 50)
    spy.metric = "map"
    assert prepare(settings, LINEAR).execute().task["guess"] == pytest.approx(20)


def test_absent_and_empty_splits_are_named(spy, settings):
    spy.sizes = {"train": 60, "test": 0}
    with pytest.raises(
        DataError, match=r"needs the splits train, val, test of spy, which has train, test, of which test w"
    ):
        prepare(settings, KNN)


def test_images_that_were_left_out_may_make_a_class_too_small(spy, settings):
    """What the targets alone could not tell is told when the pictures have been read."""
    spy.unreadable = {"train": [row for row in range(60) if row % COLOURS == 3]}
    with pytest.raises(DataError, match=r"no image with the class 'd'.*Unreadable images were left out: 12 of train$"):
        prepare(settings, LINEAR).execute()
    spy.unreadable["val"] = spy.unreadable["train"]
    told = (
        r"need 20 images of each class; fewer are there of 1 of 5 classes: 'd' 12\..* left out: 12 of train, 12 of val$"
    )
    with pytest.raises(DataError, match=told):
        prepare(settings, Task("fewshot", "spy", "5shot")).execute()
    spy.unreadable, spy.metric = {"test": [row for row in range(60) if row % COLOURS == 1]}, "auroc"
    with pytest.raises(DataError, match=r"auroc has no value on the test split, .* 'b'.*left out: 12 of test$"):
        prepare(settings, KNN).execute()


def test_few_shot_pools_all_splits_and_states_its_draws(spy, settings):
    record = prepare(settings, Task("fewshot", "spy", "5shot")).execute()
    assert sorted(spy.read) == ["test", "train", "val"]
    assert record.task["version"].startswith("1:draws-")
    assert record.hyperparameters == {"way": 5, "shot": 5, "query": 15, "episodes": 600}
    right = unpack_paired(record.paired)
    assert record.main.value == pytest.approx(100 * (right / 75).mean())


def test_without_a_run_nothing_but_features_is_kept(spy, settings, tmp_path):
    record = prepare(settings, KNN).execute()
    assert record.samples is None
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_extraction_is_counted_once(spy, settings):
    first, second = (prepare(settings, KNN).execute() for _ in range(2))
    assert first.timings["extract"] > 0
    assert first.timings["images_per_second"] == pytest.approx(180 / first.timings["extract"])
    assert second.timings["extract"] == 0
    assert second.timings["images_per_second"] is None
    assert second.scores == first.scores


def test_the_key_changes_with_every_ingredient(spy, settings):
    keys = {"as it is": prepare(settings, KNN).key}
    keys["weights"] = prepare(settings, KNN, built=backbone(weight=2.0)).key
    keys["dtype"] = prepare(replace(settings, dtype="bfloat16"), KNN).key
    keys["task"] = prepare(settings, Task("linear", "spy")).key
    keys["variant"] = prepare(settings, Task("fewshot", "spy", "5shot")).key
    keys["other variant"] = prepare(settings, Task("fewshot", "spy", "20shot")).key
    other = backbone()
    other.preprocessing = replace(other.preprocessing, mean=(0.5, 0.5, 0.5))
    keys["preprocessing"] = prepare(settings, KNN, built=other).key
    pooled = backbone()
    pooled.pooling = "avg"
    keys["pooling"] = prepare(settings, KNN, built=pooled).key
    spy.metric = "mean_per_class"
    keys["metric"] = prepare(settings, KNN).key
    spy.metric, spy.shift = "top1", 1
    keys["images"] = prepare(settings, KNN).key
    assert len(set(keys.values())) == len(keys)


def test_the_key_does_not_change_with_place_or_batch(spy, settings, tmp_path):
    elsewhere = replace(settings, cache_dir=tmp_path / "other", batch_size=7)
    assert prepare(settings, KNN).key == prepare(elsewhere, KNN).key


def test_weights_that_change_in_place_give_another_record(spy, settings, tmp_path):
    run, built = Run(tmp_path / "run"), backbone()
    first = prepare(settings, KNN, run, built).execute()
    built.network.module.weight.data.mul_(-3)
    case = prepare(settings, KNN, run, built)
    assert case.resume() is None
    second = case.execute()
    assert second.backbone["digest"] != first.backbone["digest"]
    assert second.key != first.key
    assert second.timings["extract"] > 0
    # The same case once more, after another change.
    built.network.module.weight.data.mul_(-3)
    third = case.execute()
    assert len({first.key, second.key, third.key}) == 3
    assert third.timings["extract"] > 0


def test_a_network_that_changes_under_a_prepared_case_is_told(spy, settings):
    built = backbone()
    case = prepare(settings, KNN, built=built)
    assert case.key
    built.network.module.weight.data.mul_(3)
    with pytest.raises(BackboneError, match="means: the network was changed after its case had been prepared"):
        case.execute()
    assert spy.read == []


def test_a_case_looks_at_its_network_once_and_again_before_it_extracts(spy, settings, tmp_path, monkeypatch):
    looks, look = [], Backbone.look
    monkeypatch.setattr(Backbone, "look", lambda self: looks.append(self.name) or look(self))
    settings = replace(settings, extraction="exact")
    case = prepare(settings, KNN, Run(tmp_path / "run"))
    assert case.resume() is None
    case.execute()
    assert len(looks) == 2
    looks.clear()
    warm = prepare(settings, KNN, Run(tmp_path / "other"))
    warm.resume()
    warm.execute()
    assert len(looks) == 1


def test_a_record_is_resumed_by_its_key_only(spy, settings, tmp_path):
    run = Run(tmp_path / "run")
    assert prepare(settings, KNN, run).resume() is None
    record = prepare(settings, KNN, run).execute()
    assert prepare(settings, KNN, run).resume() == record
    assert prepare(settings, KNN, run, backbone(weight=2.0)).resume() is None
    assert prepare(settings, KNN).resume() is None


def test_a_resumed_record_is_judged_by_todays_reference(spy, settings, tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    record = prepare(settings, KNN, run).execute()
    assert record.verdict == "no-reference"
    better = {**record.scores["top1"], "value": record.main.value + 50}
    reference = replace(record, scores={**record.scores, "top1": better})
    monkeypatch.setattr(references, "embedded_references", lambda: {record.case: reference})
    resumed = prepare(settings, KNN, run).resume()
    assert resumed.verdict == "below"
    assert resumed.reference["value"] == better["value"]
    assert resumed.scores == record.scores


def test_few_backbones_are_held(spy, settings, monkeypatch):
    import sslbench.runner

    loaded = []
    monkeypatch.setattr(sslbench.runner, "load_backbone", lambda name, **_: loaded.append(name) or backbone(name))
    runner = Runner(settings)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert runner.backbone(name).name == name
    assert BACKBONES_HELD == 2
    # c pushes b out, the least recently used one; a stays.
    assert loaded == ["a", "b", "c", "b"]
