"""The Python API: extract and evaluate without pytest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import sslbench
from sslbench.errors import DataError, FeatureError, UnknownNameError

COLUMNS = [
    *("backbone", "task", "protocol", "dataset", "variant", "score", "value", "stderr", "ci_low", "ci_high", "n"),
    *("unit", "guess", "reference", "tolerance", "verdict", "unsolved"),
    *("extract_s", "fit_s", "score_s", "images_per_second", "created"),
]


class Means(nn.Module):
    input_size = 8
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 2).flatten(1)


class Broken(Means):
    def forward(self, images):
        return super().forward(images) * torch.nan


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sslbench.Settings:
    monkeypatch.chdir(tmp_path)
    return sslbench.Settings(cache_dir=cache, device="cpu", results_dir=tmp_path / "results")


def test_evaluate_a_module(settings, tmp_path):
    frame = sslbench.evaluate(Means(), ["knn/digits", "fewshot/digits/5shot"], settings=settings)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == COLUMNS
    assert frame["task"].tolist() == ["fewshot/digits/5shot", "knn/digits"]
    assert frame["backbone"].tolist() == ["Means", "Means"]
    assert frame["protocol"].tolist() == ["fewshot", "knn"]
    assert frame["variant"].tolist() == ["5shot", ""]
    assert frame["score"].tolist() == ["accuracy", "top1"]
    assert frame["n"].tolist() == [600, 359]
    assert (frame["value"] > 80).all()
    assert (frame["ci_low"] < frame["value"]).all()
    assert (frame["value"] < frame["ci_high"]).all()
    assert frame["verdict"].tolist() == ["no-reference"] * 2
    # Nothing but features is written.
    assert list(tmp_path.iterdir()) == []


def test_evaluate_by_name(settings):
    frame = sslbench.evaluate("pixels", "knn/digits", settings=settings)
    assert list(frame.columns) == COLUMNS
    (row,) = frame.to_dict("records")
    assert (row["backbone"], row["task"]) == ("pixels", "knn/digits")
    assert row["value"] > 90


def test_evaluate_a_backbone_object_and_repeat(settings):
    backbone = sslbench.load_backbone("pixels")
    values = [sslbench.evaluate(b, "knn/digits", settings=settings)["value"].item() for b in (backbone, "pixels")]
    assert values[0] == values[1]


def test_evaluate_by_a_glob_of_the_suite(settings):
    frame = sslbench.evaluate(Means(), "knn/world-c*", settings=settings)
    assert frame["task"].tolist() == ["knn/world-colour", "knn/world-count"]


def test_evaluate_takes_several_tasks_in_one_text(settings, tmp_path):
    frame = sslbench.evaluate(Means(), "knn/digits, fewshot/digits/5shot", settings=settings)
    assert frame["task"].tolist() == ["fewshot/digits/5shot", "knn/digits"]
    with pytest.raises(DataError, match=r"there is no folder .*/lr=0.1,wd=1"):
        sslbench.evaluate(Means(), r"knn/folder:lr=0.1\,wd=1", settings=settings)


def test_evaluate_does_not_train(settings):
    class Normed(Means):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images):
            return super().forward(self.norm(images))

    network = Normed().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sslbench.evaluate(network, "knn/digits", settings=settings)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_extract_gives_features_and_targets_row_by_row(settings):
    sizes = {"train": 0, "val": 0, "test": 0}
    dataset = sslbench.load_dataset("digits", settings)
    for split in sizes:
        x, targets = sslbench.extract(Means(), "digits", split, settings=settings)
        assert x.dtype == np.float32
        assert targets.dtype == np.int64
        assert x.shape == (len(targets), 3 * 4 * 4)
        assert np.array_equal(targets, dataset.splits[split].targets.values)
        images = dataset.splits[split].images.load(range(5)).astype(np.float64)
        expected = images.reshape(5, 4, 2, 4, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(5, -1) / 255
        assert np.allclose(x[:5], expected, atol=1e-5)
        sizes[split] = len(x)
    assert sum(sizes.values()) == 1797
    assert len(sslbench.extract(Means(), "digits", settings=settings)[0]) == sizes["train"]


def test_features_come_from_the_cache_the_second_time(settings, tmp_path):
    from dataclasses import replace

    settings = replace(settings, cache_dir=tmp_path / "cold")
    calls = []

    class Counted(Means):
        def forward(self, images):
            calls.append(len(images))
            return super().forward(images)

    first, _ = sslbench.extract(Counted(), "digits", "test", settings=settings)
    # Beside the pictures of the dataset there are the two by which a network is known again.
    looks = [count for count in calls if count == 2]
    assert sum(calls) - sum(looks) == len(first)
    calls.clear()
    second, _ = sslbench.extract(Counted(), "digits", "test", settings=settings)
    assert calls == looks
    assert np.array_equal(first, second)


def test_what_cannot_be_used_is_said(settings, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown split of digits 'tset'; nearest: test"):
        sslbench.extract(Means(), "digits", "tset", settings=settings)
    with pytest.raises(UnknownNameError, match="nearest: digits"):
        sslbench.extract(Means(), "digit", settings=settings)
    with pytest.raises(UnknownNameError, match="unknown dataset 'digit'"):
        sslbench.evaluate(Means(), "knn/digit", settings=settings)
    with pytest.raises(UnknownNameError, match="matches no task"):
        sslbench.evaluate(Means(), "zzz*", settings=settings)
    with pytest.raises(UnknownNameError, match="unknown suite 'embeded'"):
        sslbench.evaluate(Means(), suite="embeded", settings=settings)
    with pytest.raises(FeatureError, match="Broken gave NaN or infinite features for image 0 of digits:"):
        sslbench.extract(Broken(), "digits", settings=settings)
    with pytest.raises(DataError, match="there is no folder"):
        sslbench.extract(Means(), f"folder:{tmp_path / 'none'}", settings=settings)


def test_names_and_datasets(settings):
    assert "knn/digits" in sslbench.list_tasks()
    assert sslbench.list_tasks("knn/digi*") == ["knn/digits"]
    assert len(sslbench.list_tasks(suite_name="embedded")) == 23
    assert sslbench.list_backbones("p*s") == ["pixels"]
    assert "digits" in sslbench.list_datasets("digi*")
    dataset = sslbench.load_dataset("digits", settings)
    assert dataset.classes == tuple("0123456789")
    assert set(dataset.splits) == {"train", "val", "test"}
    sources = [split.images.fingerprint for split in dataset.splits.values()]
    assert len(set(sources)) == 3


def test_the_callers_network_is_left_as_it_was(tmp_path):
    import torch
    from torch import nn

    import sslbench

    class Small(nn.Module):
        input_size = 8

        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, 2)

        def forward(self, images):
            return self.fc(self.body(images).mean(dim=(2, 3)))

    net = Small().train()
    table = sslbench.evaluate(net, "knn/digits", settings=sslbench.Settings(cache_dir=tmp_path))
    assert len(table) == 1
    assert isinstance(net.fc, nn.Linear) and net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 2)
