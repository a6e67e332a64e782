"""Sources of figures, drawn once: the committed baseline, the packaged tables, and runs made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sslbench.analyses import Item, Sheet
from sslbench.figures import FIGURES, Drawn, LeftOut, Source
from sslbench.figures.style import style
from sslbench.metrics.calibration import reliability_table
from sslbench.results.references import read_records
from sslbench.results.runs import Run
from sslbench.studies import STUDIES
from tests.results.conftest import build

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"
PANEL_EACH = ("intervals", "many-shot", "few-shot")
ODD_NAMES = (
    "a$b_{c}$",
    "模型/x",
    "hub:github.com/a/very/long/path:of_a_network_001",
    "hub:github.com/a/very/long/path:of_b_network_001",
)


@cache
def source(name: str) -> Source:
    """`baseline` or `study`."""
    if name == "study":
        return Source.of_study(STUDIES["ericsson2021"])
    return Source.of_records(read_records(BASELINE), "the committed baseline")


@cache
def drawn(name: str, figure: str) -> Drawn | LeftOut:
    """Figures of one kind; drawing is slow, so that tests share them."""
    found = source(name)
    if name == "study" and figure in PANEL_EACH:
        found = Source(_three_each(found.sheet))
    with style():
        return FIGURES[figure].draw(found)


def _three_each(sheet: Sheet) -> Sheet:
    """Three data sets of a setting: more panels would show no more."""
    settings: dict[str, list[Item]] = {}
    for item in sheet.items:
        settings.setdefault(item.setting, []).append(item)
    kept = {item for items in settings.values() for item in items[:3]}
    return replace(sheet, cells={place: cell for place, cell in sheet.cells.items() if place[1] in kept})


def the_figure(found: Drawn | LeftOut, part: str = "") -> Figure:
    assert not isinstance(found, LeftOut), found
    return found[part]


def check_inside(figure: Figure) -> None:
    """All that is drawn lies within the canvas."""
    with style():
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01, (
        box,
        width,
        height,
    )


def panels(figure: Figure) -> dict[str, Axes]:
    """By their titles."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def marks_of(axes: Axes) -> list[tuple[float, float]]:
    """The points of backbones: lines of one point with a mark, as (x, y)."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.get_lines()
        if len(line.get_xdata()) == 1 and line.get_marker() not in ("None", None, "")
    ]


def made_up(names: list[str], tasks: list[str], **fields: Any) -> Source:
    """A source of records with random right answers and an upstream score each."""
    rng = np.random.default_rng(5)
    records = []
    for number, name in enumerate(names):
        for task in tasks:
            record = build(name, task, correct=list(rng.random(40) < 0.3 + 0.5 * number / len(names)), **fields)
            records.append(replace(record, backbone={**record.backbone, "params": 1000 * (number + 1)}))
    found = Source.of_records(records, "made up $x_2$")
    upstream = {name: 20 + 60 * number / len(names) for number, name in enumerate(found.sheet.trained)}
    return replace(found, sheet=Sheet(found.sheet.title, found.sheet.cells, upstream, "top-1 of $"))


@pytest.fixture
def pictures_run(tmp_path: Path) -> Callable[[], Source]:
    """A run with samples of inversion, occlusion and a linear probe of three backbones."""

    def make() -> Source:
        run = Run(tmp_path / "run")
        rng = np.random.default_rng(1)
        for place, name in enumerate(("supervised", "net", ODD_NAMES[0])):
            for dataset in ("pets", "digits"):
                rows = np.array([0, 4, 7]) if place else np.array([4, 0])
                pictures = (rows[:, None, None, None] * 20 + np.zeros((1, 8, 6, 3))).astype(np.uint8)
                samples = {
                    "inversion": {"reconstructions": np.full_like(pictures, 50 * (place + 1))},
                    "occlusion": {"attention": rng.random(pictures.shape[:3]).astype(np.float16)},
                }
                for protocol, arrays in samples.items():
                    record = build(name, f"{protocol}/{dataset}", main_score="score")
                    kept = run.write_samples(record.case, {"pictures": pictures, "rows": rows, **arrays})
                    run.write(replace(record, samples=kept))
            decision, targets = rng.normal(0, 2, (60, 4)), rng.integers(0, 4, 60)
            record = build(name, "linear/digits")
            scores = {**record.scores, "ece": {**record.scores["top1"], "value": 12.3, "higher_is_better": False}}
            kept = run.write_samples(record.case, {"reliability": reliability_table(decision, targets)})
            run.write(replace(record, scores=scores, samples=kept))
        return Source.of_records(run.records(), "a run", run.directory / "records")

    return make
