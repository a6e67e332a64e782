"""What a run ran on: versions and hardware, for records and `sslbench doctor`."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    *("sslbench", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "safetensors"),
    *("pytest", "pytest-benchmark", "pytest-xdist"),
)


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that can change a score."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def cpu_model() -> str:
    """The processor's own name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory(device: str) -> dict[str, int | None]:
    """Most bytes so far: `rss` of this process; `device` of what torch has on a GPU since it last began to count, else None."""
    import resource

    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    found: dict[str, int | None] = {"rss": rss if sys.platform == "darwin" else rss * 1024, "device": None}
    if device.startswith("cuda"):
        import torch

        found["device"] = torch.cuda.max_memory_allocated(device)
    return found


def largest_peaks(peaks: Iterable[Mapping[str, int | None]]) -> dict[str, int | None]:
    """The most bytes of each kind in any `peak_memory`; None where none has measured it."""
    found: dict[str, int | None] = {}
    for peak in peaks:
        for name, size in peak.items():
            found[name] = max((each for each in (found.get(name), size) if each is not None), default=None)
    return found


def environment(device: str) -> dict[str, Any]:
    """Versions, system and hardware of this process."""
    import torch

    return {
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "packages": package_versions(),
    }
