"""What a case is expected to take, against counts of other makers, records of runs, and itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sslbench.config import Settings
from sslbench.datasets.splits import study_validation
from sslbench.engine.cost import SHARED, Cost, expected, needs
from sslbench.engine.costs.devices import DEVICES, device_of
from sslbench.engine.costs.networks import DECLARED, Network, counted, network_of
from sslbench.engine.costs.pictures import Counted, pictures_of
from sslbench.engine.costs.remembered import Remembered
from sslbench.engine.costs.work import DETECTOR, Work, work_of
from sslbench.errors import UnknownNameError
from sslbench.results.record import Record
from sslbench.results.references import read_records
from sslbench.tasks import list_tasks, parse_task

CPU, A100 = DEVICES["cpu"], DEVICES["a100"]
BASELINE = Path(__file__).parents[2] / "results/baselines/embedded.json"


@cache
def records() -> list[Record]:
    return read_records(BASELINE)


def work(backbone: str, task: str) -> Work:
    network, pictures = network_of(backbone), pictures_of(parse_task(task).dataset, Settings())
    assert isinstance(network, Network) and isinstance(pictures, Counted)
    found = work_of(parse_task(task), network, pictures)
    assert isinstance(found, Work)
    return found


def cost(backbone: str, task: str, **more: Any) -> Cost:
    return expected(backbone, parse_task(task), **more)


# GFLOPS of torchvision's tables of weights, of multiplications, the classifier included.
@pytest.mark.parametrize(
    ("arch", "billions", "classifier"),
    [("resnet50", 4.089, 2048e3), ("vit_base_patch16_224", 17.564, 768e3), ("resnet18", 1.814, 512e3)],
)
def test_networks_multiply_as_published(arch, billions, classifier):
    found = counted(arch)
    assert isinstance(found, Network)
    assert (found.macs + classifier) / 1e9 == pytest.approx(billions, abs=0.001)


@pytest.mark.parametrize("key", DECLARED, ids=lambda key: key[0])
def test_what_is_declared_is_what_is_counted(key):
    found = counted(*key)
    assert isinstance(found, Network)
    assert asdict(found) | {"known": "declared"} == asdict(DECLARED[key])


def test_multiplications_are_those_of_each_layer_by_hand():
    import timm
    import torch

    total = 0
    module = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()

    def add(layer, given, out):
        nonlocal total
        total += out.numel() * layer.weight[0].numel()

    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(add)
    with torch.no_grad():
        module(torch.zeros(1, 3, 96, 96))
    found = counted("resnet18", 96)
    assert isinstance(found, Network)
    assert found.macs == total


@pytest.mark.parametrize(
    ("name", "macs", "size"),
    [
        ("swav", 4_087_136_256, 224), ("resnet50?size=112", 4_087_136_256 / 4, 112), ("zoo:mae", 20_005_632, 64),
        ("random-init", 16_392_192, 64), ("random-init:zoo:simclr", 16_392_192, 64),
        ("wheel:efficientnet-lite0?size=64", None, 64),
    ],
)  # fmt: skip
def test_names_stand_for_networks(name, macs, size):
    found = network_of(name)
    assert isinstance(found, Network)
    assert found.size == size
    assert macs is None or found.macs == macs


@pytest.mark.parametrize(
    "name", ["python:module:net", "hub:OWNER/REPO:entry", "nothing_of_timm", "random-init:zoo:nobody"]
)
def test_a_network_that_is_not_known_says_why(name):
    assert isinstance(network_of(name), str)
    found = cost(name, "knn/digits")
    assert found.seconds is None and found.order == float("inf")
    assert found.unknown


def test_a_protocol_of_somebody_else_is_not_known_until_it_has_a_record(registries):
    from sslbench.protocols import ProtocolSpec, register_protocol

    register_protocol(ProtocolSpec("mine", 1, "module:function", "own"))
    found = cost("pixels", "mine/digits")
    assert (found.seconds, found.trains) == (None, False)
    assert "mine is no protocol of this package" in found.unknown[0]
    (record,) = [each for each in records() if each.case == "pixels|knn/digits"]
    data = record.to_json()
    data |= {"case": "pixels|mine/digits", "task": {**data["task"], "id": "mine/digits", "protocol": "mine"}}
    remembered = Remembered.of([Record.from_json(data)])
    assert cost("pixels", "mine/digits", device=CPU, remembered=remembered).order == pytest.approx(
        sum(record.timings[part] for part in ("extract", "fit", "score"))
    )


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_that_is_listed_has_an_estimate(name):
    for backbone in ("swav", "zoo:mae", "pixels"):
        found = cost(backbone, name)
        assert found.seconds is not None and found.seconds > 0
        assert found.gpu_memory > 0 and found.memory > 0


def test_pictures_are_those_of_the_declaration():
    food, aircraft, eurosat = (pictures_of(name, Settings()) for name in ("food", "aircraft", "eurosat"))
    assert isinstance(food, Counted) and isinstance(aircraft, Counted) and isinstance(eurosat, Counted)
    train, val = study_validation(75_750)
    assert food.splits == {"train": len(train), "val": len(val), "test": 25_250}
    assert aircraft.splits == {"train": 3334, "val": 3333, "test": 3333}
    assert (eurosat.all, eurosat.classes) == (27_000, 10)


def test_a_folder_is_counted_and_one_that_is_not_there_says_so(tmp_path):
    from PIL import Image

    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for label in "ab":
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8)).save(tmp_path / split / label / f"{number}.png")
    found = pictures_of(f"folder:{tmp_path}", Settings())
    assert isinstance(found, Counted)
    assert (found.splits, found.known) == ({"train": 6, "val": 4, "test": 2}, "counted")
    assert "there is no folder" in str(pictures_of(f"folder:{tmp_path}/none", Settings()))


# docs/detection.md and docs/dense.md, where a step was counted on the network itself: TFLOP.
@pytest.mark.parametrize(
    ("task", "teraflops"),
    [
        ("detection/voc/frozen", 1.0),
        ("detection/voc/finetune", 1.3),
        ("normals/nyuv2", 1.4),
        ("segmentation/ade20k", 6.0),
    ],
)
def test_a_step_of_the_study_multiplies_as_was_counted(task, teraflops):
    (training,) = work("swav", task).trainings
    assert 2 * training.macs / training.steps / 1e12 == pytest.approx(teraflops, rel=0.1)


def test_the_detector_is_the_study_s():
    from sslbench.heads.faster_rcnn import Design

    design = Design()
    assert {name: getattr(design, name) for name in DETECTOR} == DETECTOR


def of_baseline(protocol: str) -> list[Any]:
    own = [
        record for record in records() if record.task["protocol"] == protocol and "linear" not in record.task["variant"]
    ]
    assert own
    return [pytest.param(record, id=record.case) for record in own[:4]]


@pytest.mark.parametrize("record", of_baseline("finetune"))
def test_a_grid_is_as_a_run_has_recorded_it(record):
    found = work(record.backbone["name"], record.task["id"])
    told = record.hyperparameters
    assert [each.steps for each in found.trainings if each.stage == "search"] == [
        row["steps"] for row in told["trials"]
    ]
    assert [each.steps for each in found.trainings if each.stage == "last"] == [told["steps"]]
    pictures = pictures_of(record.task["dataset"], Settings())
    assert isinstance(pictures, Counted)
    assert {name: pictures.splits[name] for name in ("train", "val")} == told["pictures"]


@pytest.mark.parametrize("record", [*of_baseline("detection"), *of_baseline("segmentation"), *of_baseline("normals")])
def test_steps_are_as_a_run_has_recorded_them(record):
    (training,) = work(record.backbone["name"], record.task["id"]).trainings
    assert training.steps == record.hyperparameters["steps"]


@pytest.mark.parametrize("record", of_baseline("occlusion"))
def test_windows_are_as_a_run_has_recorded_them(record):
    found = work(record.backbone["name"], record.task["id"])
    network = network_of(record.backbone["name"])
    assert isinstance(network, Network)
    told = record.hyperparameters
    assert found.macs == told["pictures"] * (told["windows"] + 1) * network.macs


@pytest.mark.parametrize("record", of_baseline("inversion"))
def test_inversions_are_as_a_run_has_recorded_them(record):
    found = work(record.backbone["name"], record.task["id"])
    assert [each.steps for each in found.trainings] == [record.hyperparameters["steps"]] * len(
        record.hyperparameters["rows"]
    )


def test_successive_halving_trains_fewer_for_longer():
    stages = [(stage.name, stage.trials) for stage in cost("swav", "finetune/pets/search=halving").stages]
    assert stages == [("search", 20), ("search", 5), ("search", 2), ("last", 1)]
    whole, halved = (cost("swav", f"finetune/pets{variant}").seconds for variant in ("", "/search=halving"))
    assert whole is not None and halved is not None and halved < whole / 2


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("finetune/pets/steps=100", "finetune/pets/steps=200"),
        ("finetune/pets/batch=32", "finetune/pets"),
        ("finetune/pets/last-1", "finetune/pets"),
        ("finetune/pets/10pct", "finetune/pets"),
        ("finetune/pets", "finetune/pets/seeds=3"),
        ("finetune/pets", "finetune/food"),
        ("detection/voc/frozen", "detection/voc/finetune"),
        ("detection/voc/frozen+size=400", "detection/voc/frozen"),
        ("detection/voc/frozen+steps=1000", "detection/voc/frozen+steps=2000"),
        ("segmentation/ade20k/encoder=frozen", "segmentation/ade20k"),
        ("segmentation/ade20k/scales=single", "segmentation/ade20k"),
        ("normals/nyuv2/size=225", "normals/nyuv2"),
        ("inversion/pets/steps=100", "inversion/pets/steps=200"),
        ("inversion/pets", "inversion/pets/pictures=2"),
        ("occlusion/pets/stride=2", "occlusion/pets"),
        ("linear/pets", "linear/cars"),
        ("knn/pets", "knn/food"),
        ("fewshot/pets/5shot", "fewshot/pets/20shot"),
        ("segmentation/world-masks/linear+levels=1", "segmentation/world-masks/linear"),
    ],
)  # fmt: skip
def test_more_work_takes_longer(less, more):
    small, large = (cost("resnet50", task).seconds for task in (less, more))
    assert small is not None and large is not None and 0 < small < large


def test_a_larger_network_and_a_slower_device_take_longer():
    small, large = (cost(name, "finetune/pets").seconds for name in ("resnet18", "resnet50"))
    slow, fast = (cost("resnet50", "finetune/pets", device=DEVICES[name]).seconds for name in ("v100", "h100"))
    assert None not in (small, large, slow, fast)
    assert small < large  # type: ignore[operator]
    assert fast < slow  # type: ignore[operator]


def test_a_sum_is_the_sum_of_its_parts():
    found = cost("swav", "finetune/pets")
    parts = sum(stage.trials * stage.seconds for stage in found.stages) + found.extract + found.rest
    assert found.seconds == pytest.approx(parts)
    assert found.trials == sum(stage.trials for stage in found.stages) == 21
    assert found.longest is not None and found.seconds is not None and found.longest < found.seconds / 5


@pytest.mark.parametrize("record", [pytest.param(record, id=record.case) for record in records()[::40]])
def test_a_case_with_a_record_takes_what_it_took(record):
    found = cost(record.backbone["name"], record.task["id"], device=CPU, remembered=Remembered.of([record]))
    times = record.timings
    assert found.seconds == pytest.approx(times["extract"] + times["fit"] + times["score"])
    assert found.said["seconds"].startswith("measured")
    assert found.memory == record.peak_memory["rss"]
    parts = sum(stage.trials * stage.seconds for stage in found.stages) + found.extract + found.rest
    assert parts == pytest.approx(found.seconds)


def test_a_network_that_is_not_known_is_remembered():
    (record,) = [each for each in records() if each.case == "zoo:simclr|knn/digits"]
    renamed = Record.from_json({**record.to_json(), "case": "python:mine:net|knn/digits"})
    found = cost("python:mine:net", "knn/digits", device=CPU, remembered=Remembered.of([renamed]))
    assert found.seconds == pytest.approx(sum(record.timings[part] for part in ("extract", "fit", "score")))
    assert not found.unknown


def test_records_say_which_device_is_meant_where_nobody_does():
    record = records()[0]
    remembered = Remembered.of([record])
    assert remembered.device is CPU
    assert (
        cost(record.backbone["name"], record.task["id"], remembered=remembered).said["seconds"].startswith("measured")
    )
    assert Remembered.of([]).device is None
    assert cost("swav", "linear/pets", remembered=Remembered.of([])) == cost("swav", "linear/pets", device=A100)


def test_a_record_of_another_device_counts_for_nothing():
    plain = cost("zoo:simclr", "finetune/digits/recipe=quick", device=A100)
    found = cost("zoo:simclr", "finetune/digits/recipe=quick", device=A100, remembered=Remembered.of(records()))
    assert found.seconds == plain.seconds
    assert found.said["seconds"].startswith("assumed")


def test_another_network_s_records_scale_the_model_by_the_median_that_it_was_off():
    own = [each for each in records() if each.task["id"] == "finetune/digits/recipe=quick"][:3]
    found = cost("resnet18?size=64", "finetune/digits/recipe=quick", device=CPU, remembered=Remembered.of(own))
    plain = cost("resnet18?size=64", "finetune/digits/recipe=quick", device=CPU)
    off = sorted(
        (each.timings["fit"] + each.timings["score"]) / cost(each.backbone["name"], each.task["id"], device=CPU).order
        for each in own
    )
    assert found.order == pytest.approx(plain.order * off[1])
    assert found.said["seconds"] == "scaled from 3 records of the same task"


def test_every_figure_says_where_it_is_from():
    known = ("measured", "scaled", "assumed")
    for remembered in (None, Remembered.of(records()[::3])):
        for record in records()[::20]:
            said = cost(record.backbone["name"], record.task["id"], device=CPU, remembered=remembered).said
            assert said["seconds"].startswith(known) and said["memory"].startswith(known)
            assert said["network"] in ("declared", "counted") and said["pictures"] in ("declared", "counted")


def test_a_job_that_trains_has_a_gpu_and_small_ones_share_one():
    trained, light = cost("swav", "finetune/pets"), cost("swav", "linear/pets")
    assert (needs(trained, gpus=True).gpus, needs(light, gpus=True).gpus) == (1.0, SHARED)
    assert needs(trained, gpus=False).gpus == 0
    assert needs(cost("python:m:n", "knn/digits"), gpus=True).gpus == 1.0
    assert trained.memory == needs(trained, gpus=True).memory > 1e9


def test_cases_that_share_features_say_so():
    linear, knn, few = (cost("swav", f"{task}").features for task in ("linear/pets", "knn/pets", "fewshot/pets/20shot"))
    # The study shows few-shot networks a picture in another way.
    assert linear == knn != few
    assert cost("byol", "linear/pets").features != linear
    assert cost("zoo:simclr", "knn/world-shape").features == cost("zoo:simclr", "linear/world-colour").features
    assert cost("swav", "finetune/pets").features == ""


def test_features_take_their_numbers_on_disk():
    assert cost("swav", "linear/pets").disk.features == (3680 + 3669) * 2048 * 4
    # Twenty decisions on val and the weights of the last training.
    assert cost("swav", "finetune/pets").disk.trials == 20 * 736 * 37 * 8 + 23_508_032 * 4


def test_devices_are_known_by_torch_s_names_too():
    assert device_of("NVIDIA A100-SXM4-80GB") is A100
    assert device_of("NVIDIA H100 80GB HBM3").name == "h100"
    assert device_of("cpu") is CPU
    with pytest.raises(UnknownNameError, match="h100"):
        device_of("abacus")


def test_the_study_is_planned_without_torch():
    code = (
        "import sys, json\n"
        "from sslbench.engine.cost import expected\n"
        "from sslbench.tasks import expand_tasks\n"
        "found = [expected(name, task).seconds for name in ('swav', 'random-init') for task in expand_tasks(None, 'paper')]\n"
        "print(json.dumps([None in found, [name for name in ('torch', 'timm', 'pytest') if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, []]
