"""Scores of the embedded suite on the CPU and on the device, each with features of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gpu_checks.bench import Bench, Found
from sslbench.config import Settings
from sslbench.results.record import Record, unpack_paired
from sslbench.runner import Case, Runner
from sslbench.tasks import expand_tasks

# A convolutional network under every protocol, and a transformer.
CASES = {
    "zoo:simclr": (
        "knn/digits",
        "linear/digits",
        "knn/world-texture",
        "linear/world-texture",
        "fewshot/world-objects/5shot",
    ),
    "zoo:mae": ("knn/digits", "linear/digits"),
}
SMALL = {"pixels": ("knn/digits", "linear/digits")}


def scores(bench: Bench, found: Found) -> None:
    """No score may move by more than its standard error."""
    with tempfile.TemporaryDirectory() as folder:
        # A cache each: its keys do not tell devices apart.
        here, there = (
            Runner(Settings(cache_dir=Path(folder) / name, device=device))
            for name, device in (("here", "cpu"), ("there", bench.device))
        )
        for backbone, tasks in (SMALL if bench.small else CASES).items():
            for task in expand_tasks(tasks, "embedded"):
                case = Case(backbone, task)
                _compare(found, here.prepare(case).execute(), there.prepare(case).execute())


def _compare(found: Found, expected: Record, got: Record) -> None:
    name, error = expected.case.replace("|", " "), expected.main.stderr
    moved = got.main.value - expected.main.value
    differ = unpack_paired(expected.paired) != unpack_paired(got.paired)
    found.row(f"{name}: on the CPU", expected.main.unit, [expected.main.value])
    found.row(f"{name}: device less CPU", "standard errors", [moved / max(error, 1e-9)])
    found.row(f"{name}: outcomes that differ", "%", [100 * float(differ.mean())])
    found.expect(abs(moved) <= error, f"{name}: the score moves by {moved:.2f}, its standard error is {error:.2f}")
