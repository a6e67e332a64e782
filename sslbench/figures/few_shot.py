"""Few-shot recognition data set by data set: the study's figure 6."""

from __future__ import annotations

from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.scatter import scatter_figure
from sslbench.figures.settings import chosen_shots


def draw(source: Source) -> Drawn | LeftOut:
    """A panel a data set, of one count of shots."""
    shots = chosen_shots(source.sheet)
    panels = {item.dataset: [item] for item in source.sheet.of("fewshot") if item.variant == shots}
    if not panels:
        return LeftOut("there is no few-shot recognition")
    return scatter_figure(source, panels, title=f"fewshot/{shots}, each data set: {source.sheet.title}", height=1.05)


FIGURE = FigureSpec(
    "few-shot",
    "Few-shot recognition against the upstream score, a panel a data set; 20 shots, or the most there are.",
    draw,
    study="6",
)
