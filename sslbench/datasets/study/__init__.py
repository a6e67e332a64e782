"""The study's 15 recognition datasets: Ericsson, Gouk and Hospedales, CVPR 2021, table 1 and appendix A.

A module of this package that does not start with an underscore declares one dataset as `SPEC` and has a `load`; it
needs no entry anywhere else. Facts and quirks: docs/datasets.md.
"""

from __future__ import annotations

import importlib
import pkgutil

from sslbench.datasets.dataset import DatasetSpec


def specs() -> list[DatasetSpec]:
    """The declarations of this package, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    found: list[DatasetSpec] = [importlib.import_module(f"{__name__}.{name}").SPEC for name in names]
    return found
