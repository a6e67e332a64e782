"""Datasets: declarations, splits with targets, and image sources with content fingerprints."""

from sslbench.datasets.dataset import Dataset, DatasetSpec, ImageSource, Split
from sslbench.datasets.folder_names import tidy_folder
from sslbench.datasets.registry import dataset_spec, inspect, list_datasets, load_dataset, register_dataset
from sslbench.datasets.status import Status

__all__ = [
    "Dataset", "DatasetSpec", "ImageSource", "Split", "Status", "dataset_spec", "inspect", "list_datasets", "load_dataset",
    "register_dataset", "tidy_folder",
]  # fmt: skip
