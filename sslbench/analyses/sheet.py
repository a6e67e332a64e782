"""Scores of many backbones side by side, from records or from a study's published tables: what analyses are functions of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sslbench.backbones.registry import CONTROLS
from sslbench.backbones.zoo import read_card, zoo_names
from sslbench.errors import RecordError
from sslbench.protocols import measures_transfer
from sslbench.results.pairing import comparable
from sslbench.results.record import Record
from sslbench.studies import Study, studies


@dataclass(frozen=True, order=True)
class Item:
    """What one column of a sheet is of: a score of a task.

    task: its id, `PROTOCOL/DATASET` or `PROTOCOL/DATASET/VARIANT`; for a published mean over data sets that of the protocol with
    `*` for the data set. score: its name. main: whether it is the task's main score. unit: `%`, `degrees` and so on. bounded:
    whether no value is beyond 0 to 100, so that one in % has log-odds.
    """

    task: str
    score: str
    main: bool
    unit: str
    higher_is_better: bool
    bounded: bool = True

    @property
    def protocol(self) -> str:
        """The first part of the task's id."""
        return self.task.split("/")[0]

    @property
    def dataset(self) -> str:
        """The second part of the task's id."""
        return self.task.split("/")[1]

    @property
    def variant(self) -> str:
        """The rest of the task's id, empty where there is none."""
        return "/".join(self.task.split("/")[2:])

    @property
    def setting(self) -> str:
        """Protocol and variant without the data set, such as `linear`, `fewshot/20shot` or `detection/frozen`."""
        return "/".join(filter(None, (self.protocol, self.variant)))


@dataclass(frozen=True)
class Cell:
    """One score, in its item's unit.

    stderr: None where it is not known. record: what it comes from, with all that a paired test takes; None for a published one.
    """

    value: float
    stderr: float | None = None
    record: Record | None = None


@dataclass(frozen=True)
class Sheet:
    """title: what is told to whom asks where the scores come from. cells: by backbone and item; not every pair has one.

    upstream: a score of each backbone on the pictures it was pretrained on, in %; backbones without one are absent.
    upstream_name: what that score is, such as `ImageNet top-1`.
    """

    title: str
    cells: Mapping[tuple[str, Item], Cell]
    upstream: Mapping[str, float] = field(default_factory=dict)
    upstream_name: str = ""

    @cached_property
    def backbones(self) -> tuple[str, ...]:
        """Those that have a score, in the order of `cells`; controls last."""
        names = dict.fromkeys(name for name, _ in self.cells)
        return tuple(sorted(names, key=is_control))

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """The backbones that are no controls."""
        return tuple(name for name in self.backbones if not is_control(name))

    @property
    def items(self) -> tuple[Item, ...]:
        """All columns, in the order of `cells`."""
        return tuple(self._columns)

    @property
    def main_items(self) -> tuple[Item, ...]:
        """The columns of main scores."""
        return tuple(item for item in self.items if item.main)

    @property
    def transfer_items(self) -> tuple[Item, ...]:
        """The columns of main scores by which backbones are ranked: those of analyses describe networks instead."""
        return tuple(item for item in self.main_items if measures_transfer(item.protocol))

    def comparable(self, item: Item) -> bool:
        """Whether all records of an item measure the same thing (`sslbench.results.pairing`); so do published figures."""
        return comparable([cell.record for cell in self.column(item).values() if cell.record is not None])

    def column(self, item: Item) -> Mapping[str, Cell]:
        """The cells of one item, by backbone."""
        return self._columns.get(item, {})

    @cached_property
    def _columns(self) -> dict[Item, dict[str, Cell]]:
        columns: dict[Item, dict[str, Cell]] = {}
        for (name, item), cell in self.cells.items():
            columns.setdefault(item, {})[name] = cell
        return columns

    def item(self, task: str, score: str = "") -> Item | None:
        """The item of a task by its score's name, by default the main one; None where there is none."""
        found = [item for item in self.items if item.task == task and (item.score == score if score else item.main)]
        return found[0] if found else None

    def of(self, protocol: str, *, score: str = "") -> Iterator[Item]:
        """The items of a protocol: its main scores, or those named `score`."""
        return (
            item for item in self.items if item.protocol == protocol and (item.score == score if score else item.main)
        )


def is_control(backbone: str) -> bool:
    """Whether a backbone knows nothing: `random-init`, with whatever network, `pixels` and `colour-histogram`."""
    return backbone.split(":")[0].split("?")[0] in CONTROLS


def sheet_of_records(records: Iterable[Record], title: str = "records") -> Sheet:
    """All scores of records, main ones and others.

    The upstream score is ImageNet top-1 for a study's networks as its tables print it, and the linear accuracy on held-out
    pictures of the pretraining set for the zoo; where a run has both kinds, the kind that more of its backbones have, so that
    two scales are never mixed. Raises RecordError where two records are of one case.
    """
    records = list(records)
    cells: dict[tuple[str, Item], Cell] = {}
    beyond = {
        (record.task["id"], name)
        for record in records
        for name, score in record.scores.items()
        if score["value"] is not None and not 0 <= score["value"] <= 100
    }
    seen = set()
    for record in records:
        if record.case in seen:
            raise RecordError(f"expected one record a case, got two of {record.case}")
        seen.add(record.case)
        for name, score in record.scores.items():
            task, rises = record.task["id"], bool(score["higher_is_better"])
            item = Item(task, name, name == record.main_score, score["unit"], rises, (task, name) not in beyond)
            if score["value"] is not None:
                cells[record.backbone["name"], item] = Cell(float(score["value"]), score["stderr"], record)
    sheet = Sheet(title, cells)
    name, upstream = _upstream(sheet.backbones)
    return Sheet(title, cells, upstream, name)


def sheet_of_study(study: Study) -> Sheet:
    """A study's published tables.

    A figure that is a mean over data sets is of the task `PROTOCOL/*`. A column that names no score is of the task's main one.
    """
    cells: dict[tuple[str, Item], Cell] = {}
    for table in study.tables:
        for network in table.networks():
            for head, column in table.columns.items():
                figure = table.figure(network, head)
                if figure is None:
                    continue
                task = column.task or f"{column.mean_of[0].split('/')[0]}/*"
                item = Item(
                    task, column.score or "main", not column.score or column.main, column.unit, column.higher_is_better
                )
                cells[network, item] = Cell(figure.value, figure.stderr)
    upstream = {name: value for name in study.networks if (value := study.upstream_score(name)) is not None}
    return Sheet(study.citation, cells, upstream, study.upstream.name if study.upstream else "")


def _upstream(backbones: Iterable[str]) -> tuple[str, dict[str, float]]:
    backbones, kinds = list(backbones), {}
    for study in studies():
        if study.upstream:
            figures = {name: study.upstream_score(name.split("?")[0]) for name in backbones}
            kinds[study.upstream.name] = {name: value for name, value in figures.items() if value is not None}
    own = sorted(set(backbones) & set(zoo_names()))
    kinds["in-domain linear top-1"] = {
        name: float(read_card(name).facts["in_domain"]["linear_top1"]["value"]) for name in own
    }
    return max(kinds.items(), key=lambda kind: len(kind[1]))
