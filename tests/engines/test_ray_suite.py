"""A part of the embedded suite and a project's own backbone over three Rays: the records are those of one process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")

from tests.engines.clusters import ROOT, SMALL, make_cluster  # noqa: E402

# What differs between two runs of one case in one process too.
VOLATILE = ("timings", "peak_memory", "created")
# Plugins of the environment that nothing here is about.
WITHOUT = ("-pno:cacheprovider", "-pno:hydra_pytest", "-pno:anyio")
CHOSEN = (
    "benchmarks",
    "--sslbench-backbones=pixels,colour-histogram",
    "--sslbench-tasks=knn/digits,fewshot/digits/5shot",
)
CONFTEST = """
import os
import signal
import time
from pathlib import Path

import sslbench
from torch import nn


class Means(nn.Module):
    input_size = 8

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 2).flatten(1)


class Deadly(Means):
    '''Kills its process as often as the file says, by one less each time.'''

    def forward(self, images):
        left = Path(os.environ["DEADLY"])
        if count := int(left.read_text()):
            left.write_text(str(count - 1))
            print("about to die", flush=True)
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


sslbench.register_backbone("means", Means)
sslbench.register_backbone("deadly", Deadly)
"""
TESTS = """
import pytest


@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record):
    assert sslbench_record.scores


@pytest.mark.sslbench(protocol="fewshot")
def test_fewshot(sslbench_record):
    assert sslbench_record.scores
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deadly") / "left"


@pytest.fixture(scope="module")
def cluster(left: Path) -> Iterator[Any]:
    cluster = make_cluster(2, 1, 1, DEADLY=str(left))
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def address(cluster: Any) -> str:
    return cluster.address


def bench(where: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest in a process of its own, with cache and results below `folder`."""
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", *WITHOUT, f"--sslbench-cache={folder / 'cache'}",
            f"--sslbench-results={folder / 'results'}", *arguments,
        ],
        cwd=where, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_bytes()) for path in folder.glob("results/*/records/*.json")]
    return {one["case"]: {name: value for name, value in one.items() if name not in VOLATILE} for one in found}


def samples(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("results/*/samples/*")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a part of the embedded suite in one process."""
    folder = tmp_path_factory.mktemp("alone")
    ended = bench(ROOT, folder, *CHOSEN)
    assert ended.returncode == 0, ended.stdout
    return folder


@pytest.mark.parametrize("shared", ["yes", "no"])
def test_the_embedded_suite_gives_what_one_process_gives(
    address: str, alone: Path, shared: str, tmp_path: Path
) -> None:
    options = f"--sslbench-engine-options=address={address},shared={shared}"
    spread = bench(ROOT, tmp_path / "spread", *CHOSEN, "--sslbench-engine=ray", options)
    assert spread.returncode == 0, spread.stdout + spread.stderr
    assert "4 passed" in spread.stdout
    # Nothing of Ray's own is told.
    assert spread.stderr == "" and "raylet" not in spread.stdout
    expected = records(alone)
    assert len(expected) == 4 and records(tmp_path / "spread") == expected
    assert samples(tmp_path / "spread") == samples(alone)
    if shared == "yes":
        again = bench(ROOT, tmp_path / "spread", *CHOSEN, "--sslbench-engine=ray", options)
        assert again.returncode == 0 and samples(tmp_path / "spread") == samples(alone)


def test_a_machine_with_other_code_is_left_out(address: str, cluster: Any, tmp_path: Path) -> None:
    copied = shutil.copytree(ROOT / "sslbench", tmp_path / "other" / "sslbench")
    (copied / "another.py").touch()
    # Before Ray puts this session's sys.path in front.
    (copied.parent / "sitecustomize.py").write_text("import sslbench\n")
    machine = cluster.add_node(num_cpus=2, env_vars={"PYTHONPATH": str(copied.parent)}, **SMALL)
    try:
        chosen = ("benchmarks", "--sslbench-backbones=pixels,colour-histogram", "--sslbench-tasks=knn/digits")
        spread = bench(ROOT, tmp_path, *chosen, "--sslbench-engine=ray", f"--sslbench-engine-options=address={address}")
    finally:
        cluster.remove_node(machine)
    assert spread.returncode == 0, spread.stdout + spread.stderr
    assert "2 passed" in spread.stdout
    place = machine.node_id[:8]
    assert re.findall(rf"sslbench: .*/{place} is left out: sslbench .* is other code on", spread.stdout)
    assert spread.stdout.count("is left out") == 1 and "left out, for what is told above: " in spread.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_bench.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_a_projects_own_backbone_and_one_whose_process_dies(address: str, left: Path, project: Path) -> None:
    """Twice is borne; the record is that of a process that lived."""
    options = ("--sslbench-engine=ray", f"--sslbench-engine-options=address={address}")
    tasks = "--sslbench-tasks=knn/digits,fewshot/digits/5shot"
    left.write_text("2")
    spread = bench(project, project / "spread", tasks, "--sslbench-backbones=means,deadly", *options)
    assert spread.returncode == 0, spread.stdout + spread.stderr
    assert left.read_text() == "0"
    found = records(project / "spread")
    assert len(found) == 4
    assert found["deadly|knn/digits"]["scores"] == found["means|knn/digits"]["scores"]


def test_a_case_that_always_dies_fails_alone_with_the_end_of_its_log(address: str, left: Path, project: Path) -> None:
    options = ("--sslbench-engine=ray", f"--sslbench-engine-options=address={address}")
    left.write_text("1000")
    spread = bench(
        project, project / "spread", "--sslbench-tasks=knn/digits", "--sslbench-backbones=means,deadly", *options
    )
    assert spread.returncode == 1, spread.stdout + spread.stderr
    assert "1 passed" in spread.stdout and "1 error" in spread.stdout
    assert "the process of this case died 3 times" in spread.stdout and "about to die" in spread.stdout
    assert int(left.read_text()) == 1000 - 3
    assert set(records(project / "spread")) == {"means|knn/digits"}
