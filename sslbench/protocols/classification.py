"""Classifiers on frozen features: what they need of targets, and how their decisions become scores."""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Dataset, Labels, LabelSets
from sslbench.errors import DataError
from sslbench.metrics import METRICS, MetricSpec, correct, metric_spec, metrics_for
from sslbench.protocols.base import Development, HeldOut, Labelled, Predictor, Protocol, items_digest
from sslbench.protocols.outcome import Outcome, Paired

if TYPE_CHECKING:
    from torch import Tensor

    from sslbench.backbones import Backbone
    from sslbench.training.trials import Trials

_WORDS = {"positive": "with", "negative": "without"}


class Classifier(Predictor):
    """Decides features."""

    @abstractmethod
    def decide(self, x: Tensor) -> npt.NDArray[np.float64]:
        """Decision values (N, K) for features (N, D); the largest one is the prediction."""


class Probe(Protocol[Classifier]):
    """A classifier learned on the features of train and val, and scored by the dataset's metric on test.

    selects: whether `learn` asks the metric about val, so that the metric must have a value there.
    """

    selects = True

    def check_targets(self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str]) -> None:
        """Raise DataError for targets that `learn` cannot use; asked before a picture is decoded, and again of those read.

        classes: names, for the message.
        """

    @abstractmethod
    def learn(self, train: Labelled, val: Labelled, *, num_classes: int, metric: MetricSpec) -> Classifier:
        """Select on `val` by `metric` and return the classifier to test. Raises DataError for unusable splits."""

    def check(self, dataset: Dataset) -> None:
        """The metric takes such targets and has a value where it is asked, and `learn` can use them."""
        several = dataset.targets is LabelSets
        metric = _metric(dataset.metric)
        if metric.name not in metrics_for(several_labels=several):
            raise DataError(
                f"{dataset.name} has {dataset.targets.kind}, which the metric {metric.name} does not take; its metric may be "
                f"{', '.join(metrics_for(several_labels=several))}"
            )
        train, val, test = (_values(dataset, split) for split in ("train", "val", "test"))
        self._check_development(train, val, dataset.classes, metric)
        _check_scored(metric, "test", test, dataset.classes)

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Classifier:
        """Learn from the features."""
        train, val, metric = development.train.labelled(), development.val.labelled(), _metric(development.metric)
        self._check_development(train.targets, val.targets, development.classes, metric)
        return self.learn(train, val, num_classes=len(development.classes), metric=metric)

    def score(self, predictor: Classifier, held_out: HeldOut) -> Outcome:
        """The test split is decided once."""
        test, metric = held_out.test.labelled(), _metric(held_out.metric)
        _check_scored(metric, "test", test.targets, held_out.classes)
        items = items_digest(held_out.test.images, test.targets)
        return outcome_of(predictor.decide(test.x), test.targets, metric, classes=len(held_out.classes), items=items)

    def _check_development(
        self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str], metric: MetricSpec
    ) -> None:
        self.check_targets(train, val, classes)
        if self.selects:
            _check_scored(metric, "val", val, classes)


def outcome_of(
    decision: npt.NDArray[Any], targets: npt.NDArray[Any], metric: MetricSpec, *, classes: int, items: str
) -> Outcome:
    """The scores of decision values (N, K) on targets (N,) or (N, K); `items` identifies the N test items."""
    score, paired = _scored(metric, decision, targets, items)
    scores = {metric.name: score}
    for name in metrics_for(several_labels=targets.ndim == 2):
        # The others of a kind that takes no bootstrap are given beside it.
        if METRICS[name].resampled is None and name not in scores:
            scores[name] = METRICS[name](decision, targets)
    samples = {"decision": decision.astype(np.float32), "targets": targets}
    return Outcome(scores, metric.name, metric.blind(targets, classes), paired, samples)


def _scored(
    metric: MetricSpec, decision: npt.NDArray[Any], targets: npt.NDArray[Any], items: str
) -> tuple[Any, Paired]:
    """The main score, and which test images were right; where none is right by itself, the score on resamples."""
    if metric.resampled is not None:
        score, resampled = metric.resampled(decision, targets)
        return score, Paired("resamples", resampled, items, {"images": len(targets)})
    facts: Mapping[str, Any] = {}
    if metric.within_classes:
        facts = {"targets": base64.b64encode(targets.astype("<u2").tobytes()).decode()}
    return metric(decision, targets), Paired("correct", correct(decision, targets), items, facts)


def _check_scored(metric: MetricSpec, split: str, targets: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Raise DataError where the metric has no value on these targets."""
    undefined = metric.undefined(targets, len(classes))
    if undefined:
        told = [f"no image {_WORDS[side]} {_named(labels, classes)}" for side, labels in undefined.items()]
        raise DataError(
            f"the metric {metric.name} has no value on the {split} split, which has {' and '.join(told)}; add images, leave "
            "the classes out, or choose another metric"
        )


def _named(labels: Sequence[int], classes: Sequence[str]) -> str:
    return f"the class{'es' * (len(labels) > 1)} {', '.join(repr(classes[label]) for label in labels)}"


def _metric(metric: MetricSpec | str | None) -> MetricSpec:
    if metric is None:
        raise DataError(
            f"a classifier is scored by the dataset's metric, and it has none; give it one of {', '.join(METRICS)}"
        )
    return metric_spec(metric) if isinstance(metric, str) else metric


def _values(dataset: Dataset, split: str) -> npt.NDArray[Any]:
    targets = dataset.splits[split].targets
    assert isinstance(targets, Labels | LabelSets)
    return targets.values
