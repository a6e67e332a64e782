"""Datasets that come with the installation: real digits, and sets of the rendered world.

A module of this package that does not start with an underscore declares its datasets as `SPECS` and has their loaders; it
needs no entry anywhere else.
"""

from __future__ import annotations

from sslbench.datasets.dataset import DatasetSpec
from sslbench.registry import declared


def specs() -> list[DatasetSpec]:
    """The declarations of this package."""
    return [spec for module in declared(__name__, __path__, "SPECS") for spec in module]
