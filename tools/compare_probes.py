"""Time the probe path beside scikit-learn's on features made up to the size and habits of a real transfer task.

    python tools/compare_probes.py pets --repeats 3 --baseline tuned,installed
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sslbench.probes import ProbePath, binary_path, softmax_path

PENALTIES = np.logspace(-6, 5, 45)
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Size:
    """What a data set of the study asks of its probe: training images, feature width, classes."""

    samples: int
    width: int
    classes: int
    multilabel: bool = False


SIZES = {
    "pets": Size(2944, 2048, 37),
    "dtd": Size(3760, 2048, 47),
    "cifar10": Size(40_000, 2048, 10),
    "voc": Size(5011, 2048, 20, multilabel=True),
    "small": Size(600, 256, 10),
    "small-voc": Size(600, 256, 5, multilabel=True),
}


@dataclass(frozen=True)
class Problem:
    """Features and targets of a training and a validation split; targets (n,) classes, or (n, k) zeros and ones."""

    x: Floats
    y: npt.NDArray[np.int64]
    x_val: Floats
    y_val: npt.NDArray[np.int64]


def problem(size: Size, *, seed: int = 0, signal: float = 2.0, rank: int = 384) -> Problem:
    """Rectified, correlated features with a decaying spectrum, and a class signal that few directions carry.

    Pooled activations of trained networks look so: not negative, mostly small, a few directions with most of the variance.
    Validation accuracy over the penalties then peaks inside of the path.
    """
    rng = np.random.default_rng(seed)
    held_out = max(500, size.samples // 4)
    total = size.samples + held_out
    spectrum = (1 + np.arange(rank)) ** -0.6
    means = rng.standard_normal((size.classes, rank)) * spectrum * (rng.random((size.classes, rank)) < 0.3)
    if size.multilabel:
        y = (rng.random((total, size.classes)) < rng.uniform(0.02, 0.4, size.classes)).astype(np.int64)
        latent = y @ means
    else:
        y = rng.integers(size.classes, size=total)
        latent = means[y]
    latent = signal * latent + rng.standard_normal((total, rank)) * spectrum
    mixing = rng.standard_normal((rank, size.width)) / np.sqrt((spectrum**2).sum())
    offset = rng.normal(-0.5, 0.7, size.width)
    scale = rng.lognormal(-1.0, 0.6, size.width)
    noise = 0.3 * rng.standard_normal((total, size.width), dtype=np.float32)
    x = (np.maximum((latent @ mixing + offset).astype(np.float32) + noise, 0) * scale).astype(np.float32)
    n = size.samples
    return Problem(x[:n], y[:n], x[n:], y[n:])
