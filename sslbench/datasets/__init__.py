"""Datasets: declarations, and splits of images with targets."""

from sslbench.datasets.dataset import Dataset, DatasetSpec, Split
from sslbench.datasets.folder_names import tidy_folder
from sslbench.datasets.images import ImageArray, ImageFiles, Images
from sslbench.datasets.registry import dataset_spec, inspect, list_datasets, load_dataset, register_dataset
from sslbench.datasets.status import Status
from sslbench.datasets.targets import Boxes, DeferredObjects, Labels, LabelSets, Masks, Normals, Objects, Targets

__all__ = [
    "Boxes", "Dataset", "DatasetSpec", "DeferredObjects", "ImageArray", "ImageFiles", "Images", "LabelSets", "Labels",
    "Masks", "Normals", "Objects", "Split", "Status", "Targets", "dataset_spec", "inspect", "list_datasets",
    "load_dataset", "register_dataset", "tidy_folder",
]  # fmt: skip
