"""What a protocol and a metric need of targets: asked before a picture is decoded, and again of those that could be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Dataset
from sslbench.errors import DataError
from sslbench.metrics import metric_spec, metrics_for
from sslbench.protocols.base import EpisodicProtocol, SplitProtocol

_WORDS = {"positive": "with", "negative": "without"}


def check_dataset(protocol: SplitProtocol | EpisodicProtocol, dataset: Dataset) -> None:
    """Raise DataError where the protocol cannot be run on a dataset, or its metric has no value there.

    Asks of the targets alone; all classes that are in the way are named.
    """
    wanted = dataset.pool if isinstance(protocol, EpisodicProtocol) else ("train", "val", "test")
    targets = _targets(dataset, wanted)
    if dataset.multi_label and (isinstance(protocol, EpisodicProtocol) or not protocol.multi_label):
        raise DataError(f"this protocol takes one class an image, but {dataset.name} is multi-label")
    if isinstance(protocol, EpisodicProtocol):
        protocol.check(np.concatenate(list(targets.values())), dataset.classes)
        return
    metric = metric_spec(dataset.metric)
    if metric.name not in metrics_for(several_labels=dataset.multi_label):
        raise DataError(
            f"{dataset.name} has {'several classes' if dataset.multi_label else 'one class'} an image, which the metric "
            f"{metric.name} does not take; its metric may be {', '.join(metrics_for(several_labels=dataset.multi_label))}"
        )
    check_fit(protocol, dataset, targets["train"], targets["val"])
    check_scored(dataset, "test", targets["test"])


def check_fit(protocol: SplitProtocol, dataset: Dataset, train: npt.NDArray[Any], val: npt.NDArray[Any]) -> None:
    """Raise DataError where the protocol cannot be fitted on these targets, or cannot select by the metric."""
    protocol.check(train, val, dataset.classes)
    if protocol.selects:
        check_scored(dataset, "val", val)


def check_scored(dataset: Dataset, split: str, targets: npt.NDArray[Any]) -> None:
    """Raise DataError where the dataset's metric has no value on these targets."""
    undefined = metric_spec(dataset.metric).undefined(targets, len(dataset.classes))
    if undefined:
        told = [f"no image {_WORDS[side]} {_named(labels, dataset.classes)}" for side, labels in undefined.items()]
        raise DataError(
            f"the metric {dataset.metric} has no value on the {split} split, which has {' and '.join(told)}; add images, leave "
            "the classes out, or choose another metric"
        )


def _targets(dataset: Dataset, wanted: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    absent = [name for name in wanted if name not in dataset.splits]
    empty = [name for name in wanted if name not in absent and not len(dataset.splits[name].targets)]
    if absent or empty:
        raise DataError(
            f"this protocol needs the splits {', '.join(wanted)} of {dataset.name}, which has {', '.join(dataset.splits)}"
            + (f", of which {', '.join(empty)} without an image" if empty else "")
        )
    return {name: dataset.splits[name].targets for name in wanted}


def _named(labels: Sequence[int], classes: Sequence[str]) -> str:
    return f"the class{'es' * (len(labels) > 1)} {', '.join(repr(classes[label]) for label in labels)}"
