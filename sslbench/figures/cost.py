"""Panels of scores against what a backbone costs, a panel a setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sslbench.figures.axes import logarithmic, point
from sslbench.figures.declaration import Drawn, LeftOut, Source
from sslbench.figures.labels import drawable, labels
from sslbench.figures.page import Margins, page, panel_title
from sslbench.figures.ranks import mean_gains
from sslbench.figures.settings import figure_settings
from sslbench.figures.style import marks

if TYPE_CHECKING:
    from sslbench.analyses import Item


def cost_figure(
    source: Source, costs: Mapping[str, float], *, axis: str, text: Callable[[float], str], title: str, note: str
) -> Drawn | LeftOut:
    """Mean scores, as they are, against positive costs on a logarithmic axis. text: of a tick of the costs."""
    if len(set(costs.values())) < 2:
        return LeftOut(f"it takes two backbones of different {axis}")
    names = [name for name in source.sheet.backbones if name in costs]
    panels = {
        setting: (items, found)
        for setting, items in figure_settings(source.sheet).items()
        if len(found := mean_gains(source.sheet, items, names)) > 1
    }
    if not panels:
        return LeftOut("no setting has two of the backbones whose cost is known")
    looks, shown = marks(source.sheet.backbones), labels(names)
    figure, axes = page(
        len(panels),
        columns=4,
        height=1.15,
        margins=Margins(left=0.46, right=0.12, bottom=0.42),
        title=title,
        note=note,
        legend={shown[name]: looks[name] for name in names},
    )
    for panel, (setting, (items, found)) in zip(axes, panels.items(), strict=True):
        panel_title(panel, setting)
        sign = 1 if items[0].higher_is_better else -1
        for name, gain in found.items():
            point(panel, costs[name], sign * gain, looks[name])
        panel.margins(y=0.12)
        panel.autoscale_view(scalex=False)
        if sign < 0:
            panel.invert_yaxis()
        panel.locator_params(axis="y", nbins=5)
        logarithmic(panel, "x", [costs[name] for name in names], text)
        panel.set_xlabel(axis, labelpad=1.5)
        panel.set_ylabel(_scale(items), labelpad=1.5)
    return {"": figure}


def _scale(items: tuple[Item, ...]) -> str:
    names = {item.score for item in items}
    name = drawable(items[0].score) if len(names) == 1 and "main" not in names else "score"
    return f"{'mean ' if len(items) > 1 else ''}{name} ({drawable(items[0].unit)})"
