"""Names of datasets: the built-in ones, users' folders such as `folder:PATH`, and those that users register."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets import embedded, families, published
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.family import FAMILIES, family_of, register_family
from sslbench.datasets.status import Status, status_of
from sslbench.errors import DataError
from sslbench.offline import offline
from sslbench.registry import Registry

for _family in families.families():
    register_family(_family)
DATASETS: Registry[DatasetSpec] = Registry(
    "dataset", clash=DataError, hint=f"A folder is named {' or '.join(f'{scheme}:PATH' for scheme in FAMILIES)}"
)


def register_dataset(spec: DatasetSpec) -> DatasetSpec:
    """Make a dataset known by name; call it from a conftest.py or any imported module.

    Raises DataError when another declaration already has the name.
    """
    return DATASETS.add(spec.name, spec)


def dataset_spec(name: str) -> DatasetSpec:
    """The declaration behind a name; UnknownNameError lists the nearest known ones, for the metric of a folder too."""
    family = family_of(name)
    return family.declare(name) if family else DATASETS[name]


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


for _package in (embedded, published):
    for _spec in _package.specs():
        register_dataset(_spec)
