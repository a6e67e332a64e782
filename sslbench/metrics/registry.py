"""The metrics that a dataset can name, each with what the rest of the package has to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.classification import mean_per_class, top1
from sslbench.metrics.multilabel import voc_map11, voc_map11_resampled
from sslbench.metrics.ranking import auroc, auroc_resampled, average_precision, average_precision_resampled
from sslbench.metrics.score import Score
from sslbench.registry import Registry


@dataclass(frozen=True)
class MetricSpec:
    """The declaration of a metric; called with decision values (N, K) and targets it gives the Score.

    compute: the function behind it. blind: from targets and the number of classes, the score of who does not look at the
    items. one_label, several_labels: whether it takes targets (N,), and (N, K). resampled: the Score and its value on
    resamples of the items that depend on the number of items alone, which is what a paired test of two backbones takes; None
    where each item is right or wrong by itself, and these outcomes are paired. needs: what there must be of each class,
    `positive` and `negative` items. within_classes: whether its paired test resamples within classes, which it has to know.
    """

    name: str
    compute: Callable[..., Score]
    blind: Callable[[NDArray[Any], int], float]
    one_label: bool = True
    several_labels: bool = False
    resampled: Callable[..., tuple[Score, NDArray[np.float64]]] | None = None
    needs: tuple[str, ...] = ()
    within_classes: bool = False

    def __call__(self, decision: NDArray[Any], targets: NDArray[Any]) -> Score:
        """The score. Raises ValueError for input on which it is not defined."""
        return self.compute(decision, targets)

    def select(self, decision: NDArray[Any], targets: NDArray[Any]) -> Score:
        """The same value for choosing a hyperparameter, without a bootstrap for each candidate."""
        return self(decision, targets) if self.resampled is None else self.compute(decision, targets, resamples=0)

    def undefined(self, targets: NDArray[Any], classes: int) -> Mapping[str, list[int]]:
        """The classes for which it has no value on these targets, by what they lack: `positive` or `negative` items."""
        first, positives, negatives = _sides(targets, classes)
        there = {"positive": positives, "negative": negatives}
        lacking = {side: [first + int(c) for c in np.flatnonzero(there[side] == 0)] for side in self.needs}
        return {side: labels for side, labels in lacking.items() if labels}


def _sides(targets: NDArray[Any], classes: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Items of each class and items of others, from the class that comes first: 1 where an item has one of two classes."""
    if targets.ndim == 2:
        return 0, (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    first = 1 if classes == 2 else 0
    positives = np.bincount(targets, minlength=classes)[first:]
    return first, positives, len(targets) - positives


def _largest_class(targets: NDArray[Any], classes: int) -> float:
    return 100 * float(np.bincount(targets).max()) / len(targets)


def _one_of_the_present(targets: NDArray[Any], classes: int) -> float:
    return 100 / len(np.unique(targets))


def _prevalence(targets: NDArray[Any], classes: int) -> float:
    _, positives, negatives = _sides(targets, classes)
    return 100 * float((positives / (positives + negatives)).mean())


def _equal_scores(targets: NDArray[Any], classes: int) -> float:
    return voc_map11(np.zeros(targets.shape), targets, resamples=0).value


METRICS: Registry[MetricSpec] = Registry("metric")
"""By name."""

for _spec in (
    MetricSpec("top1", top1, _largest_class),
    MetricSpec("mean_per_class", mean_per_class, _one_of_the_present, within_classes=True),
    MetricSpec(
        "auroc",
        auroc,
        lambda targets, classes: 50.0,
        several_labels=True,
        resampled=auroc_resampled,
        needs=("positive", "negative"),
    ),
    MetricSpec(
        "map",
        average_precision,
        _prevalence,
        several_labels=True,
        resampled=average_precision_resampled,
        needs=("positive",),
    ),
    MetricSpec(
        "voc_map11",
        voc_map11,
        _equal_scores,
        one_label=False,
        several_labels=True,
        resampled=voc_map11_resampled,
        needs=("positive",),
    ),
):
    METRICS.add(_spec.name, _spec)


def metrics_for(*, several_labels: bool) -> list[str]:
    """Names of the metrics that take targets (N, K), or (N,)."""
    return [name for name in METRICS if (METRICS[name].several_labels if several_labels else METRICS[name].one_label)]


def metric_spec(name: str) -> MetricSpec:
    """The declaration behind a name; UnknownNameError lists the nearest known ones."""
    return METRICS[name]
