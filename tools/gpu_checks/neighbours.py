"""Nearest neighbours and few-shot beside their plain versions on the same device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from gpu_checks.bench import Bench, Found
from sslbench.features.stacked import Pool
from sslbench.metrics import METRICS
from sslbench.protocols.base import Labelled
from sslbench.protocols.fewshot import QUERY, WAY, Episodes, FewShot
from sslbench.protocols.knn import NEIGHBOURS, TEMPERATURE, NearestNeighbours

CLASSES = 10


def _features(bench: Bench, images: int) -> tuple[Tensor, np.ndarray]:
    """Float32 (N, 2048) with a class signal, on the device, and their classes."""
    generator, width = torch.Generator().manual_seed(0), 32 if bench.small else 2048
    centres = torch.randn(CLASSES, width, generator=generator)
    noise = torch.randn(images, width, generator=generator)
    targets = np.arange(images) % CLASSES
    return (noise * 4 + centres[targets]).relu_().to(bench.device), targets


def few_shot(bench: Bench, found: Found) -> None:
    """600 episodes of 5, 20 and 50 shots at EuroSAT's size."""
    x, targets = _features(bench, 300 if bench.small else 27_000)
    for shot in (5,) if bench.small else (5, 20, 50):
        _episodes(bench, found, x, targets, shot)


def _episodes(bench: Bench, found: Found, x: Tensor, targets: np.ndarray, shot: int) -> None:
    protocol, pool = FewShot(f"{shot}shot"), Pool([x])
    episodes = protocol.draw(targets, tuple(map(str, range(CLASSES))))
    apart = int(np.abs(protocol.right_answers(pool, episodes) - _loop(x, episodes, shot)).sum())
    # Ties within rounding fall either way.
    found.expect(apart <= 20, f"{shot} shots: {apart} right answers are not those of a loop over episodes")
    ours, loop = [], []
    for _ in bench.rounds():
        ours.append(bench.seconds(lambda: protocol.right_answers(pool, episodes)))
        loop.append(bench.seconds(lambda: _loop(x, episodes, shot)))
    found.row(f"{shot} shots", "ms", [1e3 * value for value in ours])
    found.ratio(f"{shot} shots, loop over episodes / ours", loop, ours)


def _loop(x: Tensor, episodes: Episodes, shot: int) -> np.ndarray:
    truth = torch.arange(WAY, device=x.device).repeat_interleave(QUERY)
    right = []
    for rows in torch.from_numpy(episodes.rows).to(x.device):
        picked = x[rows]
        centroids, queries = picked[:, :shot].mean(1), picked[:, shot:].flatten(0, 1)
        right.append((torch.cdist(queries, centroids).argmin(1) == truth).sum())
    return torch.stack(right).cpu().numpy()


def nearest_neighbours(bench: Bench, found: Found) -> None:
    """5,000 queries in 20,000, of the width of a ResNet-50's features."""
    bank, count = (3000, 300) if bench.small else (20_000, 5000)
    x, targets = _features(bench, bank + count)
    cut = bank * 9 // 10
    train, val = Labelled(x[:cut], targets[:cut]), Labelled(x[cut:bank], targets[cut:bank])
    labels = torch.from_numpy(targets[:bank]).to(x.device)

    def ours() -> np.ndarray:
        predictor = NearestNeighbours().learn(train, val, num_classes=CLASSES, metric=METRICS["top1"])
        return predictor.decide(x[bank:])

    def whole_matrix() -> np.ndarray:
        nearest, index = (normalize(x[bank:]) @ normalize(x[:bank]).T).topk(NEIGHBOURS, dim=1)
        votes = torch.zeros(count, CLASSES, dtype=torch.float64, device=x.device)
        return votes.scatter_add_(1, labels[index], torch.softmax(nearest.double() / TEMPERATURE, 1)).cpu().numpy()

    agree = float((ours().argmax(1) == whole_matrix().argmax(1)).mean())
    found.row("decided as by one matrix", "%", [100 * agree])
    found.expect(agree > 0.999, f"only {agree:.2%} of the queries are decided as by one similarity matrix")
    chunked, whole = [], []
    for _ in bench.rounds():
        chunked.append(bench.seconds(ours))
        whole.append(bench.seconds(whole_matrix))
    found.row(f"{count} queries in {bank}", "ms", [1e3 * value for value in chunked])
    found.ratio("one similarity matrix / ours", whole, chunked)
