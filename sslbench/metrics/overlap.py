"""Scores of semantic segmentation: the overlap of predicted and true masks, class by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.dense import DenseScores, check_map
from sslbench.metrics.resampling import Pooled, Scale
from sslbench.metrics.sparse_counts import SparseCounts

Absent = Literal["left-out", "zero"]
Sums = NDArray[np.float64]
"""Pixels of each class (3, K): right ones, those of the truth, those predicted."""

_EVERY_BYTE = 256


class Overlap(DenseScores):
    """Scores in percent, from the confusion matrix of all pixels that count of all pictures (Long et al., "Fully Convolutional
    Networks for Semantic Segmentation", 2015, section 5).

    `mean_iou`: intersection over union, mean over the classes. `pixel_accuracy`: right pixels. `mean_accuracy`: right ones among
    the pixels of a class, mean over the classes. `frequency_iou`: the mean overlap weighted by the pixels of each class.

    Pixels whose truth is `ignore` count neither for the truth nor for what was predicted there.

    A class with nothing to divide by, which occurs neither in truth nor in prediction (for `mean_accuracy`: not in the truth),
    is left out of the mean, or with absent="zero" counts as 0, as in the code of Zhou et al. ("Scene Parsing through ADE20K
    Dataset", 2017; github.com/CSAILVision/semantic-segmentation-pytorch), which divides by the union + 1e-10 and takes the mean
    over all classes of its list. That holds for all pictures together and for each resample; a picture's own figure is always the
    mean over the classes that occur in it.

    truth: whole numbers (H, W), from 0 to classes - 1 or `ignore`. predicted: whole numbers (H, W), from 0 to classes - 1.

    Args:
        classes: K.
        ignore: the value of pixels that count for nothing, if there are any; no class.
        absent: what a class that does not occur counts.

    Raises:
        ValueError: no class, an `ignore` that is one, or another word for `absent`.
    """

    main: ClassVar[str] = "mean_iou"

    def __init__(self, classes: int, ignore: int | None = None, *, absent: Absent = "left-out") -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes: expected at least 1, got {classes}")
        if ignore is not None and 0 <= ignore < classes:
            raise ValueError(f"ignore: expected a value that is none of the classes 0 to {classes - 1}, got {ignore}")
        if absent not in ("left-out", "zero"):
            raise ValueError(f"absent: expected 'left-out' or 'zero', got {absent!r}")
        self.classes, self.ignore, self.absent = classes, ignore, absent
        self.confusion: NDArray[np.int64] = np.zeros((classes, classes), dtype=np.int64)
        """Pixels of all pictures by true class (rows) and predicted one (columns)."""
        self._pictures = SparseCounts(classes**2)

    def absent_classes(self) -> list[int]:
        """Those that so far occur neither in a truth nor in a prediction."""
        return np.flatnonzero(np.isnan(class_overlaps(self.confusion))).tolist()

    def _count(self, truth: NDArray[Any], predicted: NDArray[Any]) -> tuple[int, float]:
        check_map(truth, "truth", "iu")
        check_map(predicted, "predicted", "iu")
        low, high = int(predicted.min()), int(predicted.max())
        if low < 0 or high >= self.classes:
            raise ValueError(
                f"predicted: expected classes from 0 to {self.classes - 1}, got {low if low < 0 else high}"
            )
        confusion = self._confusion(truth, predicted)
        self.confusion += confusion
        self._pictures.add(confusion.ravel())
        return int(confusion.sum()), 100 * float(_mean_defined(class_overlaps(confusion)))

    def _confusion(self, truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.int64]:
        """(K, K) of one picture."""
        cells = truth.astype(np.intp)
        if truth.dtype == np.uint8:
            # Every value gets a row, and those that are no class are looked at afterwards, in the counts.
            rows = max(_EVERY_BYTE, self.classes)
        else:
            rows = self.classes + 1
            self._check_labels(cells)
            if self.ignore is not None:
                cells[cells == self.ignore] = self.classes
        cells *= self.classes
        cells += predicted
        counts = np.bincount(cells.ravel(), minlength=rows * self.classes).reshape(-1, self.classes)
        if truth.dtype == np.uint8 and self.classes < _EVERY_BYTE and counts[self.classes :].any():
            self._check_labels(np.flatnonzero(counts.any(axis=1)))
        return counts[: self.classes]

    def _check_labels(self, labels: NDArray[np.intp]) -> None:
        if labels.min() >= 0 and labels.max() < self.classes:
            return
        odd = (labels < 0) | (labels >= self.classes)
        if self.ignore is not None:
            odd &= labels != self.ignore
        if odd.any():
            ignored = "" if self.ignore is None else f" or {self.ignore} (ignored)"
            raise ValueError(
                f"truth: expected classes from 0 to {self.classes - 1}{ignored}, got {int(labels[odd][0])}; name the value of "
                "ignored pixels, or correct the masks"
            )

    def _parts(self) -> Mapping[str, Pooled]:
        cells, k = np.arange(self.classes**2), self.classes
        true, found = cells // k, cells % k
        # The last group takes what is wrong.
        right = self._pictures.grouped(np.where(true == found, true, k), k + 1)[:, :k]
        sums = np.stack([right, self._pictures.grouped(true, k), self._pictures.grouped(found, k)], axis=1)
        figures: dict[str, Callable[[Sums], float]] = {
            "mean_iou": partial(_mean_overlap, absent=self.absent),
            "pixel_accuracy": lambda sums: 100 * float(_fractions(sums[0].sum(), sums[1].sum())),
            "mean_accuracy": partial(_mean_accuracy, absent=self.absent),
            "frequency_iou": _frequency_overlap,
        }
        return {name: Pooled(sums, figure, Scale()) for name, figure in figures.items()}

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        names = ("confusion_starts", "confusion_index", "confusion_counts")
        return dict(zip(names, self._pictures.arrays(), strict=True))


def confusion_of(arrays: Mapping[str, NDArray[Any]], classes: int, picture: int | None = None) -> NDArray[np.int64]:
    """The confusion matrix (K, K) of one picture, or of all together, from the arrays of an `Overlap`.

    Raises:
        ValueError: arrays that are not those of an `Overlap` of so many classes.
    """
    try:
        starts, index, counts = (arrays[f"confusion_{part}"] for part in ("starts", "index", "counts"))
    except KeyError as error:
        raise ValueError(f"arrays: expected those of masks, without {error} they are not") from error
    if not (len(index) == len(counts) == starts[-1] and (index < classes**2).all()):
        raise ValueError(
            f"arrays: expected {starts[-1]} cells of a matrix of {classes} classes, got {len(index)} with {len(counts)} counts "
            f"and numbers up to {index.max(initial=0)}"
        )
    here = slice(None) if picture is None else slice(starts[picture], starts[picture + 1])
    matrix = np.zeros(classes**2, dtype=np.int64)
    np.add.at(matrix, index[here].astype(np.intp), counts[here].astype(np.int64))
    return matrix.reshape(classes, classes)


def class_overlaps(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class (K,), as a fraction; nan for one that does not occur."""
    right = confusion.diagonal()
    return _fractions(right, confusion.sum(axis=0) + confusion.sum(axis=1) - right)


def _overlaps(sums: Sums) -> NDArray[np.float64]:
    right, true, found = sums
    return _fractions(right, true + found - right)


def _mean_overlap(sums: Sums, absent: Absent) -> float:
    return 100 * _mean(_overlaps(sums), absent)


def _mean_accuracy(sums: Sums, absent: Absent) -> float:
    return 100 * _mean(_fractions(sums[0], sums[1]), absent)


def _frequency_overlap(sums: Sums) -> float:
    there = sums[1] > 0
    return 100 * float(_fractions(sums[1, there] @ _overlaps(sums)[there], sums[1].sum()))


def _mean(fractions: NDArray[np.float64], absent: Absent) -> float:
    mean = _mean_defined(fractions)
    # Without any pixel the score is undefined, whatever an absent class counts.
    return mean if absent == "left-out" or np.isnan(mean) else float(np.nansum(fractions) / len(fractions))


def _mean_defined(fractions: NDArray[np.float64]) -> float:
    defined = fractions[~np.isnan(fractions)]
    return float(defined.mean()) if defined.size else np.nan


def _fractions(part: Any, whole: Any) -> NDArray[np.float64]:
    """part / whole, nan where the whole is nothing."""
    nothing = np.full(np.shape(whole), np.nan)
    fractions: NDArray[np.float64] = np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)
    return fractions
