"""Draw the figures of README.md and docs/ from the committed baseline, or check that they are those of the baseline.

python -m pytest benchmarks --sslbench-rerun all --sslbench-save-baseline results/baselines/embedded.json
python tools/doc_figures.py
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.analyses import Item
from sslbench.errors import RecordError, SslbenchError
from sslbench.figures import Source
from sslbench.figures.intervals import interval_figure
from sslbench.figures.style import style
from sslbench.files import write_atomic
from sslbench.results.record import dump
from sslbench.results.references import read_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
BASELINE = Path("results/baselines/embedded.json")
FOLDER = Path("docs/figures")

# What a task asks decides who is best: raw pixels tell colours, and networks that learned to ignore colours tell textures.
TASKS = {
    "readme": ("linear/world-colour", "linear/world-texture", "linear/world-shape", "fewshot/world-objects/20shot"),
}
TITLES = {"readme": "The same frozen features, asked four questions"}


def source(root: Path) -> Source:
    """The committed baseline."""
    return Source.of_records(read_records(root / BASELINE), "the committed baseline")


def items(found: Source, name: str) -> list[Item]:
    """What a figure shows. Raises RecordError where the baseline lacks a task."""
    tasks = {task: found.sheet.item(task) for task in TASKS[name]}
    if missing := [task for task, item in tasks.items() if item is None]:
        raise RecordError(f"the figure {name!r} shows {missing[0]}, which {BASELINE} lacks; make the baseline again")
    return [item for item in tasks.values() if item is not None]


def digest(found: Source, shown: Sequence[Item]) -> str:
    """Of all that a figure shows: values, intervals and levels of guessing."""
    facts = []
    for item in shown:
        for name, cell in sorted(found.sheet.column(item).items()):
            assert cell.record is not None
            score = cell.record.scores[item.score]
            facts.append([item.task, item.score, name, score["value"], score["ci95"], cell.record.task.get("guess")])
    return hashlib.sha256(dump(facts)).hexdigest()


def figure(found: Source, name: str) -> Figure:
    """One figure, within `style`."""
    return interval_figure(found, items(found, name), title=TITLES[name])


def drawn(found: Source, name: str) -> bytes:
    """The figure as SVG, with the digest of what it shows."""
    buffer = BytesIO()
    with style():
        told = f"sslbench scores {digest(found, items(found, name))}"
        metadata = {"Date": None, "Creator": None, "Description": told}
        figure(found, name).savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def problems(root: Path) -> list[str]:
    """What `--check` says: files that are missing, or that show other scores than the baseline has."""
    found = source(root)
    told = []
    for name in TASKS:
        path = FOLDER / f"{name}.svg"
        text = (root / path).read_text(encoding="utf-8") if (root / path).is_file() else ""
        stored = re.search(r"sslbench scores ([0-9a-f]{64})", text)
        if stored is None or stored[1] != digest(found, items(found, name)):
            told.append(f"{path} does not show {BASELINE}; run `python tools/doc_figures.py`")
    return told


def main() -> int:
    """Write every figure, or tell of those that are out of date."""
    parser = argparse.ArgumentParser(description="Draw the figures of README.md and docs/ from the committed baseline.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a figure is out of date")
    options = parser.parse_args()
    try:
        if options.check:
            told = problems(ROOT)
            print("\n".join(told or ["every figure is that of the baseline"]))
            return int(bool(told))
        found = source(ROOT)
        for name in TASKS:
            write_atomic(ROOT / FOLDER / f"{name}.svg", drawn(found, name))
            print(FOLDER / f"{name}.svg")
    except SslbenchError as error:
        print(f"doc_figures: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
