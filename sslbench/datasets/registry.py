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
    """Make a dataset known by name; call it from a `conftest.py` or from any imported module.

    Args:
        spec: The declaration. Its loader is imported when the dataset is first used.

    Returns:
        The same declaration.

    Raises:
        DataError: Where another declaration has the name.

    Example:
        >>> import sslbench
        >>> from sslbench.datasets import DatasetSpec
        >>> spec = DatasetSpec("toy", loader="toys:load", num_classes=2, summary="two toys", licence="CC0", origin="made here")
        >>> sslbench.register_dataset(spec).name in sslbench.list_datasets()
        True
    """
    return DATASETS.add(spec.name, spec)


def dataset_spec(name: str) -> DatasetSpec:
    """The declaration behind a name; UnknownNameError lists the nearest known ones, for the metric of a folder too."""
    family = family_of(name)
    return family.declare(name) if family else DATASETS[name]


def list_datasets(pattern: str = "*") -> list[str]:
    """The names of datasets that are declared, whether or not their files are there.

    Folders (`folder:PATH`, `voc:PATH`, `masks:PATH`) are datasets without being listed.

    Args:
        pattern: A glob with `*` and `[...]`.

    Returns:
        Names that match, sorted.

    Example:
        >>> import sslbench
        >>> sslbench.list_datasets("world-[cs]*")
        ['world-colour', 'world-count', 'world-shape']
    """
    return DATASETS.names(pattern)


def load_dataset(name: str, settings: Settings | None = None) -> Dataset:
    """A dataset by its name: classes, and splits of pictures with targets.

    Its files are looked through and no picture is decoded.

    Args:
        name: Its name, such as `digits`, `world-shape` or `folder:PATH`.
        settings: Where data lie, and how strictly they are checked; by default `Settings()`.

    Returns:
        The dataset. `splits` has `train`, `val` and `test` with `images` and `targets` of N items each.

    Raises:
        UnknownNameError: For a name that nobody declared.
        DataError: For data that is missing, incomplete or cannot be used.

    Example:
        >>> import sslbench
        >>> digits = sslbench.load_dataset("digits")
        >>> {name: len(split.images) for name, split in digits.splits.items()}
        {'train': 1078, 'val': 360, 'test': 359}
        >>> len(digits.classes), digits.metric
        (10, 'top1')
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
