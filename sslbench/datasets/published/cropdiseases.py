"""CropDiseases (PlantVillage): 38 crops and diseases, for few-shot only."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import image_folder
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.sources import Source

SPEC = DatasetSpec(
    name="cropdiseases",
    loader="sslbench.datasets.published.cropdiseases:load",
    num_classes=38,
    summary="38 crops and diseases of their leaves",
    licence="unclear",
    origin="https://www.kaggle.com/datasets/saroz014/plant-disease (train folder)",
    protocols=("fewshot", "inversion", "occlusion"),
    markers=("download",),
    folder="CropDiseases",
    sources=(
        Source(
            "plant-disease.zip",
            unpack=".",
            manual="Download https://www.kaggle.com/datasets/saroz014/plant-disease (needs an account) and extract it in "
            "CropDiseases, so that CropDiseases/dataset/train holds 38 class folders such as Apple___Apple_scab. Other "
            "copies of PlantVillage lack this split.",
        ),
    ),
    layouts=layouts({"official": "CropDiseases", "kaggle": "plant-disease"}, images="dataset/train"),
    expected=Expected(38, {"all": 43_456}),
    citation="Mohanty, Hughes and Salathe, Using deep learning for image-based plant disease detection, 2016; "
    "Guo et al., A broader study of cross-domain few-shot learning, ECCV 2020",
)


def load(settings: Settings) -> Dataset:
    """The train folder alone, as one split."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """One folder a class, sorted."""
    root = found.path("images")
    classes, files, targets = image_folder(root, found.disk)
    return Listing(classes, {"all": file_rows(root, files, targets, found.disk)})
