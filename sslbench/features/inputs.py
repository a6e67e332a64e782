"""The pixels of a source, batch by batch: from the kept pictures, else decoded and kept."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from sslbench.backbones.preprocessing import Preprocessing
from sslbench.datasets import ImageFiles, Images
from sslbench.features.loading import input_name, loader_of
from sslbench.features.pictures import Pictures, StoredLoader
from sslbench.features.prefetch import Batch, batches


def picture_recipe(source: Images, preprocessing: Preprocessing, extraction: str) -> dict[str, Any]:
    """What decides the pixels at the input size; normalisation comes later, on the device."""
    facts = preprocessing.to_json()
    geometry = {name: facts[name] for name in ("input_size", "resize", "interpolation")}
    return {"images": source.fingerprint, "input": input_name(source, preprocessing, extraction), **geometry}


def read_batches(
    source: Images,
    preprocessing: Preprocessing,
    batch_size: int,
    extraction: str,
    pictures: Pictures | None = None,
    *,
    pin: bool = False,
) -> Generator[Batch, None, None]:
    """Every batch in order. To be closed by the caller, who may stop early: what was kept until then is dropped.

    Only files are kept: arrays are in memory or on disk as pixels already.
    """
    size, count = preprocessing.input_size, len(source)
    loader = loader_of(source, preprocessing, extraction)
    if pictures is None or not isinstance(source, ImageFiles):
        yield from batches(loader, count, batch_size, size, pin=pin)
        return
    recipe = picture_recipe(source, preprocessing, extraction)
    records = pictures.open(recipe, count, size)
    if records is not None:
        stored = StoredLoader(pictures, pictures.path(recipe), records, loader)
        yield from batches(stored, count, batch_size, size, pin=pin)
        return
    with (
        pictures.writing(recipe, count, size) as writer,
        contextlib.closing(batches(loader, count, batch_size, size, pin=pin)) as decoded,
    ):
        for batch in decoded:
            if writer is not None:
                writer.append(batch.pixels.numpy(), batch.present)
            yield batch
