"""What the device can do at best: products, its own memory, and the way to it."""

from __future__ import annotations

import torch

from gpu_checks.bench import Bench, Found


def machine(bench: Bench, found: Found) -> None:
    """Rates that the other checks' figures can be held against."""
    width, mib = (128, 1) if bench.small else (8192, 1024)
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(width, width, device=bench.device, dtype=dtype) for _ in range(2))
        bench.seconds(lambda a=a, b=b: a @ b)
        times = [bench.seconds(lambda a=a, b=b: a @ b) for _ in bench.rounds()]
        name = str(dtype).removeprefix("torch.")
        found.row(f"product of {width} x {width} matrices, {name}", "TFLOP/s", [2e-12 * width**3 / t for t in times])
    there = torch.empty(mib << 20, dtype=torch.uint8, device=bench.device)
    other = torch.zeros_like(there)
    here = torch.zeros(mib << 20, dtype=torch.uint8, pin_memory=not there.is_cpu)
    for what, source, factor in (("copy within the device", other, 2), ("copy from pinned memory", here, 1)):
        there.copy_(source)
        times = [bench.seconds(lambda source=source: there.copy_(source, non_blocking=True)) for _ in bench.rounds()]
        found.row(f"{what}, {mib} MiB", "GB/s", [1e-9 * factor * there.nbytes / t for t in times])
