"""References and verdicts: what a score is held against, and within which tolerance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sslbench.compat import switches
from sslbench.errors import RecordError
from sslbench.metrics import Score
from sslbench.results.committed import committed
from sslbench.results.marks import difference_unit, score_text
from sslbench.results.pairing import changed_choices
from sslbench.results.record import Record, case_name
from sslbench.results.second_run import spread
from sslbench.studies import Column, Figure, Table, studies

# The tolerance covers what may honestly differ between machines: two standard errors of the score, what scores of the task
# differed by on another processor, and never less than half a point, because a handful of test images can change sides
# through floating-point rounding.
FLOOR = 0.5
STANDARD_ERRORS = 2.0


def read_records(path: Path) -> list[Record]:
    """A baseline file: a JSON list of records. RecordError names what is wrong with it."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read the baseline {path}: {error}") from error
    except ValueError as error:
        raise RecordError(
            f"{path} is not valid JSON ({error}); write it again with --sslbench-save-baseline"
        ) from error
    if not isinstance(data, list):
        raise RecordError(f"{path}: expected a JSON list of records, got {type(data).__name__}")
    return [Record.from_json(item, where=f"{path}, record {index}") for index, item in enumerate(data)]


@cache
def embedded_references() -> Mapping[str, Record]:
    """The committed records of the embedded suite by case: package data, or the file in a source checkout."""
    path = committed("embedded.json")
    return {} if path is None else {record.case: record for record in read_records(path)}


def find_references(
    backbone: str,
    task: Mapping[str, Any],
    scores: Mapping[str, Score],
    main: str,
    hyperparameters: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """The references of a case by score, as its record states them: published figures, else this project's own run.

    Each has `value` and `tolerance` in the score's `unit`, `higher_is_better`, `source`, and `how` the tolerance came about. A
    tolerance of None judges nothing, for the reason that stands in `how`: nobody knows how far an honest run may be off, or the
    score has another unit or direction than what is published.
    """
    found = _published(backbone, task, scores, main, hyperparameters)
    own = None if main in found else _own(case_name(backbone, task["id"]), task, scores[main])
    return {**found, main: own} if own is not None else found


def _own(case: str, task: Mapping[str, Any], score: Score) -> dict[str, Any] | None:
    # A reference made with another version of the task, on other data, or with other choices, does not count.
    saved = embedded_references().get(case)
    if saved is None or any(saved.task.get(field) != task.get(field) for field in ("version", "fingerprint")):
        return None
    if changed_choices(task, saved.task):
        return None
    stderr, told = _known(score.stderr)
    # The floor is in points.
    floor, stated = (FLOOR, f"max({FLOOR} points, ") if score.unit == "%" else (0.0, "max(0, ")
    apart, measured = 0.0, ""
    if found := spread(task["id"], embedded_references()):
        apart, networks = found.quantile * found.rms, len(found.differences)
        measured = (
            f", {found.quantile:.2f} x {found.rms:.2f} by which {networks} networks' scores differed on {found.cpu}"
        )
    return {
        "value": saved.main.value,
        **_scale(score),
        "source": f"own run of {saved.created[:10]} on {saved.environment['cpu']}, results/baselines/embedded.json",
        "tolerance": max(floor, STANDARD_ERRORS * stderr, apart),
        "how": f"{stated}{STANDARD_ERRORS:g} x standard error {stderr:.2f}{told}{measured})",
    }


def _scale(score: Score) -> dict[str, Any]:
    return {"unit": score.unit, "higher_is_better": score.higher_is_better}


def _known(stderr: float) -> tuple[float, str]:
    # Without one the tolerance is the narrowest, and says so: a nan would put every score outside of it.
    return (stderr, "") if math.isfinite(stderr) else (0.0, ", as the score's own is not known")


def _published(
    backbone: str,
    task: Mapping[str, Any],
    scores: Mapping[str, Score],
    main: str,
    hyperparameters: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Published figures, which count for a study's own networks, whole data and comparable compat choices only.

    A name with options (`byol?padding=same`) is another backbone.
    """
    known = switches()
    choices = task.get("compat", {})
    if not all(name in known and known[name].comparable(choice) for name, choice in choices.items()):
        return {}
    if not task.get("details", {}).get("complete", True):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for study in studies():
        for table in study.tables:
            for name, column in table.columns.items():
                figure = table.figure(backbone, name) if column.task == task["id"] else None
                score = column.score or main
                if figure is None or score not in scores:
                    continue
                listed = {
                    parameter: {"published": value, "chosen": hyperparameters[parameter]}
                    for parameter, value in table.chosen(backbone, name).items()
                    if parameter in hyperparameters
                }
                reference = _reference(scores[score], column, figure, table, study.source(table))
                # The first study that has a figure of a score stays.
                found.setdefault(score, {**reference, **({"hyperparameters": listed} if listed else {})})
    return found


def _reference(score: Score, column: Column, figure: Figure, table: Table, source: str) -> dict[str, Any]:
    scale = {"unit": column.unit, "higher_is_better": column.higher_is_better}
    known = {"value": figure.value, **scale, "source": source}
    if scale != _scale(score):
        theirs, ours = (
            f"{unit}, {_direction(rising)}"
            for unit, rising in ((column.unit, column.higher_is_better), (score.unit, score.higher_is_better))
        )
        return {**known, "tolerance": None, "how": f"published in {theirs}, but the score is in {ours}"}
    if table.allowance is None:
        return {**known, "tolerance": None, "how": table.no_verdict}
    own, told = _known(score.stderr)
    stderr, allowed = math.hypot(own, figure.stderr or 0.0), table.allowance
    allowance = f"{allowed.size:g} {difference_unit(score.unit)} ({allowed.why})"
    return {
        **known,
        "tolerance": STANDARD_ERRORS * stderr + allowed.size,
        "how": f"{STANDARD_ERRORS:g} x standard error {stderr:.2f}{told} + {allowance}",
    }


def _direction(higher_is_better: bool) -> str:
    return "better when higher" if higher_is_better else "better when lower"


def verdict(score: Score, reference: Mapping[str, Any] | None) -> str:
    """`within`, `below`, `above` (below is worse, whichever way the metric points) or `no-reference`.

    A reference without a tolerance is shown but judges nothing.
    """
    if reference is None or reference["tolerance"] is None:
        return "no-reference"
    gain = score.value - reference["value"]
    if not score.higher_is_better:
        gain = -gain
    if abs(gain) <= reference["tolerance"]:
        return "within"
    return "above" if gain > 0 else "below"


def explain(record: Record) -> str:
    """One line on how a score stands to its reference."""
    score, reference = record.main, record.reference
    text = f"{record.case}: {record.main_score} {score_text(score, decimals=2)} {score.unit}"
    if reference is None:
        return f"{text}, no reference"
    if reference["tolerance"] is None:
        return f"{text}, published {reference['value']:.2f}, which judges nothing: {reference['how']}"
    for parameter, both in reference.get("hyperparameters", {}).items():
        text += f" at {parameter} = {both['chosen']:g} (published: {both['published']:g})"
    return (
        f"{text} is {record.verdict} the reference {reference['value']:.2f} by more than the tolerance "
        f"{reference['tolerance']:.2f} = {reference['how']}; reference: {reference['source']}"
        if record.verdict in ("below", "above")
        else f"{text} is within {reference['tolerance']:.2f} of the reference {reference['value']:.2f}"
    )
