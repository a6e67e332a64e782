"""CIFAR-10: 32x32 pictures of ten classes."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.published._cifar import read_cifar
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.sources import Source

BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
SPEC = DatasetSpec(
    name="cifar10",
    loader="sslbench.datasets.published.cifar10:load",
    num_classes=10,
    summary="ten kinds of animals and vehicles, 32x32",
    licence="none stated",
    origin="https://www.cs.toronto.edu/~kriz/cifar.html",
    markers=("download",),
    folder="cifar10",
    sources=(
        Source(
            "cifar-10-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            md5="c58f30108f718f92721af3b95e74349a",
            size=170_498_071,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {
            "torchvision": ("cifar10/cifar-10-batches-py", "cifar-10-batches-py"),
            "official": "CIFAR10/cifar-10-batches-py",
        },
        **{name: name for name in (*BATCHES, "test_batch")},
        meta="batches.meta",
    ),
    expected=Expected(
        10,
        {"train": 50_000, "test": 10_000},
        {"train": 5000, "test": 1000},
        md5={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
    ),
    citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
)


def load(settings: Settings) -> Dataset:
    """Training batches 1 to 5 in order; validation is drawn from them."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Five training files and one test file."""
    return read_cifar(found, {"train": BATCHES, "test": ("test_batch",)}, labels="labels", names="label_names")
