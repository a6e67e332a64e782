"""Names of datasets: the built-in ones, `folder:PATH`, and those that users register."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets import embedded, study
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.folder_names import parse_folder
from sslbench.datasets.status import Status, status_of
from sslbench.errors import DataError
from sslbench.offline import offline
from sslbench.registry import Registry

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


for _package in (embedded, study):
    for _spec in _package.specs():
        register_dataset(_spec)
