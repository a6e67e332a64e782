"""`voc:PATH`: objects with boxes, in the layout of PASCAL VOC."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.family import Family
from sslbench.datasets.targets import Boxes

SUMMARY = "a folder in PASCAL VOC's layout: objects with boxes"


def declare(name: str) -> DatasetSpec:
    """The declaration behind a name."""
    return DatasetSpec(
        name=name,
        loader=lambda settings: _load(name, settings),
        num_classes=0,
        summary=SUMMARY,
        licence="the owner's",
        origin=name.partition(":")[2],
        metric=None,
        targets=Boxes,
    )


def _load(name: str, settings: Settings) -> Dataset:
    # Not at the top: whoever lists datasets needs no PIL.
    from sslbench.datasets.families._voc_reading import load_voc

    return load_voc(name, settings)


FAMILY = Family("voc", Boxes, SUMMARY, declare)
