"""Frozen dense probes: a linear layer, or nearest neighbours, on the maps of a network that nothing changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.backbones import Preprocessing
from sslbench.datasets import Dataset, Masks
from sslbench.errors import DataError, UnknownNameError
from sslbench.features.maps import MAPS_VERSION, Maps, map_shapes
from sslbench.metrics.dense_kept import HIGHER_IS_BETTER
from sslbench.metrics.dense_samples import DensePredictions
from sslbench.protocols import _dense_probe_options as options
from sslbench.protocols._dense_cells import CellTask, Grid, SegmentationCells, reachable, task_of
from sslbench.protocols._dense_coding import check_learned, check_scored
from sslbench.protocols._dense_fits import PENALTIES, Fit, LinearPath, NeighboursFit, linear_path
from sslbench.protocols._dense_options import check_masks
from sslbench.protocols._dense_rows import Drawn, FeatureRows, batches, draw
from sslbench.protocols.base import Development, HeldOut, Material, Part, Predictor, Protocol
from sslbench.protocols.outcome import Outcome, Paired

if TYPE_CHECKING:
    from sslbench.backbones import Backbone
    from sslbench.training.trials import Trials

# So many rows at least are learned from where the pictures have them.
_FEWEST_ROWS = 1 << 14

Array = npt.NDArray[Any]


class Probed(Predictor):
    """constant: what is answered by who does not look, (width,)."""

    def __init__(self, task: CellTask, fit: Fit, grid: Grid, most: int, constant: Tensor, told: dict[str, Any]) -> None:
        self.task, self.fit, self.grid, self.most, self.constant = task, fit, grid, most, constant
        self.hyperparameters = told


class DenseProbe(Protocol[Probed]):
    """Learned on cells of a grid, answered for every pixel.

    The picture is stretched to the network's input size, so that any network sees all of it; its maps are brought to one grid,
    that of the finest map that is used, and the answers on that grid are enlarged bilinearly to the size of the truth.

    kinds: of `sslbench.protocols._dense_probe_options` that the task has.
    """

    def __init__(self, name: str, variant: str, kinds: Sequence[str]) -> None:
        parsed = options.parse(variant, kinds)
        if parsed is None:
            raise UnknownNameError(f"unknown variant of {name} {variant!r}; {options.help_of(kinds)}")
        self.name, self.options = name, parsed

    def check(self, dataset: Dataset) -> None:
        """Raise DataError for masks of fewer than two classes, or that ignore one of them."""
        check_masks(dataset, self.name)

    def preprocessing(self, own: Preprocessing, compat: Any) -> Preprocessing:
        """The whole picture, stretched."""
        return replace(own, resize=None)

    def ingredients(self, material: Material) -> dict[str, Any]:
        """The recipe of the features, and of the maps."""
        return {**super().ingredients(material), "maps": MAPS_VERSION}

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Probed:
        """Select the penalty on val by the main score, and learn again on train and val; nearest neighbours select nothing."""
        task, last = task_of(development.train.targets, development.classes), self.options.levels
        shapes = map_shapes(backbone, self.options.grid)
        grid = shapes[-last:][0][1:]
        parts = {name: development.parts[name] for name in ("train", "val")}
        pictures = sum(len(part.targets) for part in parts.values())
        each = self.options.cells or max(task.drawn, -(-_FEWEST_ROWS // pictures))
        drawn = {name: draw(part, name, task, grid, each) for name, part in parts.items()}
        if isinstance(task, SegmentationCells):
            check_learned(drawn["train"].sums.sum(axis=0), development.classes)
        maps = {name: part.maps(self.options.grid) for name, part in parts.items()}
        readable = {name: drawn[name].sums[maps[name].rows] for name in parts}
        if isinstance(task, SegmentationCells):
            # Again, without the pictures that could not be read.
            check_learned(readable["train"].sum(axis=0), development.classes)
        device = maps["train"].device
        with ExitStack() as files:
            rows = [FeatureRows(files, trials.folder, maps[name], drawn[name], last, grid) for name in ("train", "val")]
            for name, part in zip(parts, rows, strict=True):
                if not len(part.values):
                    raise DataError(
                        f"no cell of a {name} picture has enough pixels that count ({task.least:.0%} of a cell); correct the "
                        "files, or choose another grid (grid=N)"
                    )
            scale = rows[0].scale([shape[0] for shape in shapes[-last:]], by_channel=self.options.norm == "batch")
            for part in rows:
                part.divide(scale)
            scale = replace(scale, mean=scale.mean.to(device), deviation=scale.deviation.to(device))
            told: dict[str, Any] = {
                "grid": list(grid), "input": list(backbone.preprocessing.input_size),
                "features": len(scale.mean), "levels": [list(shape) for shape in shapes[-last:]], "norm": self.options.norm,
                "cells": each, "rows": sum(len(part.values) for part in rows),
            }  # fmt: skip
            fit: Fit
            if self.options.kind == "knn":
                if told["rows"] < 20:
                    raise DataError(f"knn needs 20 cells at least, got {told['rows']}; add pictures")
                fit = NeighboursFit([part.x for part in rows], [part.values for part in rows], scale, last, grid)
            else:
                path = linear_path(task, rows[:1], PENALTIES, device)
                scored = _main_scores(task, path.fits(scale, last, grid), parts["val"], maps["val"])
                best = _best(scored, task)
                chosen = LinearPath(path.coef[best : best + 1], path.intercept[best : best + 1], {})
                final = linear_path(task, rows, PENALTIES[best : best + 1], device, start=chosen)
                (fit,) = final.fits(scale, last, grid)
                told |= {"penalty": PENALTIES[best], "val_score": scored[best], **final.told}
        known = max(1, sum(int(drawn[name].known[maps[name].rows].sum()) for name in parts))
        constant = torch.from_numpy(sum(each.sum(axis=0) for each in readable.values()) / known).float()
        return Probed(task, fit, grid, self.options.grid, constant, told)

    def score(self, predictor: Probed, held_out: HeldOut) -> Outcome:
        """The test split once, and beside it what the truth itself would score on the grid, and who does not look."""
        task, part = predictor.task, held_out.test
        drawn = draw(part, "test", task, (1, 1), 1)
        _check_test(task, drawn, np.arange(len(drawn.known)), held_out.classes)
        maps = part.maps(predictor.most)
        _check_test(task, drawn, maps.rows, held_out.classes)
        scores, ceiling, blind = (task.scores() for _ in range(3))
        targets = part.targets
        ignore = targets.ignore if isinstance(targets, Masks) else None
        kept = DensePredictions(task.kind, held_out.classes, ignore)
        for rows, truths, values in _answered([predictor.fit], part, maps):
            size = truths[0].shape[:2]
            most = task.answers(reachable(task, truths, predictor.grid), size)
            (constant,) = task.answers(predictor.constant.view(1, -1, 1, 1), size)
            for row, truth, answer, best in zip(rows, truths, task.answers(values[0], size), most, strict=True):
                kept.add(row, truth, answer, scores.add(truth, answer))
                ceiling.add(truth, best)
                blind.add(truth, constant)
        scored, main = scores.scored(), scores.main
        others = {name: found for name, found in scored.resampled.items() if name != main}
        items = targets.take(maps.rows).digest
        paired = Paired("resamples", scored.resampled[main], items, {"images": scored.images}, others)
        samples = {**scored.arrays, **kept.to_arrays()}
        guess = blind.values()[main]
        return Outcome(scored.scores, main, guess, paired, samples, fitted={"ceiling": ceiling.values()})


def _check_test(task: CellTask, drawn: Drawn, rows: npt.NDArray[np.int64], classes: Sequence[str]) -> None:
    """Asked before the maps are taken, and again of the pictures that could be read."""
    if isinstance(task, SegmentationCells):
        check_scored(drawn.sums[rows].sum(axis=0), classes)
    if not drawn.known[rows].any():
        raise DataError("no pixel of the test pictures counts, so that nothing can be scored; correct the files")


def _best(scored: Sequence[float], task: CellTask) -> int:
    """Of equal ones the first, which has the strongest penalty."""
    return int(np.argmax(scored) if HIGHER_IS_BETTER[task.kind] else np.argmin(scored))


def _main_scores(task: CellTask, fits: Sequence[Fit], part: Part, maps: Maps) -> list[float]:
    every = [task.scores() for _ in fits]
    for _, truths, values in _answered(fits, part, maps):
        for scores, found in zip(every, values, strict=True):
            for truth, answer in zip(truths, task.answers(found, truths[0].shape[:2]), strict=True):
                scores.add(truth, answer)
    return [scores.values()[scores.main] for scores in every]


def _answered(fits: Sequence[Fit], part: Part, maps: Maps) -> Iterator[tuple[list[int], list[Array], list[Tensor]]]:
    """Rows, truths of one size, and the values of each fit, a few pictures at a time."""
    for places in batches(maps):
        rows = maps.rows[places.start : places.stop].tolist()
        truths = [np.asarray(part.targets.load(row)) for row in rows]
        with torch.inference_mode():
            levels = maps.take(slice(places.start, places.stop))
            values = [fit.values(levels) for fit in fits]
        for size in dict.fromkeys(truth.shape[:2] for truth in truths):
            same = [place for place, truth in enumerate(truths) if truth.shape[:2] == size]
            # So that enlarged values of large pictures are not all there at once.
            step = max(1, (1 << 24) // (size[0] * size[1] * values[0].shape[1]))
            for start in range(0, len(same), step):
                few = same[start : start + step]
                yield [rows[place] for place in few], [truths[place] for place in few], [found[few] for found in values]
