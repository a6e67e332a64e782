"""From published files to records: a checkpoint and a dataset in their real formats, through the suite `paper`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.datasets.published.builders import ade20k, build, nyuv2, voc_detection

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def settings(full_state: dict[str, Tensor], scratch: Path) -> list[str]:
    """Options that name a cache with SwAV's file as it is fetched, and Flowers with five classes of 35 images."""
    files = scratch / "cache" / "checkpoints" / "files"
    files.mkdir(parents=True)
    head = {"module.prototypes.weight": torch.rand(3000, 128)}
    torch.save({**{f"module.{k}": v for k, v in full_state.items()}, **head}, files / "swav_800ep_pretrain.pth.tar")
    build("flowers", scratch / "data", classes=5, sizes={"train": 20, "val": 8, "test": 7})
    return [f"--sslbench-{name}={scratch / name}" for name in ("cache", "data", "results")]


def test_swav_on_flowers(settings: list[str], scratch: Path) -> None:
    command = [
        sys.executable, "-m", "pytest", "benchmarks", "--sslbench-suite", "paper", "-k", "swav and flowers",
        "-m", "not slow", "--sslbench-offline", *settings,
    ]  # fmt: skip
    refused = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "flowers: the files in" in refused.stdout
    assert "expected 102 classes, found 5" in refused.stdout
    assert "2 errors" in refused.stdout
    done = subprocess.run(
        [*command, "--sslbench-check-data", "loose"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    results = scratch / "results" / "paper"
    records = [json.loads(path.read_text()) for path in sorted((results / "records").rglob("*.json"))]
    assert [record["case"] for record in records] == ["swav|fewshot/flowers/20shot", "swav|linear/flowers"]
    fewshot, linear = records
    for record in records:
        assert record["backbone"]["details"]["source"] == "checkpoint:swav"
        assert record["references"] == {}  # a published figure is for the published images
    assert fewshot["task"]["compat"] == {"fewshot-geometry": "official", "fewshot-pool": "with-val"}
    assert fewshot["backbone"]["preprocessing"]["resize"] != linear["backbone"]["preprocessing"]["resize"]
    assert linear["backbone"]["preprocessing"]["input_size"] == [224, 224]
    # Nor is a score on other images shown beside it.
    score = linear["scores"]["mean_per_class"]["value"]
    assert f"| swav |{' – |' * 6} {score:.1f} | – |" in (results / "study.md").read_text()
    # Of the same converted file, what trains and what looks at pixels: a tenth of Flowers' labels and one step a training, VOC in
    # its own layout, ADE20K and NYU Depth v2 in their own formats, all with small pictures.
    voc_detection(scratch / "data")
    ade20k(scratch / "data", 10, lists=True, sides=(60, 80))
    nyuv2(scratch / "data")
    trained = (
        "finetune/flowers/10pct+recipe=quick+steps=1+batch=2", "detection/voc/frozen+steps=2+size=64",
        "segmentation/ade20k/steps=2+size=64+batch=2+scales=single", "normals/nyuv2/steps=2+size=64",
    )  # fmt: skip
    probed = ("segmentation/ade20k/knn+levels=1", "depth/nyuv2-depth/linear+levels=1+grid=5")
    further = [
        *command[:4], "--sslbench-backbones=swav", "--sslbench-check-data=loose", "--sslbench-offline", *settings,
        f"--sslbench-tasks={','.join((*trained, *probed))}",
    ]  # fmt: skip
    done = subprocess.run(further, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "6 passed" in done.stdout, done.stdout + done.stderr
    found = {
        record["task"]["protocol"] + record["task"]["variant"][:6]: record
        for record in (
            json.loads(path.read_text()) for path in (scratch / "results" / "chosen").rglob("records/*.json")
        )
    }
    assert len(found) == 6 and all(record["references"] == {} for record in found.values())
    told = {name: record["hyperparameters"] for name, record in found.items()}
    tuned, shown = found["finetune10pct+"], told["finetune10pct+"]
    assert tuned["main_score"] == "mean_per_class" and tuned["scores"]["mean_per_class"]["n"] == 35
    assert shown["pictures"] == {"train": 10, "val": 5} and shown["trained"] == "161 of 161 tensors"
    assert len(shown["trials"]) == 4
    assert set(tuned["task"]["compat"]) == {"finetune-weight-decay", "finetune-decayed", "finetune-last-batch"}
    detected, shown = found["detectionfrozen"], told["detectionfrozen"]
    assert detected["main_score"] == "AP" and detected["scores"]["AP"]["n"] == 4
    assert shown["trained"] == "26 of 175 tensors of network and pyramid"
    assert (shown["recipe"], shown["steps"], shown["batch"]) == ("study", 2, 2)
    assert shown["pictures"] == {"train": 4, "val": 4} and len(shown["classes_without_test_object"]) >= 15
    assert told["segmentationknn+le"]["grid"] == [7, 7] and told["segmentationknn+le"]["features"] == 2048
    assert found["segmentationknn+le"]["scores"]["mean_iou"]["n"] == 3
    assert told["depthlinear"]["grid"] == [5, 5] and told["depthlinear"]["features"] == 2048
    assert told["segmentationsteps="]["trained"] == "159 of 159 tensors of the network"
    assert told["normalssteps="]["trained"] == "0 of 159 tensors of the network"
    assert told["normalssteps="]["stride"] == [8, 8] and told["normalssteps="]["recipe"] == "study"
