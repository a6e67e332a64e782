"""The declarations: what the study states, sources that can be fetched, and no import that costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench.datasets import Targets, dataset_spec, list_datasets
from sslbench.datasets.published import specs
from sslbench.metrics import METRICS
from sslbench.protocols import protocol_spec
from sslbench.studies.ericsson2021 import STUDY
from sslbench.tasks import dataset_tasks

# Classes, official images of each split, metric, protocols.
FACTS = {
    "aircraft": (100, {"train": 3334, "val": 3333, "test": 3333}, "mean_per_class"),
    "caltech101": (102, {"train": 3060, "test": 6728}, "mean_per_class"),
    "cars": (196, {"train": 8144, "test": 8041}, "top1"),
    "cifar10": (10, {"train": 50000, "test": 10000}, "top1"),
    "cifar100": (100, {"train": 50000, "test": 10000}, "top1"),
    "dtd": (47, {"train": 1880, "val": 1880, "test": 1880}, "top1"),
    "flowers": (102, {"train": 1020, "val": 1020, "test": 6149}, "mean_per_class"),
    "food": (101, {"train": 75750, "test": 25250}, "top1"),
    "pets": (37, {"train": 3680, "test": 3669}, "mean_per_class"),
    "sun397": (397, {"train": 19850, "test": 19850}, "top1"),
    "voc2007": (20, {"train": 2501, "val": 2510, "test": 4952}, "voc_map11"),
    "cropdiseases": (38, {"all": 43456}, "top1"),
    "eurosat": (10, {"all": 27000}, "top1"),
    "isic": (7, {"all": 10015}, "top1"),
    "chestx": (7, {"all": (25848, 25847)}, "top1"),
}
SPECS = {spec.name: spec for spec in specs()}
# The study's detection, whose facts are in test_voc.py.
DETECTION = {"voc"}
# What each pixel shows, with what their scores are of; facts are in test_ade20k.py and test_nyuv2.py.
DENSE = {"ade20k": "overlap", "nyuv2": "angles", "nyuv2-depth": "depths"}
# Of these nobody publishes a digest; that of the first file is pinned.
UNPUBLISHED = {"nyuv2_surfacenormal_metadata.zip"}


def test_each_module_declares_the_dataset_it_is_named_after() -> None:
    assert set(SPECS) == {*FACTS, *DETECTION, *DENSE}
    for name, spec in SPECS.items():
        assert spec.loader == f"sslbench.datasets.published.{name.replace('-', '_')}:load"
        assert dataset_spec(name) is spec
    assert set(SPECS) <= set(list_datasets())


@pytest.mark.parametrize("name", FACTS)
def test_facts(name: str) -> None:
    spec, (classes, images, metric) = SPECS[name], FACTS[name]
    assert name in STUDY.datasets
    assert spec.expected is not None
    assert (spec.num_classes, spec.expected.classes) == (classes, classes)
    assert spec.expected.images == images
    assert spec.metric == metric
    assert metric in METRICS
    fewshot = "all" in images
    trained = {"linear", "finetune"}
    wanted = {"fewshot"} if fewshot else trained if name == "voc2007" else {*trained, "knn", "fewshot"}
    recognising = {each.protocol for each in dataset_tasks(name) if Targets not in protocol_spec(each.protocol).takes}
    assert recognising == wanted
    # Networks are looked into on all of the study's sets.
    assert {f"{protocol}/{name}" for protocol in ("inversion", "occlusion")} <= {
        task.id for task in dataset_tasks(name)
    }
    assert spec.markers == ("download",)
    for text in (spec.summary, spec.licence, spec.origin, spec.citation, spec.folder):
        assert text


@pytest.mark.parametrize("name", FACTS)
def test_counts_of_classes_add_up(name: str) -> None:
    spec = SPECS[name]
    assert spec.expected is not None
    for split, per_class in spec.expected.per_class.items():
        if isinstance(per_class, int):
            assert per_class * spec.num_classes == spec.expected.images[split]
        else:
            assert len(per_class) == spec.num_classes
            if name != "voc2007":
                assert sum(per_class) == spec.expected.images[split]


def test_voc_positives_are_those_of_the_challenge() -> None:
    expected = SPECS["voc2007"].expected
    assert expected is not None
    train, val, test = (expected.per_class[split] for split in ("train", "val", "test"))
    assert isinstance(train, tuple) and isinstance(val, tuple) and isinstance(test, tuple)
    trainval = [238, 243, 330, 181, 244, 186, 713, 337, 445, 141, 200, 421, 287, 245, 2008, 245, 96, 229, 261, 256]
    assert [a + b for a, b in zip(train, val, strict=True)] == trainval
    assert (test[0], test[14], test[19]) == (204, 2007, 229)


@pytest.mark.parametrize("name", SPECS)
def test_sources_can_be_fetched_or_say_what_to_do(name: str) -> None:
    spec = SPECS[name]
    assert spec.sources
    folders = {layout.base.partition("/")[0] for layout in spec.layouts}
    assert spec.folder in folders
    for source in spec.sources:
        nested = source.filename.startswith("caltech-101/")
        assert source.urls or source.manual or nested
        for url in source.urls:
            assert re.fullmatch(r"https?://\S+", url)
            assert url.endswith(source.filename)
        assert re.fullmatch(r"([0-9a-f]{32})?", source.md5)
        assert re.fullmatch(r"([0-9a-f]{64})?", source.sha256)
        if source.urls:
            assert bool(source.md5 or source.sha256) != (source.filename in UNPUBLISHED)
        archive = re.search(r"\.(tgz|tar\.gz|tar|zip)$", source.filename) is not None
        assert source.unpack == ("." if archive else None)


def test_the_documentation_lists_every_dataset() -> None:
    text = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
    for name, spec in SPECS.items():
        facts, places = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {spec.num_classes} |" in facts
        wanted = f"`{spec.metric}`" if spec.metric else DENSE.get(name, "AP")
        assert f"| {wanted} |" in facts
        assert ("by hand" if spec.by_hand else "fetched") in facts
        assert spec.licence in facts
        for layout in spec.layouts:
            assert f"`{layout.base}`" in places


def test_declarations_import_nothing_heavy() -> None:
    code = "import sys; import sslbench.datasets.published as study; study.specs(); print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "sslbench.datasets.published.voc2007" in loaded
    assert not {"torch", "torchvision", "timm", "scipy", "pandas", "sklearn", "PIL", "h5py"} & loaded
