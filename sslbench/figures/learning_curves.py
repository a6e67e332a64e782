"""Learning curves: the loss of the last training by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.figures.axes import logarithmic, point
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import labels
from sslbench.figures.page import Margins, page, panel_title
from sslbench.figures.style import marks
from sslbench.results.samples import read_arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sslbench.results.record import Record

Curves = dict[str, tuple[NDArray[Any], NDArray[Any]]]
"""By backbone steps (P,) and mean losses over the seeds (P,)."""


def draw(source: Source) -> Drawn | LeftOut:
    """A figure a protocol, a panel a task, a line a backbone. Raises RecordError where samples are missing or damaged."""
    if source.folder is None:
        return LeftOut(
            "it needs the samples beside a run's records, which neither a baseline nor published tables have"
        )
    protocols: dict[str, dict[str, Curves]] = {}
    for record in source.records:
        curve = _curve(record, source.folder)
        if curve is not None:
            tasks = protocols.setdefault(record.task["protocol"], {})
            tasks.setdefault(record.task["id"], {})[record.backbone["name"]] = curve
    drawn = {protocol: _figure(protocol, tasks, source) for protocol, tasks in protocols.items()}
    return drawn or LeftOut(
        "no record's samples have a learning curve; fine-tuning, detection, and segmentation and normals with trained heads "
        "leave one when they are trained"
    )


def reads(record: Record) -> bool:
    """Whether a record may have a curve: what takes no steps has none, and its samples may be large."""
    return record.samples is not None and record.took_steps


def _curve(record: Record, folder: Path) -> tuple[NDArray[Any], NDArray[Any]] | None:
    if not reads(record):
        return None
    arrays = read_arrays(record, folder)[0]
    if "curve_step" not in arrays or "curve_loss" not in arrays:
        return None
    return arrays["curve_step"], arrays["curve_loss"].mean(axis=0, dtype=np.float64)


def _figure(protocol: str, tasks: Mapping[str, Curves], source: Source) -> Figure:
    names = [name for name in source.sheet.backbones if any(name in curves for curves in tasks.values())]
    looks, shown = marks(source.sheet.backbones), labels(names)
    figure, axes = page(
        len(tasks),
        columns=3,
        height=1.35,
        margins=Margins(left=0.48, right=0.12, bottom=0.4),
        title=f"Learning curves, {protocol}: {source.sheet.title}",
        note="The loss of the training whose network is tested, the mean over the steps since the point before, over the seeds "
        "where there are several. A lower loss is no higher score: networks and recipes fit differently.",
        legend={shown[name]: looks[name] for name in names},
    )
    for panel, (task, curves) in zip(axes, tasks.items(), strict=True):
        panel_title(panel, task)
        for name in names:
            if name in curves:
                steps, losses = curves[name]
                panel.plot(steps, losses, color=looks[name].colour, linewidth=0.8, zorder=2)
                point(panel, float(steps[-1]), float(losses[-1]), looks[name])
        panel.margins(x=0.04)
        panel.autoscale_view()
        every = np.concatenate([losses for _, losses in curves.values()])
        # A loss may be 0 to all the digits that are kept.
        if (every > 0).all():
            logarithmic(panel, "y", every.tolist(), lambda tick: f"{tick:g}")
        panel.locator_params(axis="x", nbins=4)
        panel.set_xlabel("step", labelpad=1.5)
        panel.set_ylabel("loss", labelpad=1.5)
    return figure


FIGURE = FigureSpec(
    "learning-curves",
    "The loss of what is trained by step: a figure a protocol, a panel a task, a line a backbone, from the samples of a run.",
    draw,
    reads=reads,
)
