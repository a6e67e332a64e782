"""The study's published tables: figures with their source, read from the package's CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sslbench.errors import RecordError
from sslbench.metrics.score import Z95

STUDY = "Ericsson, Gouk and Hospedales, CVPR 2021, arXiv 2011.13377"
AVERAGE = "avg"
IMAGENET = "imagenet"


@dataclass(frozen=True)
class Table:
    """One table. stem: of its CSV file. title: what it is in the paper. setting: the protocol, with the variant."""

    stem: str
    title: str
    setting: str


@dataclass(frozen=True)
class Figure:
    """One published number in its table's unit; stderr is None where the paper prints no interval."""

    value: float
    stderr: float | None
    table: Table

    @property
    def source(self) -> str:
        """Where it stands."""
        return f"{STUDY}, {self.table.title} (sslbench/reference/{self.table.stem}.csv)"


def _few_shot(shots: int) -> tuple[Table, ...]:
    return (
        Table(
            f"few_shot_kornblith_{shots}shot",
            f"few-shot recognition, many-shot sets, {shots} shots",
            f"fewshot/{shots}shot",
        ),
        Table(
            f"few_shot_cdfsl_{shots}shot",
            f"few-shot recognition, cross-domain sets, {shots} shots",
            f"fewshot/{shots}shot",
        ),
    )


TABLES: tuple[Table, ...] = (
    Table("many_shot_linear", "many-shot recognition, linear", "linear"),
    *_few_shot(20),
    *_few_shot(5),
    *_few_shot(50),
)
"""The tables that a task of this package has a figure in, in the order of the paper's sections."""

BEST_C = "many_shot_linear_best_C"


@cache
def rows(stem: str) -> Mapping[str, Mapping[str, str]]:
    """A table as written: network -> column -> text."""
    text = files("sslbench").joinpath("reference", f"{stem}.csv").read_text(encoding="utf-8")
    return {row.pop("model"): row for row in csv.DictReader(text.splitlines())}


def columns(table: Table) -> tuple[str, ...]:
    """The datasets of a table, in its order."""
    first = next(iter(rows(table.stem).values()))
    return tuple(name for name in first if name not in (AVERAGE, IMAGENET))


@cache
def networks() -> tuple[str, ...]:
    """The study's fourteen networks, in the order of its tables."""
    return tuple(rows("many_shot_linear"))


def figure(table: Table, network: str, column: str) -> Figure | None:
    """The number of one cell, or None where the table has no such cell."""
    text = rows(table.stem).get(network, {}).get(column)
    if text is None:
        return None
    value, _, half_width = text.partition("±")
    try:
        return Figure(float(value), float(half_width) / Z95 if half_width else None, table)
    except ValueError as error:
        raise RecordError(f"{table.stem}.csv, {network}, {column}: expected a number, got {text!r}") from error


def published(network: str, protocol: str, dataset: str, variant: str) -> Figure | None:
    """The figure of one case, or None. network: the study's own name, such as `swav`."""
    setting = "/".join(filter(None, (protocol, variant)))
    found = (figure(table, network, dataset) for table in TABLES if table.setting == setting)
    return next((cell for cell in found if cell is not None), None)


def published_c(network: str, dataset: str) -> float | None:
    """The C that the authors list for the linear probe."""
    text = rows(BEST_C).get(network, {}).get(dataset)
    return None if text is None else float(text)
