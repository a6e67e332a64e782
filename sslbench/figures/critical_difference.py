"""Mean ranks over tasks, and which of them Nemenyi's test does not separate (Demšar, JMLR 7 (2006) 1-30, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.analyses.block import block
from sslbench.analyses.rank_tests import critical_difference, friedman, groups, mean_ranks, nemenyi
from sslbench.errors import RecordError
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import labels, widest
from sslbench.figures.page import LINE, Margins, page, panel_size
from sslbench.figures.settings import judged_items
from sslbench.figures.style import BLACK, SMALL, VERMILION, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(source: Source) -> Drawn | LeftOut:
    """One diagram of all backbones but controls, over the tasks that all of them have."""
    judged = judged_items(source.sheet)
    if not judged:
        return LeftOut("there is no score of a single task")
    items = [item for item in judged if source.sheet.comparable(item)]
    if not items:
        return LeftOut("the records of no task measure the same thing")
    odd = f" {len(judged) - len(items)} tasks whose records do not measure the same thing are left out."
    try:
        scores = block(source.sheet, items)
        test = friedman(scores)
    except RecordError as error:
        return LeftOut(str(error))
    means = mean_ranks(scores)
    difference = critical_difference(test.backbones, test.items)
    runs = [(means[bar[0]], means[bar[-1]]) for bar in groups(list(means), nemenyi(scores))]
    half = -(-len(means) // 2)
    above = 0.12 * (len(runs) + 1) + 0.1
    side = widest(labels(means).values()) + 0.45
    figure, (panel,) = page(
        1,
        columns=1,
        height=above + LINE * (half + 0.5),
        margins=Margins(left=side, right=side, top=0.5, bottom=0.1),
        title=f"Mean ranks over {test.items} tasks: {source.sheet.title}",
        note=(
            "Bars join mean ranks that Nemenyi's test does not separate at 0.05 (critical difference CD). Friedman's test: p = "
            f"{test.p:.2g}. Both take the tasks as drawn independently, which those that share pictures are not: the bars are "
            f"too short rather than too long. Controls are left out.{odd if len(items) < len(judged) else ''}"
        ),
    )
    height = above + LINE * (half + 0.5)
    _axis(panel, len(means), difference)
    for row, (low, high) in enumerate(runs):
        depth = -(0.1 + 0.12 * row) / height
        panel.plot(
            [low - 0.04, high + 0.04],
            [depth, depth],
            color=BLACK,
            linewidth=2.4,
            solid_capstyle="butt",
        )
    _names(panel, source, means, above / height, LINE / height)
    return {"": figure}


def _axis(panel: Axes, count: int, difference: float) -> None:
    panel.set_xlim(0.7, count + 0.3)
    panel.set_ylim(-1, 0)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    panel.spines["top"].set_visible(True)
    panel.xaxis.tick_top()
    step = max(1, round(count / 15))
    panel.set_xticks(range(1, count + 1, step), [str(rank) for rank in range(1, count + 1, step)])
    panel.set_yticks([])
    end = min(1 + difference, count + 0.3)
    transform = panel.get_xaxis_transform()
    inch = 1 / panel_size(panel)[1]
    level = 1 + 0.24 * inch
    panel.plot([1, end], [level, level], color=VERMILION, linewidth=1.4, transform=transform, clip_on=False)
    panel.text(
        end + 0.02 * count,
        level,
        f"CD = {difference:.2f}; mean rank, 1 is the best",
        va="center",
        size=SMALL,
        transform=transform,
    )


def _names(panel: Axes, source: Source, means: dict[str, float], start: float, line: float) -> None:
    """The better half on the left, best on top; the others on the right, worst on top; each tied to its place on the axis."""
    looks, shown = marks(source.sheet.backbones), labels(means)
    half = -(-len(means) // 2)
    count = len(means)
    # From the edge of the axes to the text, in ranks.
    gap = 0.02 * count
    for place, (name, mean) in enumerate(means.items()):
        left = place < half
        row = place if left else count - 1 - place
        depth = -(start + line * (row + 0.5))
        edge = 0.7 if left else count + 0.3
        panel.plot([mean, mean, edge], [0, depth, depth], color="#999999", linewidth=0.6, zorder=1)
        panel.plot([mean], [0], **looks[name].scatter, zorder=4, clip_on=False)
        panel.text(
            edge - gap if left else edge + gap,
            depth,
            f"{shown[name]}  {mean:.1f}" if left else f"{mean:.1f}  {shown[name]}",
            ha="right" if left else "left",
            va="center",
            size=SMALL,
        )


FIGURE = FigureSpec(
    "critical-difference",
    "Mean ranks over the tasks that all backbones have, with bars over those that Nemenyi's test does not separate.",
    draw,
)
