"""Linear probes for a whole path of penalties, solved together and certified. Names load on first use, torch with them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "BinaryPath": "sslbench.probes.result",
    "ProbePath": "sslbench.probes.result",
    "SoftmaxPath": "sslbench.probes.result",
    "Start": "sslbench.probes.solve",
    "Work": "sslbench.probes.result",
    "binary_path": "sslbench.probes.binary",
    "softmax_path": "sslbench.probes.softmax",
}

if TYPE_CHECKING:
    from sslbench.probes.binary import binary_path
    from sslbench.probes.result import BinaryPath, ProbePath, SoftmaxPath, Work
    from sslbench.probes.softmax import softmax_path
    from sslbench.probes.solve import Start

__all__ = ["BinaryPath", "ProbePath", "SoftmaxPath", "Start", "Work", "binary_path", "softmax_path"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'sslbench.probes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
