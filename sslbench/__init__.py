"""sslbench: a pytest-native transfer benchmark for pretrained vision backbones.

The public names below load on first use, so that `import sslbench` (and pytest's start, through the plugin) imports
neither torch nor timm.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Backbone": "sslbench.backbones",
    "Preprocessing": "sslbench.backbones",
    "list_backbones": "sslbench.backbones",
    "load_backbone": "sslbench.backbones",
    "register_backbone": "sslbench.backbones",
    "list_datasets": "sslbench.datasets",
    "load_dataset": "sslbench.datasets",
    "register_dataset": "sslbench.datasets",
    "Settings": "sslbench.config",
    "list_tasks": "sslbench.tasks",
    "evaluate": "sslbench.api",
    "extract": "sslbench.api",
}

if TYPE_CHECKING:
    from sslbench.api import evaluate, extract
    from sslbench.backbones import Backbone, Preprocessing, list_backbones, load_backbone, register_backbone
    from sslbench.config import Settings
    from sslbench.datasets import list_datasets, load_dataset, register_dataset
    from sslbench.tasks import list_tasks

__all__ = [
    "Backbone", "Preprocessing", "Settings", "evaluate", "extract", "list_backbones", "list_datasets", "list_tasks",
    "load_backbone", "load_dataset", "register_backbone", "register_dataset",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'sslbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
