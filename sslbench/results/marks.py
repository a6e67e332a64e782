"""What stands beside a score in every table: its uncertainty, marks of verdict and of doubt, and the level of guessing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sslbench.metrics import Score
from sslbench.results.record import Record, by_task

VERDICT_MARKS = {"below": "▼", "above": "▲"}
VERDICT_LEGEND = "▼ below, ▲ above the reference by more than its tolerance"

UNSOLVED_MARK = "†"
UNSOLVED_LEGEND = (
    "† a linear probe that did not reach its tolerance at every penalty (unconverged, gap in the record); with "
    "linear-solver=sklearn that is expected: it stops early, as the study's did"
)

GUESSING = "guessing"
GUESSING_LEGEND = f"{GUESSING}: what a guess scores that has not seen the picture, by the task's score"

# The relative gap that the path solver certifies where a record names none. Written here again, because its module loads torch.
GAP_TOLERANCE = 1e-4


def unsolved(record: Record) -> bool:
    """Whether an optimisation behind the score ended before its tolerance, or without a certificate."""
    known = record.hyperparameters
    gap = known.get("gap", 0.0)
    certified = isinstance(gap, int | float) and gap <= known.get("tolerance", GAP_TOLERANCE)
    return bool(known.get("unconverged")) or not certified or known.get("refit_converged") is False


def marks(record: Record) -> str:
    """The marks of a record's score, empty for most."""
    return VERDICT_MARKS.get(record.verdict, "") + (UNSOLVED_MARK if unsolved(record) else "")


def legends(records: Iterable[Record]) -> list[str]:
    """What the marks and the row of guessing mean, those that occur."""
    records = list(records)
    found = {
        VERDICT_LEGEND: any(record.verdict in VERDICT_MARKS for record in records),
        UNSOLVED_LEGEND: any(map(unsolved, records)),
        GUESSING_LEGEND: any(guess(column) is not None for column in by_task(records).values()),
    }
    return [legend for legend, occurs in found.items() if occurs]


def guess(column: Iterable[Record]) -> float | None:
    """The level of guessing of records of one task in their main score's unit; None where unknown or not the same."""
    levels = {float(level) for record in column if (level := record.task.get("guess")) is not None}
    return levels.pop() if len(levels) == 1 else None


def mean_guess(columns: Iterable[Iterable[Record]]) -> float | None:
    """The mean level over tasks, None where one is unknown."""
    levels = [guess(column) for column in columns]
    known = [level for level in levels if level is not None]
    return sum(known) / len(known) if known and len(known) == len(levels) else None


def decimals_of(unit: str) -> int:
    """How many decimals a table gives of a number in `unit`: of metres down to millimetres."""
    return 3 if unit == "m" else 1


def number_text(value: float, unit: str) -> str:
    """A number in `unit`, without it."""
    return f"{value:.{decimals_of(unit)}f}"


def score_text(score: Score, *, decimals: int = 1, between: str = " ± ") -> str:
    """Value and standard error, `?` for one that is not known. decimals: at least so many, by the unit more."""
    decimals = max(decimals, decimals_of(score.unit))
    stderr = f"{score.stderr:.{decimals}f}" if math.isfinite(score.stderr) else "?"
    return f"{score.value:.{decimals}f}{between}{stderr}"


def difference_unit(unit: str) -> str:
    """What a difference of two scores in `unit` is counted in."""
    return "points" if unit == "%" else unit
