"""A user's project in a temporary directory: cheap backbones, two tiny datasets, and pytest run on it."""

from __future__ import annotations

import importlib
import json
import pkgutil
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sslbench.features.device import resolve_device
from sslbench.results.references import embedded_references
from tests.conftest import Registries

# Backbones that differ in weights or computation have classes of their own: the digest names the class.
CONFTEST = '''
import os
import hashlib
import pathlib

import numpy as np
import torch
from torch import nn

import sslbench
from sslbench.datasets import Dataset, DatasetSpec, ImageArray, Labels, Split

torch.set_num_threads(1)


class Tiny(nn.Module):
    """The means of 2 x 2 blocks."""

    input_size = 8

    def forward(self, images):
        if "COUNT" in os.environ:
            with open(os.environ["COUNT"], "a") as file:
                file.write(f"{type(self).__name__} {len(images)}\\n")
        return nn.functional.avg_pool2d(images, 2).flatten(1)


class Blurred(Tiny):
    """Worse: the means of 4 x 4 blocks."""

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 4).flatten(1)


class Poisoned(Tiny):
    """NaN in the fourth image of each batch."""

    def forward(self, images):
        x = super().forward(images)
        x[3] = torch.nan
        return x


for network in (Tiny, Blurred, Poisoned):
    sslbench.register_backbone(network.__name__.lower(), network)


def pair(settings):
    """Two classes, told apart by their right half, 60 images; tells where data was looked for."""
    pathlib.Path("data_dir.txt").write_text(str(settings.data_dir))
    targets = np.arange(20, dtype=np.int64) % 2
    splits = {}
    for seed, name in enumerate(("train", "val", "test")):
        noise = np.random.default_rng(seed).integers(0, 100, size=(20, 8, 8, 3))
        images = (noise + 150 * targets[:, None, None, None] * (np.arange(8) > 3)[:, None]).astype(np.uint8)
        digest = hashlib.sha256(images.tobytes()).hexdigest()[:16]
        splits[name] = Split(name, ImageArray(f"pair:{digest}", images), Labels(targets))
    return Dataset("pair", ("left", "right"), splits, "top1")


sslbench.register_dataset(DatasetSpec("pair", pair, 2, "two classes", "MIT", "drawn", protocols=("linear", "knn", "finetune")))
'''

TESTS = """
import pytest

from sslbench.results.references import explain


@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record):
    assert sslbench_record.verdict != "below", explain(sslbench_record)


@pytest.mark.sslbench(protocol="fewshot")
def test_fewshot(sslbench_record):
    assert sslbench_record.verdict != "below", explain(sslbench_record)
"""

# Plugins of the environment that no test here is about. Each run loads them all again: hydra's alone was half of the time.
WITHOUT = [
    "-pno:cacheprovider",
    *sorted(
        f"-pno:{point.name}"
        for point in entry_points(group="pytest11")
        if point.name not in ("benchmark", "sslbench") and not point.name.startswith("xdist")
    ),
]

TINY = ("--sslbench-backbones", "tiny")
BOTH = ("--sslbench-tasks", "knn/digits,fewshot/digits/5shot")


@pytest.fixture(scope="session", autouse=True)
def _everything_imported() -> None:
    """Runs inside this process forget what they import; a second import of torch or SciPy would not work."""
    for package in ("sslbench", "sklearn.datasets", "sklearn.linear_model", "scipy.stats", "pandas", "timm"):
        module = importlib.import_module(package)
        if package == "sslbench":
            for found in pkgutil.walk_packages(module.__path__, "sslbench."):
                importlib.import_module(found.name)


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One feature cache for all projects that do not count extractions."""
    return tmp_path_factory.mktemp("cache")


class Project:
    """A directory with conftest.py and tests, whose results lie in `results`."""

    def __init__(self, pytester: pytest.Pytester, cache: Path, registries: Registries) -> None:
        self.pytester, self.registries = pytester, registries
        self.path = pytester.path
        self.cache = cache
        self.ini(sslbench_device="cpu")
        self.conftest(CONFTEST)
        self.tests(TESTS)

    def ini(self, **options: str) -> None:
        lines = {"sslbench_cache": str(self.cache), "sslbench_results": "results"} | options
        text = "\n".join(["[pytest]", *(f"{name} = {value}" for name, value in lines.items() if value)])
        self.path.joinpath("pytest.ini").write_text(text)

    def conftest(self, text: str) -> None:
        self.path.joinpath("conftest.py").write_text(text)

    def tests(self, text: str) -> None:
        self.path.joinpath("test_bench.py").write_text(text)

    def run(self, *args: str | Path) -> pytest.RunResult:
        """In this process: quick. Registrations of one run do not reach the next."""
        self.registries.restore()
        resolve_device.cache_clear()
        embedded_references.cache_clear()
        return self.pytester.runpytest_inprocess(*WITHOUT, *args)

    def run_alone(self, *args: str | Path) -> pytest.RunResult:
        """In a process of its own: for an interrupt, a GPU, and imports as a user has them. Workers of xdist are such anyway."""
        return self.pytester.runpytest_subprocess(*WITHOUT, *args)

    def records(self, results: str = "results", run: str = "*") -> dict[str, dict[str, Any]]:
        """Every record on disk by case, of one run or of all."""
        found = [json.loads(path.read_bytes()) for path in self.record_files(results, run)]
        return {record["case"]: record for record in found}

    def record_files(self, results: str = "results", run: str = "*") -> list[Path]:
        return sorted(self.path.glob(f"{results}/{run}/records/*.json"))

    def written(self) -> dict[str, tuple[int, bytes]]:
        """When each record was written, and what."""
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in self.record_files()}

    def folder(self, name: str = "images", images: int = 20, classes: int = 2) -> Path:
        """A folder of pictures whose classes differ in brightness."""
        for label in range(classes):
            directory = self.path / name / f"class{label}"
            directory.mkdir(parents=True)
            for index in range(images):
                noise = np.random.default_rng([label, index]).integers(0, 60, size=(8, 8, 3)) + 90 * label
                Image.fromarray(noise.astype(np.uint8)).save(directory / f"{index:02}.png")
        return self.path / name


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, warm_cache: Path, registries: Registries
) -> Project:
    for name in ("SSLBENCH_CACHE", "SSLBENCH_RESULTS", "SSLBENCH_DATA", "HF_HUB_OFFLINE", "COUNT"):
        monkeypatch.setenv(name, "")  # so that what a run sets is taken back
        monkeypatch.delenv(name)
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return Project(pytester, warm_cache, registries)
