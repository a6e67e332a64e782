"""Learning curves: loss and learning rate of a training by step, few enough points to be kept with its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 100
"""At most, of a curve."""

Curve = dict[str, list[float]]
"""Plain data. step: how many were done at each point, rising. loss: the mean since the point before. rate: of the last step."""


def curve_of(log: Sequence[Mapping[str, Any]], rate: Callable[[int], float]) -> Curve:
    """The curve of a training by its log, as `sslbench.training.loop.train` gives it. rate: of a step, counted from 0.

    Neighbouring lines of the log are put together where there are too many: the loss is their mean, weighted by their steps.
    """
    steps = np.array([line["step"] for line in log], dtype=np.int64)
    weights = np.diff(steps, prepend=0)
    losses = np.array([line["loss"] for line in log], dtype=np.float64)
    starts = np.arange(0, len(log), max(1, -(-len(log) // POINTS)))
    ends = np.append(starts[1:], len(log)) - 1
    means = np.add.reduceat(losses * weights, starts) / np.add.reduceat(weights, starts)
    told = steps[ends].tolist()
    # Six digits are what float32 keeps; more would only make files longer.
    return {
        "step": told,
        "loss": [float(f"{mean:.6g}") for mean in means],
        "rate": [float(f"{rate(step - 1):.6g}") for step in told],
    }


def curve_arrays(values: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Samples of trainings of one length, by the values of their results.

    curve_step: int32 (P,), curve_rate: float32 (P,), curve_loss: float32 (T, P), a row a training. Nothing where one has no
    curve, as results that were kept before there were any.
    """
    curves = [each.get("curve") for each in values]
    known = [curve for curve in curves if curve is not None]
    if not known or len(known) < len(curves):
        return {}
    return {
        "curve_step": np.array(known[0]["step"], np.int32),
        "curve_rate": np.array(known[0]["rate"], np.float32),
        "curve_loss": np.array([curve["loss"] for curve in known], np.float32),
    }


def trial_curve_arrays(curves: Sequence[Curve | None]) -> dict[str, NDArray[Any]]:
    """Samples of the trials of a grid, one after the other: a row Q for each point of each.

    trial_curve_trial: int32 (Q,), the place of its trial. trial_curve_step int32, trial_curve_loss and trial_curve_rate
    float32, (Q,). Those without a curve, such as one that diverged, have no row; nothing where none has.
    """
    known = [(place, curve) for place, curve in enumerate(curves) if curve is not None]
    if not known:
        return {}
    points = [len(curve["step"]) for _, curve in known]
    joined = {name: np.concatenate([curve[name] for _, curve in known]) for name in ("step", "loss", "rate")}
    return {
        "trial_curve_trial": np.repeat(np.array([place for place, _ in known], np.int32), points),
        "trial_curve_step": joined["step"].astype(np.int32),
        "trial_curve_loss": joined["loss"].astype(np.float32),
        "trial_curve_rate": joined["rate"].astype(np.float32),
    }
