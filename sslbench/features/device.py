"""Which device a run uses, tried by an allocation rather than trusted from a flag."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from sslbench.errors import DeviceError

if TYPE_CHECKING:
    import torch


@cache
def resolve_device(device: str) -> str:
    """`cpu`, `cuda:N` or, for `auto`, a usable GPU if there is one, else `cpu`.

    Under pytest-xdist, worker n takes the n-th visible GPU (modulo their number) unless one is named.
    Raises DeviceError when the named device cannot be used.
    """
    import torch

    if device == "cpu":
        return device
    if device != "auto" and not device.startswith("cuda"):
        raise DeviceError(f"unknown device {device!r}; expected auto, cpu, cuda or cuda:N")
    if device in ("auto", "cuda"):
        count = torch.cuda.device_count()
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        target = f"cuda:{int(worker) % count}" if count and worker.isdecimal() else "cuda:0"
    else:
        target = device
    try:
        torch.zeros(1, device=target)
    except (RuntimeError, AssertionError) as error:
        if device == "auto":
            return "cpu"
        raise DeviceError(
            f"device {device} was asked for but cannot be used: {str(error).splitlines()[0]}. "
            "Use --sslbench-device cpu, or check the driver and CUDA_VISIBLE_DEVICES"
        ) from error
    return target


def device_name(device: torch.device) -> str:
    """What tells devices apart whose results differ in their last bits: a GPU's product name, else `cpu`."""
    if device.type != "cuda":
        return device.type
    import torch

    return torch.cuda.get_device_name(device)
