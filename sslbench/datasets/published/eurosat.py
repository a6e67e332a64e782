"""EuroSAT (RGB): ten kinds of land seen by Sentinel-2, for few-shot only."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import image_folder
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.errors import IncompleteDataError
from sslbench.sources import Source

CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential",
    "River", "SeaLake",
)  # fmt: skip
SPEC = DatasetSpec(
    name="eurosat",
    loader="sslbench.datasets.published.eurosat:load",
    num_classes=10,
    summary="ten kinds of land from a satellite, 64x64",
    licence="MIT",
    origin="https://github.com/phelber/EuroSAT",
    protocols=("fewshot", "inversion", "occlusion"),
    markers=("download",),
    folder="eurosat",
    sources=(
        Source(
            "EuroSAT.zip",
            (
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            ),
            md5="c8fa014336c82ac7804f0398fcb19387",
            size=94_280_567,
            unpack=".",
        ),
    ),
    layouts=layouts({"torchvision": "eurosat", "official": "EuroSAT"}, images="2750"),
    expected=Expected(10, {"all": 27_000}, {"all": (3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000)}),
    citation="Helber et al., EuroSAT, IEEE JSTARS 12, 2019; "
    "Guo et al., A broader study of cross-domain few-shot learning, ECCV 2020",
)


def load(settings: Settings) -> Dataset:
    """All images as one split."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """One folder a class, sorted."""
    root = found.path("images")
    classes, files, targets = image_folder(root, found.disk)
    absent = [name for name in CLASSES if name not in classes]
    if absent:
        raise IncompleteDataError(f"{root} lacks the class folders {', '.join(absent)}", absent, found=True)
    return Listing(classes, {"all": file_rows(root, files, targets, found.disk)})
