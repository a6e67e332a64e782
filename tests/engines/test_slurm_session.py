"""pytest sessions whose cases are jobs of a Slurm, or of processes in its place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest

from tests.engines.test_slurm import ROOT, slurm_answers

pytest.importorskip("submitit")

TESTS = """
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record):
    pass

@pytest.mark.sslbench(protocol="fewshot")
def test_fewshot(sslbench_record):
    pass
"""
CONFTEST = """
from torch import nn

import sslbench

class Means(nn.Module):
    input_size = 8

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 2).flatten(1)

sslbench.register_backbone("means", Means)
"""
CASES = ("--sslbench-backbones=pixels,means", "--sslbench-tasks=knn/digits,fewshot/digits/5shot")


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Starts pytest in a project, with the results in a folder of its own for each name."""
    (tmp_path / "test_bench.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SSLBENCH_CACHE", str(tmp_path / "cache"))

    def start(name, *options):
        command = [sys.executable, "-m", "pytest", "-pno:anyio", "-pno:hydra_pytest", *CASES, "--sslbench-device=cpu"]
        return subprocess.Popen(
            [*command, f"--sslbench-results={name}", *options],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return start


def records(folder):
    """What does not differ between two runs of one case."""
    found = [json.loads(path.read_bytes()) for path in folder.glob("*/records/*.json")]
    kept = ("timings", "peak_memory", "created")
    return {record["case"]: {name: value for name, value in record.items() if name not in kept} for record in found}


def test_a_killed_session_goes_on_and_gives_what_one_without_an_engine_gives(session, tmp_path):
    executor = "slurm" if slurm_answers() else "local"
    options = ("--sslbench-engine=slurm", f"--sslbench-engine-options=executor={executor},time=10,slots=1")
    killed = session("spread", *options)
    try:
        deadline = time.monotonic() + 400
        while not (done := records(tmp_path / "spread")):
            assert killed.poll() is None and time.monotonic() < deadline, killed.communicate()[0]
            time.sleep(0.01)
    finally:
        killed.kill()
        killed.wait()
    assert len(done) < 4
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("spread/*/records/*.json")}
    output, _ = session("spread", *options).communicate(timeout=400)
    assert re.search(r"\b4 passed", output), output
    assert {path: path.stat().st_mtime_ns for path in written} == written
    output, _ = session("serial").communicate(timeout=400)
    assert re.search(r"\b4 passed", output), output
    assert records(tmp_path / "spread") == records(tmp_path / "serial")
    assert not list(tmp_path.glob("spread/*/engine/*.json"))
