"""What a figure is made from, and what one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.analyses import Sheet, sheet_of_records, sheet_of_study
from sslbench.results.record import Record
from sslbench.studies import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Source:
    """What figures are made from.

    sheet: the scores. records: those they come from; none for a study's tables. folder: where the records' files lie, for what
    needs samples; None where nothing lies beside them, as with a baseline.
    """

    sheet: Sheet
    records: Sequence[Record] = ()
    folder: Path | None = None

    @classmethod
    def of_records(cls, records: Sequence[Record], title: str = "records", folder: Path | None = None) -> Source:
        """Raises RecordError where two records are of one case."""
        return cls(sheet_of_records(records, title), tuple(records), folder)

    @classmethod
    def of_study(cls, study: Study) -> Source:
        """From a study's published tables."""
        return cls(sheet_of_study(study))


@dataclass(frozen=True)
class LeftOut:
    """Why a figure cannot be drawn from a source: one sentence without its full stop, for a person."""

    reason: str


Drawn = Mapping[str, "Figure"]
"""Figures by what is appended to the declaration's name, such as a setting; a single one has the empty text."""


@dataclass(frozen=True)
class FigureSpec:
    """One kind of figure; a module of this package that declares it as `FIGURE` adds it.

    name: of its files. shows: what a reader sees in it, one sentence. draw: gives the figures, or why there are none. It is
    called within `sslbench.figures.style.style` and leaves nothing open. study: the number that the figure has in the study.
    reads: whether it reads the samples of a record, which are fetched for it where the run lies elsewhere.
    """

    name: str
    shows: str
    draw: Callable[[Source], Drawn | LeftOut] = field(compare=False)
    study: str = ""
    reads: Callable[[Record], bool] = field(default=lambda record: False, compare=False)
