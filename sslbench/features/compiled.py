"""Compiling a network for the CPU, and when a run is long enough for that."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from typing import Any

import torch
from torch import Tensor, nn

from sslbench.backbones.backbone import Network

# 28 s for the 54 layers of a ResNet-50 on two cores, the compiler's first run included (docs/extraction.md).
SECONDS_A_LAYER = 0.5
# Of the time a picture takes the folded network, less than single trials on one processor gave: 0.08 in float32 with AVX-512
# (none without), 0.42 in bfloat16. float16 has not been measured.
GAIN = {None: 0.07, torch.bfloat16: 0.25, torch.float16: 0.15}
MARGIN = 2.0


class CompiledNetwork(Network):
    """A network whose embedding goes through `torch.compile`, its weights frozen into the code."""

    def __init__(self, network: Network) -> None:
        self.module = network.module
        self._network = network
        # As constants, the weights are laid out once for the convolutions that read them.
        self._compiled = torch.compile(network.embed, dynamic=False, options={"freezing": True})

    def embed(self, images: Tensor) -> Tensor:
        """(B, D). Raises RuntimeError, of which torch's compiler derives its errors."""
        return self._compiled(images)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Those of the network that was compiled."""
        return self._network.feature_maps(images)


def obstacle(dtype: torch.dtype | None) -> str:
    """Why nothing should be compiled on this machine, or an empty text. dtype: of autocast."""
    if not has_fast(dtype):
        return f"the processor has no {dtype} arithmetic" if dtype else "in float32 it gains nothing on this processor"
    return "" if has_compiler() else f"there is no C++ compiler ({' or '.join(_compilers())})"


def has_compiler() -> bool:
    """Whether there is a C++ compiler where torch looks for one: `$CXX`, else g++ or clang++."""
    return any(shutil.which(name) for name in _compilers())


def _compilers() -> list[str]:
    return shlex.split(os.environ.get("CXX", ""))[:1] or ["g++", "clang++"]


def has_fast(dtype: torch.dtype | None) -> bool:
    """Whether the processor multiplies in this type instead of converting; for None, float32, in registers of 512 bits."""
    if dtype is None:
        return torch.backends.cpu.get_cpu_capability() == "AVX512"
    asked = {torch.bfloat16: ("avx512_bf16", "amx_bf16"), torch.float16: ("avx512_fp16", "amx_fp16")}
    # Torch before 2.8 does not tell; then nothing is compiled.
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name, False) for name in asked.get(dtype, ()))


def pays(network: Network, sample: Tensor, images: int, dtype: torch.dtype | None) -> bool:
    """Whether compiling wins its cost back over so many images, from the time that `sample` takes (run twice)."""
    network.embed(sample)
    start = time.perf_counter()
    network.embed(sample)
    saved = GAIN[dtype] * images * (time.perf_counter() - start) / len(sample)
    layers = sum(isinstance(part, nn.Conv2d | nn.Linear) for part in network.module.modules())
    return saved > MARGIN * SECONDS_A_LAYER * layers
