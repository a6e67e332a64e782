"""Recognition: what it needs of targets, and how decisions become scores; classifiers on frozen features."""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Dataset, Labels, LabelSets
from sslbench.errors import DataError
from sslbench.metrics import METRICS, MetricSpec, correct, metric_spec, metrics_for
from sslbench.metrics.calibration_scores import Decided, calibration_scores
from sslbench.protocols.base import (
    Development,
    HeldOut,
    Labelled,
    Material,
    P,
    Predictor,
    Protocol,
    items_digest,
    label_values,
)
from sslbench.protocols.outcome import Outcome, Paired

if TYPE_CHECKING:
    from torch import Tensor

    from sslbench.backbones import Backbone
    from sslbench.training.trials import Trials

# Of the scores that `outcome_of` adds to the dataset's own metrics. Part of the key and not of a protocol's version: a record
# that lacks them is run again, and its main score stays comparable with those of committed baselines.
CALIBRATION_VERSION = 1
_WORDS = {"positive": "with", "negative": "without"}


class Classifier(Predictor):
    """Decides features."""

    @abstractmethod
    def decide(self, x: Tensor) -> npt.NDArray[np.float64]:
        """Decision values (N, K) for features (N, D); the largest one is the prediction."""

    def explain(self, x: Tensor) -> tuple[npt.NDArray[np.float64], Mapping[str, npt.NDArray[Any]]]:
        """As `decide`, and arrays that tell how it came to that, which are stored beside the record; none by default."""
        return self.decide(x), {}


class Recognition(Protocol[P]):
    """Classes told by decision values on test, scored by the dataset's metric. How they come about is the subclass's own.

    selects: whether `fit` asks the metric about val, so that the metric must have a value there.
    """

    selects = True

    def check_targets(self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str]) -> None:
        """Raise DataError for targets that cannot be learned from; asked before a picture is decoded, and again of those read.

        classes: names, for the message.
        """

    def check(self, dataset: Dataset) -> None:
        """The metric takes such targets and has a value where it is asked, and they can be learned from."""
        several = dataset.target_type is LabelSets
        metric = known_metric(None if dataset.metric is None else metric_spec(dataset.metric))
        if metric.name not in metrics_for(several_labels=several):
            raise DataError(
                f"{dataset.name} has {dataset.target_type.kind}, which the metric {metric.name} does not take; its metric may be "
                f"{', '.join(metrics_for(several_labels=several))}"
            )
        train, val, test = (label_values(dataset.splits[split].targets) for split in ("train", "val", "test"))
        self.check_development(train, val, dataset.classes, metric)
        check_scored(metric, "test", test, dataset.classes)

    def ingredients(self, material: Material) -> dict[str, Any]:
        """What can change its scores; where an item has one class, the calibration scores too."""
        added = {"calibration": CALIBRATION_VERSION} if material.dataset.target_type is Labels else {}
        return {**super().ingredients(material), **added}

    def check_development(
        self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str], metric: MetricSpec
    ) -> None:
        """Raise DataError where these targets cannot be learned from, or the metric cannot select on them."""
        self.check_targets(train, val, classes)
        if self.selects:
            check_scored(metric, "val", val, classes)

    def outcome(
        self,
        decision: npt.NDArray[Any],
        targets: npt.NDArray[Any],
        held_out: HeldOut,
        *,
        validation: Decided | None = None,
    ) -> Outcome:
        """What decision values (N, K) on the test pictures that could be read, with these targets, give.

        validation: see `Predictor`.
        """
        metric = known_metric(held_out.metric)
        items = items_digest(held_out.test.images, targets)
        classes = len(held_out.classes)
        return outcome_of(decision, targets, metric, classes=classes, items=items, validation=validation)


class Probe(Recognition[Classifier]):
    """A classifier learned on the frozen features of train and val."""

    @abstractmethod
    def learn(self, train: Labelled, val: Labelled, *, num_classes: int, metric: MetricSpec) -> Classifier:
        """Select on `val` by `metric` and return the classifier to test; `fit` has checked the targets."""

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Classifier:
        """Learn from the features."""
        train, val, metric = development.train.labelled(), development.val.labelled(), known_metric(development.metric)
        self.check_development(train.targets, val.targets, development.classes, metric)
        return self.learn(train, val, num_classes=len(development.classes), metric=metric)

    def score(self, predictor: Classifier, held_out: HeldOut) -> Outcome:
        """The test split is decided once."""
        test = held_out.test.labelled()
        check_scored(known_metric(held_out.metric), "test", test.targets, held_out.classes)
        decision, reasons = predictor.explain(test.x)
        outcome = self.outcome(decision, test.targets, held_out, validation=predictor.validation)
        return replace(outcome, samples={**outcome.samples, **reasons})


def outcome_of(
    decision: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    metric: MetricSpec,
    *,
    classes: int,
    items: str,
    validation: Decided | None = None,
) -> Outcome:
    """The scores of decision values (N, K) on targets (N,) or (N, K); `items` identifies the N test items.

    Where an item has one class they include those of calibration, of the softmax of the decision values.
    """
    score, paired = _scored(metric, decision, targets, items)
    scores = {metric.name: score}
    for name in metrics_for(several_labels=targets.ndim == 2):
        # The others of a kind that takes no bootstrap are given beside it.
        if METRICS[name].resampled is None and name not in scores:
            scores[name] = METRICS[name](decision, targets)
    samples = {"decision": decision.astype(np.float32), "targets": targets}
    guess = metric.blind(targets, classes)
    if targets.ndim == 2:
        return Outcome(scores, metric.name, guess, paired, samples)
    found = calibration_scores(decision, targets, validation)
    return Outcome(
        {**scores, **found.scores},
        metric.name,
        guess,
        replace(paired, others=found.resampled),
        {**samples, "reliability": found.reliability},
        fitted={"ece_temperatures": dict(found.temperatures)},
    )


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


def check_every_class(train: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Raise DataError unless there is something of every class to train on, and where an image has several, something without."""
    if train.ndim == 1:
        counts = {"with": np.bincount(train, minlength=len(classes))}
    else:
        counts = {"with": (train == 1).sum(axis=0), "without": (train == 0).sum(axis=0)}
    told = []
    for side, count in counts.items():
        if lacking := [repr(name) for name, images in zip(classes, count, strict=True) if images == 0]:
            told.append(f"no image {side} the class{'es' * (len(lacking) > 1)} {', '.join(lacking)}")
    if told:
        raise DataError(f"the training split has {' and '.join(told)}; add images or leave the classes out")


def check_scored(metric: MetricSpec, split: str, targets: npt.NDArray[Any], classes: Sequence[str]) -> None:
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


def known_metric(metric: MetricSpec | None) -> MetricSpec:
    """The dataset's metric. Raises DataError where it has none."""
    if metric is None:
        raise DataError(
            f"classes are scored by the dataset's metric, and it has none; give it one of {', '.join(METRICS)}"
        )
    return metric
