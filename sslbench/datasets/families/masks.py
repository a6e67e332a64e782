"""`masks:PATH`: a class for each pixel, in files beside the pictures."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.families._mask_ignore import parse_ignore
from sslbench.datasets.family import Family, parse_name
from sslbench.datasets.targets import Masks

SUMMARY = "a folder of images and masks: a class for each pixel"
OPTIONS = ("ignore",)


def declare(name: str) -> DatasetSpec:
    """The declaration behind a name. Raises DataError for an `ignore` that is none."""
    path, options = parse_name(name, OPTIONS)
    parse_ignore(name, options)
    return DatasetSpec(
        name=name,
        loader=lambda settings: _load(name, settings),
        num_classes=0,
        summary=SUMMARY,
        licence="the owner's",
        origin=path,
        metric=None,
        targets=Masks,
    )


def _load(name: str, settings: Settings) -> Dataset:
    # Not at the top: whoever lists datasets needs no PIL.
    from sslbench.datasets.families._mask_reading import load_masks

    return load_masks(name, settings)


FAMILY = Family("masks", Masks, SUMMARY, declare, OPTIONS)
