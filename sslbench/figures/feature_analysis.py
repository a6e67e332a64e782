"""What features keep and where they look: inversions and occlusion attention, the study's figure 4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sslbench.analyses import Item, Sheet
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import drawable, labels
from sslbench.figures.page import Margins, page, panel_title
from sslbench.figures.style import BLACK, BLUE, GREEN, GREY, VERMILION, is_supervised, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"red": VERMILION, "green": GREEN, "blue": BLUE}


def draw(source: Source) -> Drawn | LeftOut:
    """Boxes of the self-supervised backbones; supervised ones and controls beside them by their marks."""
    sheet = source.sheet
    panels = {
        "Perceptual distance of inversions": _scores(sheet, "inversion", "lpips_"),
        "Colour error of inversions": _scores(sheet, "inversion", "mse_"),
        "Attentive diffusion": _scores(sheet, "occlusion", "attentive_diffusion"),
    }
    panels = {title: columns for title, columns in panels.items() if columns}
    if not panels:
        return LeftOut("there are no inversions and no occlusion attention")
    names = [n for n in sheet.backbones if any(n in values for c in panels.values() for _, values in c.values())]
    beside = [name for name in names if name not in sheet.trained or is_supervised(name)]
    looks, shown = marks(sheet.backbones), labels(names)
    figure, axes = page(
        len(panels),
        columns=3,
        height=1.7,
        margins=Margins(left=0.5, right=0.12, bottom=0.4),
        title=f"Feature analysis: {sheet.title}",
        note=f"Means over data sets. Boxes: median and quartiles of the {len(names) - len(beside)} other backbones, whiskers to "
        "the extremes, points each of them.",
        legend={shown[name]: looks[name] for name in beside},
    )
    for panel, (title, columns) in zip(axes, panels.items(), strict=True):
        panel_title(panel, title)
        for place, (score, (_, values)) in enumerate(columns.items()):
            _box(panel, place, score, {name: value for name, value in values.items() if name not in beside})
            for name in beside:
                if name in values:
                    panel.plot([place], [values[name]], **looks[name].scatter, zorder=5)
        panel.set_xticks(range(len(columns)), [_short(score) for score in columns])
        panel.set_xlim(-0.6, len(columns) - 0.4)
        item = next(iter(columns.values()))[0]
        panel.set_ylabel(_unit(item), labelpad=1.5)
        panel.locator_params(axis="y", nbins=6)
    return {"": figure}


def _scores(sheet: Sheet, protocol: str, prefix: str) -> dict[str, tuple[Item, dict[str, float]]]:
    """By score, one of its items and the mean over data sets by backbone: the published one, or that of all tasks of a run."""
    found = {}
    there = {item.score for item in sheet.items if item.protocol == protocol and item.score.startswith(prefix)}
    for score in sorted(there, key=lambda score: (_place(score), score)):
        items = list(sheet.of(protocol, score=score))
        items = [item for item in items if item.dataset == "*"] or items
        columns = [sheet.column(item) for item in items]
        values = {
            name: math.fsum(column[name].value for column in columns) / len(columns)
            for name in sheet.backbones
            if all(name in column for column in columns)
        }
        if values:
            found[score] = (items[0], values)
    return found


def _box(panel: Axes, place: int, score: str, values: Mapping[str, float]) -> None:
    colour = _COLOURS.get(score.rpartition("_")[2], GREY)
    if not values:
        return
    line = {"color": BLACK, "linewidth": 0.8}
    panel.boxplot(
        [list(values.values())],
        positions=[place],
        widths=0.5,
        whis=(0, 100),
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.35, "linewidth": 0.6},
        medianprops=line,
        whiskerprops=line,
        capprops=line,
    )
    spread = _spread(len(values))
    panel.plot(
        [place + shift for shift in spread],
        list(values.values()),
        linestyle="none",
        marker=".",
        markersize=3,
        color=BLACK,
    )


def _spread(count: int) -> Sequence[float]:
    """Fixed shifts that keep points apart."""
    return [0.16 * (((number * 5) % 11) / 10 - 0.5) * 2 for number in range(count)]


def _short(score: str) -> str:
    known = {"lpips_alexnet": "AlexNet", "lpips_vgg": "VGG", "lpips_squeezenet": "SqueezeNet"}
    return known.get(score, drawable(score.rpartition("_")[2] if score.startswith("mse_") else score.replace("_", " ")))


def _place(score: str) -> int:
    """Red, green and blue in their order, and what they add up to behind them."""
    channels = ("mse_red", "mse_green", "mse_blue")
    return channels.index(score) if score in channels else len(channels)


def _unit(item: Item) -> str:
    if item.score.startswith("mse_"):
        return f"MSE ({drawable(item.unit)})"
    return "LPIPS" if item.score.startswith("lpips") else f"share of pixels ({drawable(item.unit)})"


FIGURE = FigureSpec(
    "feature-analysis",
    "Perceptual distance and colour error of inversions, and attentive diffusion: boxes of self-supervised, stars of supervised "
    "backbones.",
    draw,
    study="4",
)
