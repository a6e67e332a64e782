"""How fast machines are, where nothing was measured: peaks as their makers state them, and assumed parts of these."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.names import unknown


@dataclass(frozen=True)
class Device:
    """What computes.

    peak: of float32, multiplications and additions a second, each counted. efficiency: the part of it that networks reach,
    assumed. memory: bytes. step_seconds: what a step costs however small the network is, assumed. decoders: cores that decode
    pictures for it, assumed.
    """

    name: str
    peak: float
    efficiency: float
    memory: int
    step_seconds: float
    decoders: int

    @property
    def rate(self) -> float:
        """Floating-point operations a second that are reckoned with."""
        return self.peak * self.efficiency

    @property
    def is_gpu(self) -> bool:
        """Whether it is one."""
        return self.name != "cpu"

    @property
    def assumption(self) -> str:
        """For people."""
        return f"assumed: {self.efficiency:.0%} of {self.peak / 1e12:.3g} TFLOP/s (float32, {self.name})"

    def has_run(self, environment: Mapping[str, Any]) -> bool:
        """Whether a record's environment is of such a device."""
        told = str(environment.get("device", ""))
        if not self.is_gpu:
            return told == "cpu"
        words = told.lower().replace("-", " ").split()
        return self.name == told or self.name.lower() in words


def _gpu(name: str, teraflops: float, gigabytes: int) -> Device:
    # Convolutions run in TF32 where there is such a thing, and reach well over a third of the plain peak.
    return Device(name, teraflops * 1e12, 0.4, gigabytes * 10**9, 0.008, 8)


# Makers' data sheets: float32 without tensor cores. A core of a CPU: 2.5 GHz, two fused multiply-adds of 8 numbers a cycle;
# its efficiency is near that of the trainings of the embedded baseline.
DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        _gpu("h100", 66.9, 80), _gpu("h200", 66.9, 141), _gpu("a100", 19.5, 80), _gpu("v100", 15.7, 32), _gpu("t4", 8.1, 16),
        _gpu("l4", 30.3, 24), _gpu("l40s", 91.6, 48), _gpu("a10", 31.2, 24), _gpu("a6000", 38.7, 48), _gpu("4090", 82.6, 24),
        _gpu("3090", 35.6, 24), Device("cpu", 80e9, 0.4, 0, 0.02, 1),
    )
}  # fmt: skip
ASSUMED_GPU = DEVICES["a100"]
# Pixels that one core reads, decodes and resizes in a second: 150 photographs of 500 x 375, assumed.
PIXELS_PER_SECOND = 150.0 * 500 * 375


def device_of(name: str) -> Device:
    """By its short name, or a name as torch gives it (`NVIDIA A100-SXM4-80GB`). UnknownNameError lists those that are known."""
    if name in DEVICES:
        return DEVICES[name]
    for device in DEVICES.values():
        if device.is_gpu and device.has_run({"device": name}):
            return device
    raise unknown("device", name, DEVICES, "Its speed is not known")


def device_here() -> Device | None:
    """The GPU of this machine, where it has one that is known; None otherwise. Imports torch where there may be one."""
    # Seconds of import are not worth it to learn that there is none.
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((each for each in DEVICES.values() if each.is_gpu and each.has_run({"device": name})), None)


def device_for(name: str | None) -> tuple[Device, str]:
    """What to reckon with, and for people how it came to be that. name: as of `device_of`; None for the GPU here, if any."""
    if name is not None:
        return device_of(name), "as asked for"
    here = device_here()
    return (here, "as here") if here is not None else (ASSUMED_GPU, "assumed: no GPU here, and none was named")
