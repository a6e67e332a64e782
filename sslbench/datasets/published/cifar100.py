"""CIFAR-100: 32x32 pictures of 100 fine classes."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.published._cifar import read_cifar
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.sources import Source

SPEC = DatasetSpec(
    name="cifar100",
    loader="sslbench.datasets.published.cifar100:load",
    num_classes=100,
    summary="100 kinds of objects, 32x32",
    licence="none stated",
    origin="https://www.cs.toronto.edu/~kriz/cifar.html",
    markers=("download",),
    folder="cifar100",
    sources=(
        Source(
            "cifar-100-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
            md5="eb9058c3a382ffc7106e4002c42a8d85",
            size=169_001_437,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {
            "torchvision": ("cifar100/cifar-100-python", "cifar-100-python"),
            "official": "CIFAR100/cifar-100-python",
        },
        train="train",
        test="test",
        meta="meta",
    ),
    expected=Expected(
        100,
        {"train": 50_000, "test": 10_000},
        {"train": 500, "test": 100},
        md5={
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
    ),
    citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
)


def load(settings: Settings) -> Dataset:
    """Fine labels; validation is drawn from train."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """One training and one test file."""
    return read_cifar(found, {"train": ("train",), "test": ("test",)}, labels="fine_labels", names="fine_label_names")
