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
from sslbench.features.cache import Arrays

if TYPE_CHECKING:
    from sslbench.backbones import Backbone

# Part of every cache key: raise it when extraction changes what it computes.
EXTRACTION_VERSION = 1
# Larger batches leave the CPU's caches: a small ResNet at 64 pixels took 1.4 times as long in batches of 256.
CPU_BATCH, DEVICE_BATCH = 64, 256
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def feature_recipe(backbone: Backbone, source: ImageSource, dtype: str) -> dict[str, Any]:
    """Everything that can change a feature; the cache key is its digest."""
    return {
        "backbone": backbone.digest,
        "pooling": backbone.pooling,
        "preprocessing": backbone.preprocessing.to_json(),
        "dtype": dtype,
        "images": source.fingerprint,
        "version": EXTRACTION_VERSION,
    }


@torch.inference_mode()
def extract_features(
    backbone: Backbone,
    source: ImageSource,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int | None = None,
) -> Arrays:
    """Embed a source.

    dtype: `float32`, or `bfloat16`/`float16` for autocast; features are stored as float32 either way. batch_size:
    default 64 on the CPU and 256 elsewhere.
    Returns `x` float32 (M, D) and `rows` int64 (M,), the row of each feature in the source: M is smaller than the
    source where unreadable images were skipped. Raises FeatureError for NaN or infinite features, DataError for an
    unknown dtype or when no image is left.
    """
    if dtype not in DTYPES:
        raise DataError(f"unknown dtype {dtype!r}; expected {', '.join(DTYPES)}")
    autocast = DTYPES[dtype]
    batch_size = batch_size or (CPU_BATCH if device == "cpu" else DEVICE_BATCH)
    backbone.to(device)
    backbone.network.module.to(memory_format=torch.channels_last)
    context = (
        torch.autocast(torch.device(device).type, dtype=autocast) if autocast is not None else contextlib.nullcontext()
    )
    parts: list[npt.NDArray[np.float32]] = []
    rows: list[int] = []
    progress = tqdm(
        total=len(source), desc=f"{backbone.name} on {source.fingerprint}", unit="img", leave=False,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with progress, context:
        for start in range(0, len(source), batch_size):
            images = source.read(start, min(start + batch_size, len(source)))
            kept = [i for i in range(len(images)) if images[i] is not None]
            progress.update(len(images))
            if not kept:
                continue
            chosen = images if len(kept) == len(images) else [images[i] for i in kept]
            pixels = torch.from_numpy(np.array(backbone.preprocessing.pixels(chosen))).to(device, non_blocking=True)
            tensor = backbone.preprocessing.normalise(pixels).contiguous(memory_format=torch.channels_last)
            embedded = backbone.embed(tensor).float()
            finite = torch.isfinite(embedded).all(dim=1)
            if not bool(finite.all()):
                bad = start + kept[int((~finite).nonzero()[0])]
                raise FeatureError(
                    f"{backbone.name} gave NaN or infinite features for image {bad} of {source.fingerprint}; check the "
                    "checkpoint and preprocessing, or use float32"
                )
            parts.append(embedded.cpu().numpy())
            rows.extend(start + i for i in kept)
    if not parts:
        raise DataError(f"{source.fingerprint}: no readable image is left to embed")
    return {"x": np.concatenate(parts), "rows": np.array(rows, dtype=np.int64)}
