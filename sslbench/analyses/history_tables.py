"""Scores and speed over nights as text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from sslbench.analyses.history import ALL_CASES, EARLIER, History, Point

_MARKS = {"worse": "▼", "better": "▲", "changed": "◆", "incomparable": "≠"}
_LEGEND = {
    "worse": "▼ worse",
    "better": "▲ better",
    "changed": "◆ changed (neither end is better)",
    "incomparable": "≠ cannot be compared with the night before",
}
# Changed ingredients of a night, and cases that cannot be compared, that are named.
_NAMED = 6

CSV_COLUMNS = (
    *(
        "case",
        "measure",
        "night",
        "date",
        "run",
        "value",
        "unit",
        "stderr",
        "before",
        "p",
        "verdict",
        "told",
        "hardware",
    ),
)


def history_lines(found: History, width: int, *, everything: bool = False) -> list[str]:
    """Plain text: the nights and what differs between them, then the cases that changed, scores first.

    width: of the terminal, in characters; the latest nights that fit are shown. everything: the cases that did not change too.
    """
    lines = ["nights:"]
    for place, night in enumerate(found.nights):
        lines.append(f"  {place + 1}  {night.date}  {night.name}  {len(night.records):,} cases")
        changes = found.changes.get(place, [])
        lines += [f"       {path}: {before} -> {now}" for path, before, now in changes[:_NAMED]]
        if len(changes) > _NAMED:
            lines.append(f"       and {len(changes) - _NAMED} more")
    for speed, title, how in (
        (False, "scores", "paired tests against the night before, Holm over {tests:,} tests"),
        (True, "speed", "against median and MAD of the earlier nights on the same hardware, Holm over {tests:,} tests"),
    ):
        points = [point for point in found.points if point.speed is speed]
        lines += ["", *_block(found, points, title, how, width, everything=everything)]
    if apart := [point for point in _last(found) if point.verdict == "incomparable"]:
        lines += ["", f"{len(apart):,} case(s) of the last night cannot be compared with the night before:"]
        lines += [f"  {point.told}" for point in apart[:_NAMED]]
        lines += [f"  and {len(apart) - _NAMED:,} more"] * (len(apart) > _NAMED)
    if alarms := found.alarms("any"):
        lines += ["", "worse or changed on the last night:", *(f"  {told(point)}" for point in alarms)]
    return lines


def told(point: Point) -> str:
    """One line on a point that was tested."""
    unit = f" {point.unit}".rstrip()
    before = "" if point.before is None else f" against {_number(point, point.before)}{unit}"
    p = "" if point.p is None else f"; Holm p = {point.p:.3g}, {point.told}"
    where = f", {point.hardware}" if point.hardware else ""
    return f"{point.case}: {point.measure} {_number(point, point.value)}{unit}{before} ({point.verdict}{p}{where})"


def to_csv(found: History) -> str:
    """A line for each score and speed of a case on a night; empty cells where something is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for point in found.points:
        night = found.nights[point.night]
        numbers = [_cell(number) for number in (point.value, point.stderr, point.before, point.p)]
        writer.writerow(
            [
                *(point.case, point.measure, point.night + 1, night.date, night.name, numbers[0], point.unit),
                *(*numbers[1:], point.verdict, point.told, point.hardware),
            ]
        )
    return text.getvalue()


def _block(found: History, points: Sequence[Point], title: str, how: str, width: int, *, everything: bool) -> list[str]:
    rows: dict[tuple[str, str, str], dict[int, Point]] = {}
    for point in points:
        rows.setdefault((point.case, point.measure, point.hardware), {})[point.night] = point
    changed = {
        row
        for row, cells in rows.items()
        if any(cell.verdict in ("worse", "better", "changed") for cell in cells.values())
    }
    tests = sum(point.p is not None for point in points)
    summary = f"{title}: {len(changed):,} of {len(rows):,} rows changed beyond noise"
    if tests:
        head = [f"{summary} ({how.format(tests=tests)})"]
    elif points and points[0].speed:
        head = [f"{title}: too few nights; {EARLIER} earlier ones on the same hardware are needed"]
    else:
        head = [f"{title}: nothing to compare; no case was run anew on two nights"]
    shown = [row for row in rows if everything or row in changed or row[0] == ALL_CASES]
    if not shown:
        return head
    # The hardware is part of a row's name only where one case has several.
    several = len({hardware for _, _, hardware in rows}) > 1
    names = [
        " ".join([case, measure, *([f"({hardware})"] if several and hardware else [])])
        for case, measure, hardware in shown
    ]
    columns = {
        place: [_text(rows[row].get(place)) for row in shown]
        for place in range(len(found.nights))
        if any(place in rows[row] for row in shown)
    }
    return [*head, *_table(found, names, columns, width), *_legend(rows[row] for row in shown)]


def _table(found: History, names: list[str], columns: dict[int, list[str]], width: int) -> list[str]:
    first = max(map(len, ["case", *names]))
    room = {place: max(len(found.nights[place].label), *map(len, cells)) + 1 for place, cells in columns.items()}
    kept: list[int] = []
    for place in sorted(columns, reverse=True):
        if kept and first + sum(room[one] for one in kept) + room[place] > width:
            break
        kept.insert(0, place)
    lines = ["case".ljust(first) + "".join(found.nights[place].label.rjust(room[place]) for place in kept)]
    for index, name in enumerate(names):
        lines.append(name.ljust(first) + "".join(columns[place][index].rjust(room[place]) for place in kept))
    if left := len(columns) - len(kept):
        lines.append(f"({left} earlier night(s) do not fit; --csv has all)")
    return [line.rstrip() for line in lines]


def _legend(rows: Iterable[Mapping[int, Point]]) -> list[str]:
    met = {cell.verdict for cells in rows for cell in cells.values()}
    told = [text for verdict, text in _LEGEND.items() if verdict in met]
    return [", ".join(told)] if told else []


def _text(point: Point | None) -> str:
    return "–  " if point is None else f"{_number(point, point.value)} {_MARKS.get(point.verdict, ' ')}"


def _number(point: Point, value: float) -> str:
    if point.speed:
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return f"{value:.4f}" if point.unit in ("", "nats", "m") else f"{value:.2f}"


def _cell(number: float | None) -> str:
    return "" if number is None else repr(number)


def _last(found: History) -> list[Point]:
    return [point for point in found.points if point.night == len(found.nights) - 1]
