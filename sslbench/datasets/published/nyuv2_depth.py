"""NYU Depth v2: how far away the surface is at each pixel of a picture of a room."""

from __future__ import annotations

import numpy as np

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.published import _nyuv2
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.targets import Depths

SPEC = DatasetSpec(
    name="nyuv2-depth",
    loader="sslbench.datasets.published.nyuv2_depth:load",
    num_classes=0,
    summary="how many metres away the surface is at each pixel, in rooms",
    licence=_nyuv2.LICENCE,
    origin=_nyuv2.ORIGIN,
    metric=None,
    targets=Depths,
    markers=("download",),
    # That of nyuv2: the pictures are the same ones.
    folder=_nyuv2.FOLDERS[0],
    sources=_nyuv2.SOURCES,
    layouts=layouts({"official": _nyuv2.FOLDERS}, **_nyuv2.PARTS),
    expected=_nyuv2.EXPECTED,
    citation=_nyuv2.CITATION,
)


def load(settings: Settings) -> Dataset:
    """The official test; train and val are whole scenes of the official train."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """The pictures with the depths that the labelled set has filled in, in metres; they are read from the file when asked for."""
    path = found.path("pictures")
    size = found.disk.size(str(path))
    labelled = _nyuv2.read_labelled(path, size)
    targets = Depths(labelled.depth, f"nyuv2:depths:{size}", np.arange(len(labelled)))
    return _nyuv2.listing(found, labelled, targets)
