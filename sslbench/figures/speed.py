"""Scores against how many pictures a second were embedded, as the run itself measured it."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from sslbench.figures.cost import cost_figure
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.size import count_text
from sslbench.results.record import Record


def draw(source: Source) -> Drawn | LeftOut:
    """A panel a setting; only from records of one machine, device and number of threads."""
    measured = [record for record in source.records if record.timings.get("images_per_second")]
    if not measured:
        return LeftOut("no record has a measured speed; where features come from the cache there is none")
    machines = sorted({machine(record) for record in measured})
    if len(machines) > 1:
        return LeftOut(
            f"the speeds are of {len(machines)} machines, and only those of one compare: {'; '.join(machines)}"
        )
    return cost_figure(
        source,
        speeds(measured),
        axis="pictures a second",
        text=count_text,
        title=f"Scores against speed: {source.sheet.title}",
        note=f"Median speed of extraction over the records that measured it, on {machines[0]}. Grey: controls. "
        "Axes of errors point down.",
    )


def machine(record: Record) -> str:
    """Processor, device and threads in words."""
    found = record.environment
    threads = record.timings.get("threads")
    told = f", {threads:g} thread{'s' if threads != 1 else ''}" if threads else ""
    return f"{found.get('cpu', 'an unknown processor')}, device {found.get('device', 'unknown')}{told}"


def speeds(records: Iterable[Record]) -> dict[str, float]:
    """The median of the measured pictures a second, by backbone."""
    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(record.backbone["name"], []).append(float(record.timings["images_per_second"] or 0))
    return {name: median(several) for name, several in values.items()}


FIGURE = FigureSpec(
    "speed", "Each setting's mean score against the pictures a second that the run measured, of one machine.", draw
)
