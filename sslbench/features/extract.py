"""Extraction: embed every image of a source once, in its pinned order, with a frozen network."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from sslbench.datasets import ImageSource
from sslbench.errors import DataError, FeatureError
from sslbench.features.allocator import keep_large_blocks, return_large_blocks
from sslbench.features.cache import Arrays
from sslbench.features.execution import Execution, choose_execution

if TYPE_CHECKING:
    from sslbench.backbones import Backbone

# Part of every cache key: raise it when extraction changes what it computes.
EXTRACTION_VERSION = 1
# Larger batches leave the CPU's caches: a small ResNet at 64 pixels took 1.4 times as long in batches of 256.
CPU_BATCH, DEVICE_BATCH = 64, 256
STORED = {"float32": torch.float32, "float16": torch.float16}
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


# What `fast` extraction may do to a feature, part of its cache keys: rounding in another order.
EXECUTION = "folded-1"


def feature_recipe(
    backbone: Backbone, source: ImageSource, dtype: str, stored: str = "float32", extraction: str = "fast"
) -> dict[str, Any]:
    """Everything that can change a feature; the cache key is its digest.

    Whether a network could be folded or was compiled is not part of it, as little as the processor is: the features agree
    but for rounding, and another machine's cache stays good.
    """
    recipe = {
        "backbone": backbone.digest,
        "pooling": backbone.pooling,
        "preprocessing": backbone.preprocessing.to_json(),
        "dtype": dtype,
        "images": source.fingerprint,
        "version": EXTRACTION_VERSION,
    }
    if extraction == "fast":
        recipe["execution"] = EXECUTION
    return recipe if stored == "float32" else {**recipe, "stored": stored}


@torch.inference_mode()
def extract_features(
    backbone: Backbone,
    source: ImageSource,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int | None = None,
    stored: str = "float32",
    extraction: str = "fast",
) -> Arrays:
    """Embed a source.

    dtype: `float32`, or `bfloat16`/`float16` for autocast. batch_size: default 64 on the CPU and 256 elsewhere.
    stored: `float32` or `float16`, what is returned. extraction: `fast`, or `exact` to run the network as it is.
    Returns `x` (M, D), `rows` int64 (M,), the row of each feature in the source (M is smaller than the source where
    unreadable images were skipped), and `execution`, the name of what ran, as uint8 ASCII. Raises FeatureError for NaN or
    infinite features or such as float16 cannot hold, DataError for an unknown dtype or when no image is left.
    """
    if dtype not in DTYPES:
        raise DataError(f"unknown dtype {dtype!r}; expected {', '.join(DTYPES)}")
    if stored not in STORED:
        raise DataError(f"unknown type to store features in: {stored!r}; expected {', '.join(STORED)}")
    autocast = DTYPES[dtype]
    batch_size = batch_size or (CPU_BATCH if device == "cpu" else DEVICE_BATCH)
    backbone.to(device)
    if device == "cpu":
        keep_large_blocks()
    context = (
        torch.autocast(torch.device(device).type, dtype=autocast) if autocast is not None else contextlib.nullcontext()
    )
    x: npt.NDArray[Any] = np.empty((0, 0), dtype=stored)
    rows: list[int] = []
    progress = tqdm(
        total=len(source), desc=f"{backbone.name} on {source.fingerprint}", unit="img", leave=False,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with progress, context:
        if extraction == "fast":
            execution = choose_execution(backbone, images=len(source), batch=batch_size, device=device, dtype=autocast)
        else:
            execution = Execution("plain", backbone, "exact extraction asked for")
        for start in range(0, len(source), batch_size):
            images = source.read(start, min(start + batch_size, len(source)))
            kept = [i for i in range(len(images)) if images[i] is not None]
            progress.update(len(images))
            if not kept:
                continue
            chosen = images if len(kept) == len(images) else [images[i] for i in kept]
            pixels = torch.from_numpy(np.array(backbone.preprocessing.pixels(chosen))).to(device, non_blocking=True)
            tensor = backbone.preprocessing.normalise(pixels).contiguous(memory_format=torch.channels_last)
            embedded = execution.embed(tensor).to(STORED[stored])
            finite = torch.isfinite(embedded).all(dim=1)
            if not bool(finite.all()):
                bad = start + kept[int((~finite).nonzero()[0])]
                raise FeatureError(
                    f"{backbone.name} gave NaN or infinite features for image {bad} of {source.fingerprint}; check the "
                    "checkpoint and preprocessing, or compute and store in float32"
                )
            if not rows:
                # Once the width is known: parts to be concatenated would stand in memory twice.
                x = np.empty((len(source), embedded.shape[1]), dtype=stored)
            x[len(rows) : len(rows) + len(kept)] = embedded.cpu().numpy()
            rows.extend(start + i for i in kept)
    if device == "cpu":
        return_large_blocks()
    if not rows:
        raise DataError(f"{source.fingerprint}: no readable image is left to embed")
    return {
        "x": x[: len(rows)],
        "rows": np.array(rows, dtype=np.int64),
        "execution": np.frombuffer(execution.name.encode(), dtype=np.uint8),
    }
