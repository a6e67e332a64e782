"""Extraction: embed every image of a set once, in its pinned order, with a frozen network."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from sslbench.datasets import Images
from sslbench.errors import DataError, FeatureError
from sslbench.features.allocator import keep_large_blocks, return_large_blocks
from sslbench.features.batches import read_batches
from sslbench.features.cache import Arrays
from sslbench.features.execution import Execution, choose_execution
from sslbench.features.loading import input_name
from sslbench.features.pictures import Pictures
from sslbench.threads import giving_way

if TYPE_CHECKING:
    from sslbench.backbones import Backbone


@dataclass(frozen=True)
class _OnItsWay:
    rows: list[int]
    features: Tensor
    arrived: Any

    def wait(self) -> Tensor:
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.features


class Collected:
    """The features of the rows that could be read, in order.

    A batch is looked at when the next one has been handed to the device. stored: the NumPy type.
    """

    def __init__(self, backbone: str, images: Images, stored: str) -> None:
        self._backbone, self._images, self._stored = backbone, images, stored
        self._x: npt.NDArray[Any] = np.empty((0, 0), dtype=stored)
        self._rows: list[int] = []
        self._pending: _OnItsWay | None = None

    def add(self, rows: list[int], features: Tensor) -> None:
        """(B, D) of these rows. Raises FeatureError for values of the batch before that are not finite."""
        arrived: Any = None
        if features.is_cuda:
            stream = torch.cuda.current_stream(features.device)
            features = features.to("cpu", non_blocking=True)
            arrived = stream.record_event()
        before, self._pending = self._pending, _OnItsWay(rows, features, arrived)
        if before is not None:
            self._take(before)

    def finish(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """x (M, D) and rows int64 (M,). Raises FeatureError as `add` does, and DataError when there is none."""
        if self._pending is not None:
            self._take(self._pending)
            self._pending = None
        if not self._rows:
            raise DataError(f"{self._images.fingerprint}: no readable image is left to embed")
        return self._x[: len(self._rows)], np.array(self._rows, dtype=np.int64)

    def _take(self, batch: _OnItsWay) -> None:
        features = batch.wait()
        finite = torch.isfinite(features).all(dim=1)
        if not bool(finite.all()):
            bad = batch.rows[int((~finite).nonzero()[0])]
            raise FeatureError(
                f"{self._backbone} gave NaN or infinite features for image {bad} of {self._images.fingerprint}; check the "
                "checkpoint and preprocessing, or compute and store in float32"
            )
        if not self._rows:
            # Once the width is known: parts to be concatenated would stand in memory twice.
            self._x = np.empty((len(self._images), features.shape[1]), dtype=self._stored)
        self._x[len(self._rows) : len(self._rows) + len(batch.rows)] = features.numpy()
        self._rows += batch.rows


# Part of every cache key: raise it when extraction changes what it computes.
EXTRACTION_VERSION = 1
# Larger batches leave the CPU's caches: a small ResNet at 64 pixels took 1.4 times as long in batches of 256.
CPU_BATCH, DEVICE_BATCH = 64, 256
STORED = {"float32": torch.float32, "float16": torch.float16}
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def default_batch(device: str) -> int:
    """Pictures embedded at once where nobody says how many."""
    return CPU_BATCH if device == "cpu" else DEVICE_BATCH


# What `fast` extraction may do to a feature, part of its cache keys: rounding in another order.
EXECUTION = "folded-1"


def feature_recipe(
    backbone: Backbone,
    images: Images,
    dtype: str,
    stored: str = "float32",
    extraction: str = "fast",
    *,
    digest: str = "",
) -> dict[str, Any]:
    """Everything that can change a feature; the cache key is its digest.

    digest: the backbone's, where it is known already; each look at the network costs a pass over its weights.

    Whether a network could be folded or was compiled is not part of it, as little as the processor is: the features agree
    but for rounding, and another machine's cache stays good.
    """
    recipe = {
        "backbone": digest or backbone.digest,
        "pooling": backbone.pooling,
        "preprocessing": backbone.preprocessing.to_json(),
        "dtype": dtype,
        "images": images.fingerprint,
        "version": EXTRACTION_VERSION,
    }
    if extraction == "fast":
        recipe["execution"] = EXECUTION
    if (name := input_name(images, backbone.preprocessing, extraction)) != "pil":
        recipe["input"] = name
    return recipe if stored == "float32" else {**recipe, "stored": stored}


@torch.inference_mode()
def extract_features(
    backbone: Backbone,
    images: Images,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int | None = None,
    stored: str = "float32",
    extraction: str = "fast",
    pictures: Pictures | None = None,
) -> Arrays:
    """Embed a set of images.

    dtype: `float32`, or `bfloat16`/`float16` for autocast. batch_size: default 64 on the CPU and 256 elsewhere.
    stored: `float32` or `float16`, what is returned. extraction: `fast`, or `exact` for the network as it is on PIL's
    pixels. pictures: where decoded files are kept for the next backbone.
    Returns `x` (M, D), `rows` int64 (M,), the row of each feature in the set (M is smaller than the set where unreadable images
    were skipped), and `execution`, what ran and why nothing faster, as uint8 text. Raises FeatureError for NaN or infinite
    features or such as float16 cannot hold, DataError for an unknown dtype or when no image is left.
    """
    if dtype not in DTYPES:
        raise DataError(f"unknown dtype {dtype!r}; expected {', '.join(DTYPES)}")
    if stored not in STORED:
        raise DataError(f"unknown type to store features in: {stored!r}; expected {', '.join(STORED)}")
    autocast = DTYPES[dtype]
    batch_size = batch_size or default_batch(device)
    backbone.to(device)
    if device == "cpu":
        keep_large_blocks()
    context = (
        torch.autocast(torch.device(device).type, dtype=autocast) if autocast is not None else contextlib.nullcontext()
    )
    collected = Collected(backbone.name, images, stored)
    progress = tqdm(
        total=len(images), desc=f"{backbone.name} on {images.fingerprint}", unit="img", leave=False,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with progress, context, giving_way() as look:
        if extraction == "fast":
            execution = choose_execution(backbone, images=len(images), batch=batch_size, device=device, dtype=autocast)
        else:
            backbone.network.module.to(memory_format=torch.channels_last)
            execution = Execution("plain", backbone, "exact extraction was asked for")
        loaded = read_batches(images, backbone.preprocessing, batch_size, extraction, pictures, pin=device != "cpu")
        # Closed at once when something fails here, so that threads and half-written files do not outlive the error.
        with contextlib.closing(loaded):
            for batch in loaded:
                # A compiled network would be compiled anew for another number of threads.
                if execution.name != "compiled":
                    look()
                progress.update(batch.stop - batch.start)
                rows = batch.rows
                if not rows:
                    continue
                pixels = batch.readable.to(device, non_blocking=True)
                tensor = backbone.preprocessing.normalise(pixels).contiguous(memory_format=torch.channels_last)
                collected.add(rows, execution.embed(tensor).to(STORED[stored]))
    if device == "cpu":
        return_large_blocks()
    x, kept = collected.finish()
    return {"x": x, "rows": kept, "execution": np.frombuffer(execution.label.encode(), dtype=np.uint8)}
