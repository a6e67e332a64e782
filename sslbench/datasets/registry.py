"""Names of datasets: the built-in ones, `folder:PATH`, and those that users register."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets import study
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.folder_names import parse_folder
from sslbench.datasets.status import Status, status_of
from sslbench.errors import DataError
from sslbench.offline import offline
from sslbench.registry import Registry

_WORLD = "rendered by this package (sslbench.datasets.world)"
DATASETS: Registry[DatasetSpec] = Registry("dataset", clash=DataError, hint="A folder of images is named folder:PATH")


def register_dataset(spec: DatasetSpec) -> DatasetSpec:
    """Make a dataset known by name; call it from a conftest.py or any imported module.

    Raises DataError when another declaration already has the name.
    """
    return DATASETS.add(spec.name, spec)


def dataset_spec(name: str) -> DatasetSpec:
    """The declaration behind a name; UnknownNameError lists the nearest known ones, for the metric of a folder too."""
    if name.startswith("folder:"):
        path, metric = parse_folder(name)
        return DatasetSpec(
            name=name,
            loader=lambda settings: _load_folder(name, settings),
            num_classes=0,
            summary="a folder of images, one sub-folder a class",
            licence="the owner's",
            source=path,
            metric=metric,
        )
    return DATASETS[name]


def list_datasets(pattern: str = "*") -> list[str]:
    """Registered dataset names that match the glob, sorted."""
    return DATASETS.names(pattern)


def load_dataset(name: str, settings: Settings | None = None) -> Dataset:
    """Load a dataset by name (`digits`, `world-shape`, `folder:PATH`, ...).

    Raises UnknownNameError for a name nobody declared, DataError when its data cannot be used.
    """
    settings = settings or Settings()
    with offline(settings.offline):
        return dataset_spec(name).load(settings)


def inspect(name: str, settings: Settings | None = None) -> Status:
    """Whether a dataset is there: ready, incomplete, absent, or to be got by hand. Decodes no picture."""
    return status_of(dataset_spec(name), settings or Settings())


def _load_folder(name: str, settings: Settings) -> Dataset:
    from sslbench.datasets.folder import load_folder

    return load_folder(name, settings)


register_dataset(
    DatasetSpec(
        "digits", "sslbench.datasets.digits:load", 10, "8x8 greyscale handwritten digits, real scans",
        "CC BY 4.0", "scikit-learn's load_digits (UCI optical recognition of handwritten digits, test part)",
    )
)  # fmt: skip
for _name, _classes, _what in (
    ("world-shape", 8, "which solid is it; colour, texture, pose, light and background vary"),
    ("world-colour", 8, "which colour is the solid, among coloured backgrounds and tinted lights"),
    ("world-texture", 8, "which texture is on the solid"),
    ("world-count", 6, "how many solids are there, one to six"),
    ("world-objects", 64, "64 classes of solids (shape x texture), colour a nuisance; for few-shot"),
):
    register_dataset(
        DatasetSpec(_name, f"sslbench.datasets.world_tasks:{_name.replace('-', '_')}", _classes, _what, "MIT", _WORLD)
    )
for _spec in study.specs():
    register_dataset(_spec)
