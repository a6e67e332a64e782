"""The runner: from a case to a record."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from sslbench.backbones.options import Options
from sslbench.backbones.python_source import wrap
from sslbench.config import Settings
from sslbench.datasets import Dataset, DatasetSpec, ImageSource, Split, registry
from sslbench.protocols.knn import NearestNeighbours
from sslbench.results import references
from sslbench.results.record import unpack_paired
from sslbench.results.runs import Run
from sslbench.runner import BACKBONES_HELD, Case, Runner
from sslbench.tasks import Task

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

    def load(self, settings: Settings) -> Dataset:
        splits = {}
        for seed, (name, count) in enumerate({"train": 60, "val": 20, "test": 40}.items()):
            rng = np.random.default_rng(seed)
            targets = np.arange(count, dtype=np.int64) % COLOURS
            palette = np.random.default_rng(99).integers(40, 200, size=(COLOURS, 3)) + self.shift
            images = (palette[targets][:, None, None] + rng.integers(-40, 40, size=(count, 4, 4, 3))).astype(np.uint8)

            def read(start, stop, *, name=name, images=images):
                self.read.append(name)
                return images[start:stop]

            digest = hashlib.sha256(images.tobytes()).hexdigest()[:16]
            splits[name] = Split(name, ImageSource(f"spy:{digest}", count, read), targets)
        return Dataset("spy", tuple("abcde"), splits, self.metric, details={"drawn": "here"})


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch):
    spy = Spy()
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    monkeypatch.setattr(references, "embedded_references", dict)
    registry.register_dataset(DatasetSpec("spy", spy.load, COLOURS, "colours", "MIT", "drawn"))
    yield spy


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", device="cpu")


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
    fit = NearestNeighbours.fit

    def watched(self, *args, **kwargs):
        seen.append(list(spy.read))
        predictor = fit(self, *args, **kwargs)
        seen.append(list(spy.read))
        return predictor

    monkeypatch.setattr(NearestNeighbours, "fit", watched)
    prepare(settings, KNN).execute()
    assert seen == [["train", "val"], ["train", "val"]]
    assert spy.read == ["train", "val", "test"]


def test_scores_are_those_of_the_stored_decisions(spy, settings, tmp_path):
    run = Run(tmp_path / "run")
    record = prepare(settings, KNN, run).execute()
    samples = load_file(run.record_path(record.case).parent / record.samples["path"])
    right = samples["decision"].argmax(axis=1) == samples["targets"]
    assert record.main.value == pytest.approx(100 * right.mean())
    assert set(record.scores) == {"top1", "mean_per_class"}
    assert unpack_paired(record.paired).tolist() == right.tolist()
    assert 20 < record.main.value <= 100
    assert record.task["details"] == {"drawn": "here"}
    assert run.read(record.case) == record


def test_a_record_without_outcomes_to_pair_is_not_resumed(spy, settings, tmp_path):
    run = Run(tmp_path / "run")
    record = prepare(settings, KNN, run).execute()
    assert prepare(settings, KNN, run).resume() == record
    run.write(replace(record, paired={}))
    assert prepare(settings, KNN, run).resume() is None


def test_the_metric_of_the_dataset_is_the_main_score(spy, settings):
    spy.metric = "mean_per_class"
    assert prepare(settings, KNN).execute().main_score == "mean_per_class"


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
    assert first.timings["images_per_second"] == pytest.approx(120 / first.timings["extract"])
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


def test_workers_share_the_cores(settings, monkeypatch):
    import sslbench.runner

    before = torch.get_num_threads()
    monkeypatch.setattr(sslbench.runner.os, "cpu_count", lambda: 8)
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    try:
        Runner(settings)
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "100")
        Runner(settings)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
