"""A dial that takes a score down to guessing: noise in the features of test pictures, more and more of it.

It says what a score rests on. At level 0 it is the case's own; where noise hides the features it is the level of guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sslbench.errors import DataError
from sslbench.metrics import Score, metric_spec
from sslbench.protocols.knn import NearestNeighbours

if TYPE_CHECKING:
    from sslbench.material import CaseMaterial

LEVELS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)


@dataclass(frozen=True)
class Step:
    """The score of nearest neighbours at one level of noise."""

    level: float
    score: Score


def noise_dial(material: CaseMaterial, levels: Sequence[float] = LEVELS, *, seed: int = 0) -> list[Step]:
    """The nearest-neighbour score of a case at each level of noise in its test features.

    level: the noise's standard deviation, in those of each feature over the test pictures. All levels scale one draw of
    standard normal noise (N, D), so that steps differ by the level alone. The bank of training pictures has none.
    Raises DataError for a dataset that the knn protocol does not take.
    """
    import torch

    dataset = material.dataset
    if dataset.metric is None:
        raise DataError(f"{dataset.name}: expected a dataset with classes, got {dataset.target_type.kind}")
    metric = metric_spec(dataset.metric)
    train, val, test = (material.split(name) for name in ("train", "val", "test"))
    classifier = NearestNeighbours().learn(train, val, num_classes=len(dataset.classes), metric=metric)
    x = test.x.float()
    # NumPy's generator, so that every device sees the same noise.
    drawn = np.random.default_rng(seed).standard_normal(tuple(x.shape), dtype=np.float32)
    noise = torch.from_numpy(drawn).to(x.device) * x.std(dim=0, correction=0)
    return [Step(level, metric(classifier.decide(x + level * noise), test.targets)) for level in levels]
