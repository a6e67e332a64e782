"""The pixels of images in batches, from the kept pictures or decoded by threads while the network works on the one before."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from sslbench import threads
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.datasets import ImageFiles, Images
from sslbench.features.loading import Loader, input_name, loader_of
from sslbench.features.pictures import Pictures, StoredLoader

AHEAD = 2
MOST_WORKERS = 16


@dataclass(frozen=True)
class Batch:
    """Rows start to stop of a set of images.

    present: whether each could be read. pixels: uint8 (stop - start, H, W, 3), undefined where it could not.
    """

    start: int
    stop: int
    present: list[bool]
    pixels: Tensor

    @property
    def rows(self) -> list[int]:
        """The rows that could be read."""
        return [self.start + place for place, present in enumerate(self.present) if present]

    @property
    def readable(self) -> Tensor:
        """The pixels of those rows."""
        return self.pixels if all(self.present) else self.pixels[torch.tensor(self.present)]


def batches(
    loader: Loader, count: int, batch_size: int, size: tuple[int, int], *, pin: bool = False
) -> Generator[Batch, None, None]:
    """Every batch in order, at most AHEAD of them decoded or being decoded beyond the one in use.

    size: (H, W). pin: into memory from which a GPU copies by itself. An error in a thread is raised here, that of the
    first row in order; then, and when the iterator is closed, what is not begun is dropped.
    """
    workers = min(MOST_WORKERS, threads.uncrowded()) if loader.parallel else 1
    starts = iter(range(0, count, batch_size))
    waiting: deque[tuple[int, Tensor, list[Future[list[bool]]]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="sslbench-load") as pool:

        def begin(start: int) -> None:
            stop = min(start + batch_size, count)
            pixels = torch.empty((stop - start, *size, 3), dtype=torch.uint8, pin_memory=pin)
            out, grain = pixels.numpy(), loader.grain or stop - start
            cuts = [(first, min(first + grain, stop)) for first in range(start, stop, grain)]
            jobs = [pool.submit(loader.load, first, last, out[first - start : last - start]) for first, last in cuts]
            waiting.append((start, pixels, jobs))

        try:
            for start in islice(starts, AHEAD + 1):
                begin(start)
            while waiting:
                start, pixels, jobs = waiting.popleft()
                present = [flag for job in jobs for flag in job.result()]
                yield Batch(start, start + len(pixels), present, pixels)
                for following in islice(starts, 1):
                    begin(following)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def picture_recipe(images: Images, preprocessing: Preprocessing, extraction: str) -> dict[str, Any]:
    """What decides the pixels at the input size; normalisation comes later, on the device."""
    facts = preprocessing.to_json()
    geometry = {name: facts[name] for name in ("input_size", "resize", "interpolation")}
    return {"images": images.fingerprint, "input": input_name(images, preprocessing, extraction), **geometry}


def read_batches(
    images: Images,
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
    size, count = preprocessing.input_size, len(images)
    loader = loader_of(images, preprocessing, extraction)
    if pictures is None or not isinstance(images, ImageFiles):
        yield from batches(loader, count, batch_size, size, pin=pin)
        return
    recipe = picture_recipe(images, preprocessing, extraction)
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
