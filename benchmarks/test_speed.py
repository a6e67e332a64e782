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
from sslbench.metrics import METRICS, Detections, Truth, detection_scores, image_average_precision
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


@pytest.fixture(scope="module")
def boxes() -> tuple[Detections, Truth]:
    """Made up at the size of VOC 2007's test set, with 100 detections on each picture, a third of them near an object."""
    rng = np.random.default_rng(0)
    images, per_image, classes = 4952, 100, 20
    there = 1 + rng.poisson(1.43, size=images)
    image = np.repeat(np.arange(images), there)

    def anywhere(n: int) -> npt.NDArray[np.float32]:
        corner = rng.uniform(0, 300, size=(n, 2))
        return np.concatenate([corner, corner + rng.uniform(20, 200, size=(n, 2))], axis=1).astype(np.float32)

    objects, labels = anywhere(len(image)).round(), rng.integers(classes, size=len(image))
    truth = Truth(images, image, objects, labels, rng.random(len(image)) < 0.15)

    m = images * per_image
    picture = np.repeat(np.arange(images), per_image)
    near = rng.random(m) < 1 / 3
    chosen = (np.cumsum(there) - there)[picture] + (rng.random(m) * there[picture]).astype(np.int64)
    moved = objects[chosen] + rng.normal(size=(m, 4)) * rng.uniform(0, 20, size=(m, 1))
    found = np.where(near[:, None], moved, anywhere(m)).astype(np.float32)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    kinds = np.where(near, labels[chosen], rng.integers(classes, size=m))
    return Detections(picture, found, kinds, (rng.beta(1, 4, size=m) + near * 0.2).astype(np.float32)), truth


def torchmetrics_ap(found: Detections, truth: Truth, backend: str) -> float:
    """COCO's AP, in percent."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
        backend=backend,  # type: ignore[arg-type]
    )
    splits = np.bincount(found.image, minlength=truth.images), np.bincount(truth.image, minlength=truth.images)
    arrays = (
        {"boxes": found.boxes, "labels": found.labels, "scores": found.scores},
        {"boxes": truth.boxes, "labels": truth.labels, "iscrowd": truth.difficult.astype(np.int64)},
    )
    parts = []
    for sizes, given in zip(splits, arrays, strict=True):
        columns = {name: torch.from_numpy(values).split(sizes.tolist()) for name, values in given.items()}
        parts.append([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    metric.update(*parts)
    return 100 * float(metric.compute()["map"])


@pytest.mark.parametrize(
    "way", ["torchmetrics, pycocotools", "torchmetrics, faster-coco-eval", "sslbench", "200 resamples", "each picture"]
)
def test_detection(way: str, boxes: tuple[Detections, Truth], benchmark: Benchmark) -> None:
    """Theirs is COCO's rule, for four ranges of area; `sslbench` both rules, for all areas.

    `200 resamples` is that with standard errors, `each picture` VOC's rule on every picture alone.
    """
    found, truth = boxes
    runs: dict[str, Callable[[], Any]] = {
        "torchmetrics, pycocotools": lambda: torchmetrics_ap(found, truth, "pycocotools"),
        "torchmetrics, faster-coco-eval": lambda: torchmetrics_ap(found, truth, "faster_coco_eval"),
        "sslbench": lambda: detection_scores(found, truth, 20, resamples=0).scores["AP_coco"].value,
        "200 resamples": lambda: detection_scores(found, truth, 20).scores["AP_coco"].value,
        "each picture": lambda: image_average_precision(found, truth, 20),
    }
    benchmark.group = f"detection evaluator, {len(found.image)} detections, {len(truth.image)} objects, 20 classes"
    got = benchmark.pedantic(runs[way], rounds=1 if way.startswith("torchmetrics") else 3)
    if way != "each picture":
        benchmark.extra_info["AP_coco"] = got
        assert got == pytest.approx(detection_scores(found, truth, 20, resamples=0).scores["AP_coco"].value, abs=1e-3)


@pytest.fixture(scope="module")
def masks() -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Truth and prediction of 20 pictures of 512 x 512 in patches of 16 x 16, a tenth of them without truth."""
    rng, pairs = np.random.default_rng(0), []
    for _ in range(20):
        here = rng.choice(150, size=12, replace=False)
        truth = rng.choice(here, size=(32, 32))
        found = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(150, size=truth.shape))
        truth[rng.random(truth.shape) < 0.1] = 255
        whole = (np.kron(patches, np.ones((16, 16), int)).astype(np.uint8) for patches in (truth, found))
        pairs.append(tuple(whole))
    return pairs


@pytest.mark.parametrize(
    "way",
    ["torchmetrics, overlap", "torchmetrics, matrix", "torchmetrics, matrix, unchecked", "sslbench", "200 resamples"],
)
def test_masks(way: str, masks: list[tuple[Any, Any]], benchmark: Benchmark) -> None:
    """The pictures' pixels counted, given as bytes. `unchecked` looks at no label; `200 resamples` scores as well."""
    from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

    from sslbench.metrics.overlap import Overlap, class_overlaps

    kind = MulticlassJaccardIndex if way.endswith("overlap") else MulticlassConfusionMatrix
    given = [(torch.from_numpy(found), torch.from_numpy(truth)) for truth, found in masks]

    def theirs() -> npt.NDArray[np.int64]:
        metric = kind(150, ignore_index=255, validate_args="unchecked" not in way)
        for found, truth in given:
            metric.update(found, truth)
        return metric.confmat.numpy()

    def ours() -> npt.NDArray[np.int64]:
        scores = Overlap(150, ignore=255)
        for truth, found in masks:
            scores.add(truth, found)
        if way == "200 resamples":
            overlap = scores.scored().scores["mean_iou"].value
            assert overlap == pytest.approx(100 * np.nanmean(class_overlaps(scores.confusion)))
        return scores.confusion

    benchmark.group = "masks, 20 pictures of 512 x 512, 150 classes"
    got = benchmark.pedantic(theirs if way.startswith("torchmetrics") else ours, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["pictures a second"] = round(len(masks) / benchmark.stats.stats.min)
    expected = np.zeros((151, 150), np.int64)
    for truth, found in masks:
        np.add.at(expected, (np.minimum(truth, 150).ravel(), found.ravel()), 1)
    np.testing.assert_array_equal(got, expected[:150])


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
