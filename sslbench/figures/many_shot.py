"""Many-shot recognition data set by data set: the study's figure 5."""

from __future__ import annotations

from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.scatter import scatter_figure

PROTOCOLS = ("linear", "finetune", "knn")


def draw(source: Source) -> Drawn | LeftOut:
    """A figure a protocol and variant, a panel a data set."""
    drawn = {}
    why = LeftOut("there is no many-shot recognition")
    for protocol in PROTOCOLS:
        items = [item for item in source.sheet.of(protocol) if item.dataset != "*"]
        for setting in dict.fromkeys(item.setting for item in items):
            panels = {item.dataset: [item] for item in items if item.setting == setting}
            found = scatter_figure(source, panels, title=f"{setting}, each data set: {source.sheet.title}", height=1.05)
            if isinstance(found, LeftOut):
                why = found
            else:
                drawn[setting] = found[""]
    return drawn or why


FIGURE = FigureSpec(
    "many-shot", "Many-shot recognition against the upstream score, a panel a data set.", draw, study="5"
)
