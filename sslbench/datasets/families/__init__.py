"""Layouts of users' folders: `folder:PATH` and the like.

A module of this package that does not start with an underscore declares one as `FAMILY`; it needs no entry anywhere else.
"""

from __future__ import annotations

from sslbench.datasets.family import Family
from sslbench.registry import declared


def families() -> list[Family]:
    """The declarations of this package, by name."""
    return declared(__name__, __path__, "FAMILY")
