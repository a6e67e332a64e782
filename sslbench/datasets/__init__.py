"""Datasets: declarations, and splits of images with targets."""

from sslbench.datasets.dataset import Dataset, DatasetSpec, Split
from sslbench.datasets.family import FAMILIES, Family, family_of, register_family, tidy_folder
from sslbench.datasets.images import ImageArray, ImageFiles, Images
from sslbench.datasets.registry import dataset_spec, inspect, list_datasets, load_dataset, register_dataset
from sslbench.datasets.status import Status
from sslbench.datasets.targets import (
    Boxes,
    DeferredObjects,
    Depths,
    Labels,
    LabelSets,
    Masks,
    Normals,
    Objects,
    Targets,
)

__all__ = [
    "FAMILIES", "Boxes", "Dataset", "DatasetSpec", "DeferredObjects", "Depths", "Family", "ImageArray", "ImageFiles", "Images",
    "LabelSets", "Labels", "Masks", "Normals", "Objects", "Split", "Status", "Targets", "dataset_spec", "family_of",
    "inspect", "list_datasets", "load_dataset", "register_dataset", "register_family", "tidy_folder",
]  # fmt: skip
