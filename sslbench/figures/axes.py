"""Axes that several figures share: percentages on a scale of log-odds, and numbers on a logarithmic one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from sslbench.analyses.correlation import log_odds
from sslbench.figures.style import Mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Which = Literal["x", "y"]

# From coarse to fine: the first with three ticks in view is taken.
_PERCENT = (
    (0.01, 0.1, 1, 10, 50, 90, 99, 99.9, 99.99),
    (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9),
    *(tuple(step * number for number in range(1, math.ceil(100 / step))) for step in (10, 5, 2, 1, 0.5, 0.2, 0.1)),
)
_DIGITS = ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10)), tuple(number / 10 for number in range(10, 100)))
# Nearer to each other than this part of the axis, labels would touch.
_NEAREST = 0.16


def point(panel: Axes, x: float, y: float, look: Mark, zorder: float = 3) -> None:
    """A backbone's mark. `Axes.plot` would measure the panel again for each of hundreds."""
    from matplotlib.lines import Line2D

    panel.add_line(Line2D([x], [y], zorder=zorder, **look.scatter))


def log_odds_ticks(axes: Axes, which: Which, whole: float = 100.0) -> None:
    """Mark an axis whose values are log-odds with round numbers of the score. Call it when the limits are final.

    whole: the score whose fraction is 1, such as 100 of one in percent.
    """
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    ticks = _chosen(_PERCENT, low, high, lambda tick: float(log_odds(tick / 100)))
    places = [float(log_odds(tick / 100)) for tick in ticks]
    _set_ticks(axes, which, places, [f"{tick * whole / 100:g}" for tick in ticks])


def logarithmic(axes: Axes, which: Which, values: Iterable[float], text: Callable[[float], str]) -> None:
    """Make an axis logarithmic around positive values. text: of a tick; matplotlib's own would be formulas."""
    present = list(values)
    low, high = math.log(min(present)) - 0.2, math.log(max(present)) + 0.2
    powers = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
    ladders = [[digit * 10.0**power for power in powers for digit in digits] for digits in _DIGITS]
    ticks = _chosen(ladders, low, high, math.log)
    axes.set(**{f"{which}scale": "log", f"{which}lim": (math.exp(low), math.exp(high))})
    _set_ticks(axes, which, ticks, [text(tick) for tick in ticks])


def _chosen(
    ladders: Iterable[Sequence[float]], low: float, high: float, place: Callable[[float], float]
) -> list[float]:
    """Ticks of the coarsest ladder that has three in view, but for those that stand too near to the one before."""
    chosen: list[float] = []
    for ladder in ladders:
        chosen = []
        for tick in (tick for tick in ladder if low <= place(tick) <= high):
            if not chosen or place(tick) - place(chosen[-1]) >= _NEAREST * (high - low):
                chosen.append(tick)
        if len(chosen) >= 3:
            break
    return chosen


def _set_ticks(axes: Axes, which: Which, places: Sequence[float], texts: Sequence[str]) -> None:
    from matplotlib.ticker import NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_minor_locator(NullLocator())
    axis.set_ticks(places, texts)
