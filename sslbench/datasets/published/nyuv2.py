"""NYU Depth v2: which way the surface faces at each pixel of a picture of a room."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import AGAIN, mat_arrays
from sslbench.datasets.published import _nyuv2
from sslbench.datasets.published._nyuv2_normals import FILE_AXES, NormalMaps
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.targets import Normals
from sslbench.errors import DataError, IncompleteDataError
from sslbench.sources import Source

_ARCHIVE = "nyuv2_surfacenormal_metadata.zip"
_INNER = "surfacenormal_metadata"
VOCABULARY = "vocab40.mat"
# As far as it is known of the file in ssl-transfer, surface-normal-estimation/.
VOCABULARY_SHA256 = ("4acfec87", "cac2fc")

SPEC = DatasetSpec(
    name="nyuv2",
    loader="sslbench.datasets.published.nyuv2:load",
    num_classes=0,
    summary="which way the surface faces at each pixel, in rooms",
    licence=_nyuv2.LICENCE,
    origin=_nyuv2.ORIGIN,
    metric=None,
    targets=Normals,
    markers=("download",),
    folder=_nyuv2.FOLDERS[0],
    sources=(
        *_nyuv2.SOURCES,
        Source(_ARCHIVE, (f"https://dl.fbaipublicfiles.com/fair_self_supervision_benchmark/{_ARCHIVE}",), unpack="."),
    ),
    layouts=(
        *layouts({"official": _nyuv2.FOLDERS}, **_nyuv2.PARTS, normals=f"{_INNER}/all_normals.pklz"),
        *layouts({"flat": _nyuv2.FOLDERS}, **_nyuv2.PARTS, normals="all_normals.pklz"),
    ),
    expected=_nyuv2.EXPECTED,
    citation=f"{_nyuv2.CITATION}; normals: Ladický, Zeisl and Pollefeys, Discriminatively trained dense surface normal "
    "estimation, ECCV 2014",
)


def load(settings: Settings) -> Dataset:
    """The official test; train and val are whole scenes of the official train. The first map that is read may take minutes."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """The pictures of the labelled set with Ladický's normals, and the study's vocabulary of them where it lies beside.

    Sizes and names are looked at, maps when they are read. Raises IncompleteDataError and DataError.
    """
    pictures, normals = found.path("pictures"), found.path("normals")
    labelled = _nyuv2.read_labelled(pictures, found.disk.size(str(pictures)))
    size = found.disk.size(str(normals))
    if not size:
        raise IncompleteDataError(f"{normals} is empty", [normals.name], found=True)
    width, height = labelled.size
    maps = NormalMaps(normals, size, (len(labelled), height, width))
    path = _vocabulary_path(found)
    targets = Normals(
        maps,
        f"nyuv2:normals:{size}:{FILE_AXES}",
        np.arange(len(labelled)),
        codewords=_read_vocabulary(path) if path else None,
    )
    return _nyuv2.listing(found, labelled, targets, _vocabulary_differs(path) if path else ())


def read_vocabulary(settings: Settings) -> npt.NDArray[np.float64]:
    """float64 (40, 3): the unit normals that the study classifies pixels into, in the axes of `Normals`.

    Raises IncompleteDataError where `vocab40.mat` does not lie in the dataset's folder, DataError for another content.
    """
    for layout in SPEC.layouts:
        path = _vocabulary_path(Found(layout, settings.data_dir))
        if path:
            return _read_vocabulary(path)
    raise IncompleteDataError(
        f"nyuv2: no {VOCABULARY} in {settings.data_dir.absolute()}/{SPEC.folder}/{_INNER}; it lies in {_ARCHIVE}, which "
        "`sslbench fetch --dataset nyuv2` gets",
        [VOCABULARY],
    )


def _vocabulary_path(found: Found) -> Path | None:
    places = (found.base / _INNER / VOCABULARY, found.base / VOCABULARY)
    return next((place for place in places if place.is_file()), None)


def _read_vocabulary(path: Path) -> npt.NDArray[np.float64]:
    (vocabularies,) = mat_arrays(path, "vocabs")
    try:
        words = np.asarray(vocabularies[0][0]["normals"][0][0])
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected normals in vocabs, got {vocabularies.dtype}: {error}; {AGAIN}") from error
    if words.shape != (40, 3) or words.dtype.kind != "f":
        raise DataError(f"{path}: expected 40 x 3 floating-point numbers, got {words.dtype} {words.shape}; {AGAIN}")
    lengths = np.linalg.norm(words, axis=1)
    if not (np.abs(lengths - 1) < 1e-3).all():
        raise DataError(
            f"{path}: expected unit vectors, got lengths from {lengths.min():g} to {lengths.max():g}; {AGAIN}"
        )
    turned: npt.NDArray[np.float64] = words.astype(np.float64) * np.array(FILE_AXES)
    return turned


def _vocabulary_differs(path: Path) -> tuple[str, ...]:
    start, end = VOCABULARY_SHA256
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found.startswith(start) and found.endswith(end):
        return ()
    return (f"{VOCABULARY}: expected sha256 {start}...{end}, found {found}",)
