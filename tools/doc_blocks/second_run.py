"""How far scores of the embedded suite were apart on two processors, for docs/references.md."""

from __future__ import annotations

from collections.abc import Sequence

from sslbench.results.markdown import table
from sslbench.results.marks import difference_unit
from sslbench.results.record import Record, by_task
from sslbench.results.references import FLOOR
from sslbench.results.second_run import spread
from sslbench.results.tables import natural

# So much of any other unit is shown as 0.
_OTHERS = 0.005


def blocks(records: Sequence[Record]) -> dict[str, str]:
    """By name."""
    first = {record.case: record for record in records}
    columns = by_task(records)
    rows, quiet = [], 0
    for task in sorted(columns, key=natural):
        found = spread(task, first)
        if found is None:
            continue
        largest = max(map(abs, found.differences))
        unit = difference_unit(columns[task][0].main.unit)
        if largest < (FLOOR if unit == "points" else _OTHERS):
            quiet += 1
            continue
        rows.append(
            (
                task,
                str(len(found.differences)),
                unit,
                f"{found.rms:.2f}",
                f"{largest:.2f}",
                f"{found.quantile * found.rms:.2f}",
            )
        )
    head = ("task", "networks", "in", "root mean square", "largest", "part of the tolerance")
    others = f"In {quiet} further tasks none differed by {FLOOR:g} points, or {_OTHERS:g} of another unit, or more."
    return {"second-run": f"{table(head, rows)}\n\n{others}"}
