"""`folder:PATH`: one class an image, told by its sub-folder."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.families._folder_names import OPTIONS, parse_folder
from sslbench.datasets.family import Family
from sslbench.datasets.targets import Labels

SUMMARY = "a folder of images, one sub-folder a class"


def declare(name: str) -> DatasetSpec:
    """The declaration behind a name. Raises UnknownNameError for a metric that no folder can have."""
    path, metric = parse_folder(name)
    return DatasetSpec(
        name=name,
        loader=lambda settings: _load(name, settings),
        num_classes=0,
        summary=SUMMARY,
        licence="the owner's",
        origin=path,
        metric=metric,
    )


def _load(name: str, settings: Settings) -> Dataset:
    # Not at the top: whoever lists datasets needs no PIL.
    from sslbench.datasets.families._folder_reading import load_folder

    return load_folder(name, settings)


FAMILY = Family("folder", Labels, SUMMARY, declare, OPTIONS)
