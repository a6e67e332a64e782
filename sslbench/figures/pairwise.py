"""Who beats whom, on how many tasks, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sslbench.analyses.sheet import is_control
from sslbench.analyses.wins import PAIRED, SIGN, Duel, duels
from sslbench.errors import RecordError
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.intervals import ordered
from sslbench.figures.labels import labels, widest
from sslbench.figures.page import Margins, page
from sslbench.figures.settings import judged_items
from sslbench.figures.style import BLACK, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 24
"""Backbones: more would leave no room for numbers, and the number of tests grows with the square."""


def draw(source: Source) -> Drawn | LeftOut:
    """A square a pair: row against column."""
    items = judged_items(source.sheet)
    everyone = ordered(source, items)
    names = everyone[:MOST]
    if len(names) < 2:
        return LeftOut("it takes two backbones")
    try:
        found = duels(source.sheet, items, names)
    except RecordError as error:
        return LeftOut(str(error))
    shown = labels(names)
    side = widest(shown.values()) + 0.12
    square = min(0.46, (7.2 - side - 0.1) / len(names))
    figure, (panel,) = page(
        1,
        columns=1,
        height=square * len(names),
        width=max(4.2, side + 0.1 + square * len(names)),
        margins=Margins(left=side, right=max(0.1, 4.2 - side - square * len(names)), top=0.1, bottom=side),
        title=f"Row against column: {source.sheet.title}",
        note=_note(found, len(everyone)),
    )
    _squares(panel, names, found)
    for axis, rotation in (("x", 90), ("y", 0)):
        set_ticks = panel.set_xticks if axis == "x" else panel.set_yticks
        for label, name in zip(set_ticks(range(len(names)), [shown[n] for n in names]), names, strict=True):
            label.label1.set(rotation=rotation, color=GREY if is_control(name) else BLACK)
    return {"": figure}


def _squares(panel: Axes, names: Sequence[str], found: Mapping[tuple[str, str], Duel]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    # From orange over white to blue, alike for eyes that lack a cone, and dark at both ends in grey as well.
    colours = colormaps["PuOr"]
    for row, first in enumerate(names):
        for column, second in enumerate(names):
            if first == second:
                panel.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="#f0f0f0", linewidth=0))
                continue
            wins, losses, tasks, gain = against(first, second, found)
            share = (wins - losses) / tasks if tasks else 0.0
            panel.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    1,
                    1,
                    facecolor=colours(0.5 - 0.4 * share),
                    edgecolor="white",
                    linewidth=0.5,
                )
            )
            text = f"{wins}:{losses}" + (f"\n{gain + 0.0:+.1f}" if gain is not None else "")
            white = abs(share) > 0.75
            panel.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                size=5 if len(names) <= 16 else 3.6,
                color="white" if white else BLACK,
            )
    panel.set_xlim(-0.5, len(names) - 0.5)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)


def against(first: str, second: str, found: Mapping[tuple[str, str], Duel]) -> tuple[int, int, int, float | None]:
    """Tasks that the first wins and loses, tasks of both, and its mean gain over those in %, None without any."""
    duel = found.get((first, second))
    sign = 1
    if duel is None:
        duel, sign = found[second, first], -1
    wins, losses = duel.count("win"), duel.count("loss")
    gains = [round(sign * mean.gain, 1) for mean in duel.means if mean.unit == "%"]
    ahead, behind = (wins, losses) if sign > 0 else (losses, wins)
    return ahead, behind, len(duel.outcomes), gains[0] if gains else None


def _note(found: Mapping[tuple[str, str], Duel], count: int) -> str:
    kinds = {kind for duel in found.values() for kind in duel.tests}
    how = {
        frozenset({PAIRED}): "by paired tests on the same test items at 0.05 with Holm's adjustment",
        frozenset({SIGN}): "by the sign of the difference alone, since no standard errors are known",
    }.get(
        frozenset(kinds),
        "by paired tests at 0.05 with Holm's adjustment where that is possible, otherwise by standard errors or the sign",
    )
    few = f" The best {MOST} of {count} backbones." if count > MOST else ""
    return (
        f"Tasks that the row wins : loses against the column, {how}; below, its mean gain in points over the tasks in %. Orange: "
        f"the row is ahead. Grey names: controls.{few}"
    )


FIGURE = FigureSpec("pairwise", "On how many tasks each backbone beats each other one, and its mean gain.", draw)
