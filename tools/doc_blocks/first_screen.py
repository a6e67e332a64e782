"""The one table of README.md: a few backbones on a few tasks."""

from __future__ import annotations

from collections.abc import Sequence

from doc_blocks.zoo import scores
from sslbench.errors import RecordError
from sslbench.results.markdown import table
from sslbench.results.marks import GUESSING, guess
from sslbench.results.record import Record, by_task

# ImageNet; no labels; no labels and no colour jitter; labels; that network untrained; no network.
BACKBONES = (
    "wheel:efficientnet-lite0?size=64", "zoo:simclr", "zoo:simclr-nocolour", "zoo:supervised", "random-init:zoo:simclr",
    "pixels",
)  # fmt: skip
TASKS = {
    "linear/world-texture": "texture, linear probe",
    "linear/world-colour": "colour, linear probe",
    "fewshot/world-objects/20shot": "objects, 20 shots",
}


def blocks(records: Sequence[Record]) -> dict[str, str]:
    """By name. Raises RecordError where the baseline lacks a task or a backbone of the table."""
    columns = by_task(records)
    if missing := sorted(TASKS.keys() - columns.keys()):
        raise RecordError(f"the table of README.md needs {', '.join(missing)}; make the baseline again")
    cells = {task: scores(columns[task]) for task in TASKS}
    if missing := sorted({name for name in BACKBONES for found in cells.values() if name not in found}):
        raise RecordError(
            f"the table of README.md needs {', '.join(missing)} on each of its tasks; make the baseline again"
        )
    rows = [[f"`{name}`", *(cells[task][name] for task in TASKS)] for name in BACKBONES]
    levels = [guess(columns[task]) for task in TASKS]
    rows.append([f"*{GUESSING}*", *("–" if level is None else f"{level:.1f}" for level in levels)])
    return {"readme": table(["backbone", *TASKS.values()], rows)}
