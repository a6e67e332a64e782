"""Linear probes for a whole path of penalties, solved together and certified. Names load on first use, torch with them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "BinaryPath": "sslbench.logistic.result",
    "ProbePath": "sslbench.logistic.result",
    "SoftmaxPath": "sslbench.logistic.result",
    "Start": "sslbench.logistic.solve",
    "Work": "sslbench.logistic.result",
    "binary_path": "sslbench.logistic.binary",
    "softmax_path": "sslbench.logistic.softmax",
}

if TYPE_CHECKING:
    from sslbench.logistic.binary import binary_path
    from sslbench.logistic.result import BinaryPath, ProbePath, SoftmaxPath, Work
    from sslbench.logistic.softmax import softmax_path
    from sslbench.logistic.solve import Start

__all__ = ["BinaryPath", "ProbePath", "SoftmaxPath", "Start", "Work", "binary_path", "softmax_path"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'sslbench.logistic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
