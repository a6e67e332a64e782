"""Panels of scores against the upstream score, with a line through them: what the study's figures 1, 3, 5 and 6 are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sslbench.analyses import Item, Sheet
from sslbench.analyses.correlation import Coefficient, correlate, log_odds, mean_scaled, scale_of
from sslbench.figures.axes import log_odds_ticks, point
from sslbench.figures.declaration import Drawn, LeftOut, Source
from sslbench.figures.labels import drawable, labels, shortened
from sslbench.figures.page import Margins, page, panel_title
from sslbench.figures.regression import regression_band
from sslbench.figures.style import BLACK, Mark, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 2


def scatter_figure(
    source: Source, panels: Mapping[str, Sequence[Item]], *, title: str, columns: int = 4, height: float = 1.25
) -> Drawn | LeftOut:
    """A panel for each name: the mean over its items against the upstream score, both on the study's scales.

    Without an upstream score, or with one of fewer than 2 backbones in every panel, there is no figure.
    """
    sheet = source.sheet
    if len(sheet.upstream) < FEWEST:
        return LeftOut(
            f"it takes {FEWEST} backbones with a score on what they were pretrained on, and here {len(sheet.upstream)} have one"
        )
    known = [name for name in sheet.trained if name in sheet.upstream]
    kept = {name: items for name, items in panels.items() if len(mean_scaled(sheet, items, known)) >= FEWEST}
    if not kept:
        return LeftOut(f"no score is of {FEWEST} backbones that have an upstream score")
    looks, shown = marks(known), labels(known)
    figure, axes = page(
        len(kept),
        columns=columns,
        height=height,
        margins=Margins(left=0.5, right=0.12, top=0.32, bottom=0.42),
        title=title,
        note=_note([item for items in kept.values() for item in items]),
        legend={shown[name]: looks[name] for name in known},
    )
    for panel, (name, items) in zip(axes, kept.items(), strict=True):
        panel_title(panel, name, pad=10)
        _panel(panel, sheet, items, looks)
    return {"": figure}


def _note(items: Sequence[Item]) -> str:
    scales = {scale_of(item) for item in items}
    odds = "Scales are of log-odds. " if scales == {"log-odds"} else "Percentages are on scales of log-odds. "
    turned = "Axes of errors point down. " if "negated" in scales else ""
    return (
        f"{odds}{turned}r: Pearson's correlation on these scales with its 95 % interval; line and band: least squares with the "
        "95 % confidence band of the mean."
    )


def _panel(panel: Axes, sheet: Sheet, items: Sequence[Item], looks: Mapping[str, Mark]) -> None:
    found = correlate(sheet, items)
    values = mean_scaled(sheet, items, found.backbones)
    scale = scale_of(items[0])
    sign = -1 if scale == "negated" else 1
    x = log_odds([sheet.upstream[name] / 100 for name in values])
    y = sign * np.array(list(values.values()))
    # Beneath the points, and with both on the same limits.
    if len(x) >= 3 and np.ptp(x) > 0:
        edge = 0.06 * float(np.ptp(x))
        at = np.linspace(x.min() - edge, x.max() + edge, 50)
        line, half = regression_band(x, y, at)
        panel.fill_between(at, line - half, line + half, color=BLACK, alpha=0.12, linewidth=0, zorder=1)
        panel.plot(at, line, color=BLACK, linewidth=0.8, zorder=2)
        panel.set_xlim(at[0], at[-1])
    else:
        panel.set_xlim(x.min() - 0.1, x.max() + 0.1)
    for name, across, up in zip(values, x, y, strict=True):
        point(panel, across, up, looks[name])
    low, high = float(y.min()), float(y.max())
    # The band of few points can be far wider than all of them.
    room = 0.35 * (high - low) or 0.5
    panel.set_ylim(low - room, high + room)
    if sign < 0:
        panel.invert_yaxis()
    panel.text(0.0, 1.03, f"{coefficient_text('r', found.pearson)}, n = {found.n}", transform=panel.transAxes, size=5.5)
    panel.set_xlabel(f"{drawable(sheet.upstream_name)} (%)", labelpad=1.5)
    panel.set_ylabel(_scale_text(items), labelpad=1.5)
    log_odds_ticks(panel, "x")
    if scale == "log-odds":
        log_odds_ticks(panel, "y", 100.0 if items[0].unit == "%" else 1.0)


def coefficient_text(letter: str, found: Coefficient) -> str:
    """Such as `r = 0.93 [0.78, 0.98]`; a dash where there is none."""
    if np.isnan(found.value):
        return f"{letter} = –"
    ends = f" [{found.ci95[0]:.2f}, {found.ci95[1]:.2f}]" if found.ci95 is not None else ""
    return f"{letter} = {found.value:.2f}{ends}"


def _scale_text(items: Sequence[Item]) -> str:
    name = "score" if items[0].score == "main" else drawable(items[0].score)
    names = {item.score for item in items}
    name = name if len(names) == 1 else "score"
    unit = f" ({drawable(items[0].unit)})" if items[0].unit and items[0].unit != "LPIPS" else ""
    return f"{'mean ' if len(items) > 1 else ''}{shortened(name, 16)}{unit}"
