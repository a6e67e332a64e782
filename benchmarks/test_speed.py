"""The hot paths beside what one would otherwise run; run when named: `pytest benchmarks/test_speed.py`.

Each group is one question. pytest-benchmark's table has the fastest at 1.0 and the ratio of the others beside it. Extraction has
processes of its own: tools/compare_extraction.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.functional import normalize

from sslbench.features.stacked import Pool
from sslbench.logistic import softmax_path
from sslbench.metrics import METRICS
from sslbench.protocols.base import Labelled
from sslbench.protocols.fewshot import QUERY, WAY, Episodes, FewShot
from sslbench.protocols.knn import NEIGHBOURS, TEMPERATURE, NearestNeighbours
from tools.compare_probes import PENALTIES, SIZES, Problem, baseline, problem

# EuroSAT's size, the largest single-split set of the study's few-shot half that is not a long tail.
IMAGES, WIDTH, CLASSES = 27_000, 2048, 10
ROUNDS = 5

Benchmark = Any


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """(27000, 2048) float32 with a class signal."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    noise = torch.randn(IMAGES, WIDTH, generator=generator)
    return (noise * 4 + centres[torch.arange(IMAGES) % CLASSES]).relu_()


@pytest.fixture(scope="module")
def targets() -> npt.NDArray[np.int64]:
    """Ten classes in turn."""
    return np.arange(IMAGES) % CLASSES


def episode_loop(x: torch.Tensor, episodes: Episodes, shot: int) -> npt.NDArray[np.int64]:
    """Right answers of each episode, one after the other."""
    truth = torch.arange(WAY).repeat_interleave(QUERY)
    right = []
    for rows in torch.from_numpy(episodes.rows):
        picked = x[rows]
        centroids, queries = picked[:, :shot].mean(1), picked[:, shot:].flatten(0, 1)
        right.append(int((torch.cdist(queries, centroids).argmin(1) == truth).sum()))
    return np.array(right)


@pytest.mark.parametrize("shot", [5, 20, 50])
@pytest.mark.parametrize("way", ["loop", "sslbench", "gather once"])
def test_fewshot(
    way: str, shot: int, features: torch.Tensor, targets: npt.NDArray[np.int64], benchmark: Benchmark
) -> None:
    """`gather once` is the floor: every row of every episode copied once, into memory that is there."""
    protocol, pool = FewShot(f"{shot}shot"), Pool([features])
    episodes = protocol.draw(targets, tuple(map(str, range(CLASSES))))
    index = torch.from_numpy(episodes.rows).flatten(1)
    memory = torch.empty(index.shape[1], WIDTH)

    def gather() -> None:
        for rows in index:
            torch.index_select(features, 0, rows, out=memory)

    runs: dict[str, Callable[[], Any]] = {
        "loop": lambda: episode_loop(features, episodes, shot),
        "sslbench": lambda: protocol.right_answers(pool, episodes),
        "gather once": gather,
    }
    benchmark.group = f"few-shot, {shot} shots, 600 episodes, {IMAGES} x {WIDTH}"
    got = benchmark.pedantic(runs[way], rounds=ROUNDS, warmup_rounds=1)
    if way == "sslbench":
        # Ties within rounding may fall either way.
        assert np.abs(got - episode_loop(features, episodes, shot)).sum() <= 5


def whole_matrix(bank: Labelled, x: torch.Tensor) -> npt.NDArray[np.float64]:
    """Votes (N, classes) of the nearest by one similarity matrix, as published evaluations write it."""
    similarity = normalize(x) @ normalize(bank.x).T
    nearest, index = similarity.topk(NEIGHBOURS, dim=1)
    votes = torch.zeros(len(x), CLASSES, dtype=torch.float64)
    votes.scatter_add_(1, torch.from_numpy(bank.targets)[index], torch.softmax(nearest.double() / TEMPERATURE, dim=1))
    return votes.numpy()


def lightlys(bank: Labelled, x: torch.Tensor) -> npt.NDArray[np.int64]:
    """Classes (N,) by lightly's function, which takes rows of length one."""
    from lightly.utils.benchmarking import knn_predict

    labels = torch.from_numpy(bank.targets)
    return knn_predict(normalize(x), normalize(bank.x).T, labels, CLASSES, NEIGHBOURS, TEMPERATURE)[:, 0].numpy()


@pytest.mark.parametrize("way", ["product alone", "whole matrix", "lightly", "sslbench"])
def test_knn(way: str, features: torch.Tensor, targets: npt.NDArray[np.int64], benchmark: Benchmark) -> None:
    """A bank of 20,000 and 5,000 queries; `product alone` is the floor, into memory that is there."""
    train, val = (
        Labelled(features[:18_000], targets[:18_000]),
        Labelled(features[18_000:20_000], targets[18_000:20_000]),
    )
    bank, queries = Labelled(features[:20_000], targets[:20_000]), features[20_000:25_000]

    def ours() -> npt.NDArray[np.int64]:
        predictor = NearestNeighbours().learn(train, val, num_classes=CLASSES, metric=METRICS["top1"])
        return predictor.decide(queries).argmax(1)

    memory = torch.empty(len(queries), len(bank.x)) if way == "product alone" else None
    runs: dict[str, Callable[[], Any]] = {
        "product alone": lambda: torch.mm(queries, bank.x.T, out=memory),
        "whole matrix": lambda: whole_matrix(bank, queries).argmax(1),
        "lightly": lambda: lightlys(bank, queries),
        "sslbench": ours,
    }
    benchmark.group = "k nearest neighbours, 5000 queries in 20000 x 2048"
    got = benchmark.pedantic(runs[way], rounds=ROUNDS, warmup_rounds=1)
    if way != "product alone":
        assert (got == whole_matrix(bank, queries).argmax(1)).mean() > 0.999


@pytest.fixture(scope="module")
def pets() -> Problem:
    """Features made up at Pets' size."""
    return problem(SIZES["pets"], signal=0.5)


@pytest.mark.parametrize("way", ["scikit-learn, one thread", "sslbench"])
def test_linear(way: str, pets: Problem, benchmark: Benchmark) -> None:
    """The whole selection: 45 penalties and their validation scores."""
    from threadpoolctl import threadpool_limits

    def ours() -> list[float]:
        path = softmax_path(pets.x, pets.y, PENALTIES)
        assert path.converged.all()
        return [float((values.argmax(1).numpy() == pets.y_val).mean()) for values in path.decision(pets.x_val)]

    def theirs() -> list[float]:
        # Faster than two threads of either pool, and than what scikit-learn does as installed.
        with threadpool_limits(1):
            return baseline(pets)

    benchmark.group = "linear probe, 45 penalties, 2944 x 2048, 37 classes"
    run, rounds = (ours, ROUNDS) if way == "sslbench" else (theirs, 1)
    scores = benchmark.pedantic(run, rounds=rounds)
    benchmark.extra_info["best validation accuracy"] = max(scores)
    assert max(scores) > 10 / 37


def test_machine_products(benchmark: Benchmark) -> None:
    """17.2 GFLOP: a float32 product of two 2048 x 2048 matrices."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    benchmark.group = "the machine: 17.2 GFLOP of float32 product"
    benchmark.pedantic(lambda: a @ b, rounds=ROUNDS, warmup_rounds=1)


def test_machine_memory(features: torch.Tensor, benchmark: Benchmark) -> None:
    """221 MB read and written."""
    memory = torch.empty_like(features)
    benchmark.group = "the machine: a copy of 221 MB"
    benchmark.pedantic(lambda: memory.copy_(features), rounds=ROUNDS, warmup_rounds=1)
