"""The study's datasets, of recognition, detection, segmentation and geometry, and what lies on the same pictures.

Ericsson, Gouk and Hospedales, CVPR 2021, table 1 and appendix A.

A module of this package that does not start with an underscore declares one dataset as `SPEC` and has a `load`; it
needs no entry anywhere else. Facts and quirks: docs/datasets.md.
"""

from __future__ import annotations

from sslbench.datasets.dataset import DatasetSpec
from sslbench.registry import declared


def specs() -> list[DatasetSpec]:
    """The declarations of this package, by name."""
    return declared(__name__, __path__, "SPEC")
