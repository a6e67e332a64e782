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

from sslbench.logistic import ProbePath, binary_path, softmax_path

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


def gemm_rate(width: int = 1024) -> float:
    """Float32 multiply-adds as operations a second (2 n^3 for each square product), the best of five."""
    a, b = torch.randn(width, width), torch.randn(width, width)
    return 2.0 * width**3 / min(seconds(lambda: a @ b) for _ in range(5))


def seconds(run: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def solve(data: Problem) -> tuple[ProbePath, list[float]]:
    """The path, and the validation accuracy of each penalty."""
    fit = binary_path if data.y.ndim == 2 else softmax_path
    path = fit(data.x, data.y, PENALTIES)
    return path, [_accuracy(values.numpy(), data.y_val) for values in path.decision(data.x_val)]


def baseline(data: Problem) -> list[float]:
    """The study's way: scikit-learn's L-BFGS from weak to strong, each penalty from the last one's solution."""
    scores = []
    labels = data.y.T if data.y.ndim == 2 else data.y[None]
    models = [LogisticRegression(solver="lbfgs", max_iter=100, tol=1e-4, warm_start=True) for _ in labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for penalty in PENALTIES:
            for model, y in zip(models, labels, strict=True):
                model.set_params(C=1 / penalty).fit(data.x, y)
            decisions = [model.decision_function(data.x_val) for model in models]
            values = np.stack(decisions, axis=1) if data.y.ndim == 2 else decisions[0]
            scores.append(_accuracy(values, data.y_val))
    return scores


def _accuracy(values: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> float:
    return float(((values > 0) == y).mean() if y.ndim == 2 else (values.argmax(axis=1) == y).mean())


def main() -> None:
    """Print a row for each repeat: both solvers in turn, so that a busy machine slows both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--signal", type=float, default=0.5, help="strength of the classes; more separates them better")
    parser.add_argument(
        "--baseline", default="tuned", help="tuned (every pool at one thread), installed, both with a comma, or none"
    )
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    data = problem(size, signal=arguments.signal)
    print(f"{arguments.size}: {size}, {torch.get_num_threads()} threads, {len(PENALTIES)} penalties")
    for _ in range(arguments.repeats):
        rate, start = gemm_rate(), time.perf_counter()
        path, scores = solve(data)
        took, work = time.perf_counter() - start, path.work
        print(
            f"path {took:.2f} s; products {work.forward} X W ({work.forward_columns} columns), "
            f"{work.adjoint} R X ({work.adjoint_columns} columns), {work.flops / 1e9:.0f} GFLOP; "
            f"GEMM {rate / 1e9:.0f} GFLOP/s, {work.flops / took / rate:.0%} of it reached; "
            f"worst gap {float(path.gap.max()):.1e}; best validation accuracy {max(scores):.4f}",
            flush=True,
        )
        for name in filter(lambda name: name != "none", arguments.baseline.split(",")):
            start = time.perf_counter()
            with threadpool_limits(1 if name == "tuned" else None):
                theirs = baseline(data)
            slower = time.perf_counter() - start
            ratio = f"{slower / took:.1f} times as long"
            print(
                f"  scikit-learn, {name}: {slower:.2f} s, {ratio}; best validation accuracy {max(theirs):.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
