"""Occlusion beside the loop that one would write, and beside the CPU's map."""

from __future__ import annotations

import numpy as np
from compare_occlusion import by_loop, by_package, shown

from gpu_checks.bench import Bench, Found
from gpu_checks.steps import SMALL
from sslbench.features.extract import default_batch

# Largest difference of two maps by their largest value: distances are differences of features, which lose digits in TF32.
APART = 5e-2


def occlusion(bench: Bench, found: Found) -> None:
    """Windows of a picture of the study's size through a ResNet-50, as many at once as a case takes."""
    name, recipe, stride, coarse = (SMALL, "quick", 4, 4) if bench.small else ("random-init:resnet50", "study", 4, 10)
    maps = []
    for device in ("cpu", bench.device):
        backbone, picture, windows = shown(name, recipe, coarse, device)
        maps.append(by_package(backbone, picture, windows, 1))
    _alike(found, "the CPU's", maps[1], maps[0])
    backbone, picture, windows = shown(name, recipe, stride, bench.device)
    at_once = default_batch(bench.device.partition(":")[0])
    ways = {
        "ours": lambda: by_package(backbone, picture, windows, 1),
        "loop": lambda: by_loop(backbone, picture, windows, at_once),
    }
    # The first of each warms up.
    found.memory("peak memory", bench, ways["ours"])
    _alike(found, "the loop's", ways["ours"](), ways["loop"]())
    every: dict[str, list[float]] = {what: [] for what in ways}
    for _ in bench.rounds(3):
        for what, run in ways.items():
            every[what].append(len(windows) / bench.seconds(run))
    for what, values in every.items():
        found.row(f"{what}, {at_once} at once", "windows/s", values)
    found.ratio("ours / loop", every["ours"], every["loop"])


def _alike(found: Found, whose: str, got: np.ndarray, expected: np.ndarray) -> None:
    apart = float(np.abs(got - expected).max() / expected.max())
    found.row(f"map from {whose}, largest difference by largest value", "1", [apart])
    found.expect(apart <= APART, f"the map is {apart:.2g} from {whose}")
