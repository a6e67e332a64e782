"""References and verdicts: what a score is held against, and within which tolerance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sslbench.compat import SWITCHES
from sslbench.errors import RecordError
from sslbench.metrics import Score
from sslbench.results.marks import score_text
from sslbench.results.pairing import changed_choices
from sslbench.results.published import published, published_c
from sslbench.results.record import Record, case_name

# The tolerance covers what may honestly differ between machines: two standard errors of the score, and never less
# than half a point, because a handful of test images can change sides through floating-point rounding.
FLOOR = 0.5
STANDARD_ERRORS = 2.0

# What a published figure is allowed beside its sampling error, in points, and why. Judgements, not measurements: no
# published figure has been reproduced yet on the real files.
ALLOWANCES: Mapping[str, tuple[float, str]] = {
    "linear": (
        1.0,
        "the study's solver stopped early at weak regularisation; decoders and resizing have changed since",
    ),
    "fewshot": (0.5, "decoders and resizing have changed since"),
}


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
    packaged = Path(str(files("sslbench"))) / "reference" / "embedded.json"
    checkout = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"
    path = packaged if packaged.is_file() else checkout
    return {record.case: record for record in read_records(path)} if path.is_file() else {}


def find_reference(
    backbone: str, task: Mapping[str, Any], score: Score, hyperparameters: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The reference of a case as its record states it, or None: the published figure, else this project's own run."""
    return _published(backbone, task, score, hyperparameters) or _own(case_name(backbone, task["id"]), task, score)


def _own(case: str, task: Mapping[str, Any], score: Score) -> dict[str, Any] | None:
    # A reference made with another version of the task, on other data, or with other choices, does not count.
    saved = embedded_references().get(case)
    if saved is None or any(saved.task.get(field) != task.get(field) for field in ("version", "fingerprint")):
        return None
    if changed_choices(task, saved.task):
        return None
    stderr, told = _known(score.stderr)
    return {
        "value": saved.main.value,
        "source": f"own run of {saved.created[:10]} on {saved.environment['cpu']}, results/baselines/embedded.json",
        "tolerance": max(FLOOR, STANDARD_ERRORS * stderr),
        "how": f"max({FLOOR} points, {STANDARD_ERRORS:g} x standard error {stderr:.2f}{told})",
    }


def _known(stderr: float) -> tuple[float, str]:
    # Without one the tolerance is the narrowest, and says so: a nan would put every score outside of it.
    return (stderr, "") if math.isfinite(stderr) else (0.0, ", as the score's own is not known")


def _published(
    backbone: str, task: Mapping[str, Any], score: Score, hyperparameters: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The published figure, which counts for the study's own networks, whole data and comparable compat choices only.

    A name with options (`byol?padding=same`) is another backbone.
    """
    figure = published(backbone, task["protocol"], task["dataset"], task["variant"])
    changed = not all(SWITCHES[name].comparable(choice) for name, choice in task.get("compat", {}).items())
    if figure is None or changed or not task.get("details", {}).get("complete", True):
        return None
    allowance, why = ALLOWANCES[task["protocol"]]
    own, told = _known(score.stderr)
    stderr = math.hypot(own, figure.stderr or 0.0)
    found: dict[str, Any] = {
        "value": figure.value,
        "source": figure.source,
        "tolerance": STANDARD_ERRORS * stderr + allowance,
        "how": f"{STANDARD_ERRORS:g} x standard error {stderr:.2f}{told} + {allowance:g} points ({why})",
    }
    c = published_c(backbone, task["dataset"])
    if task["protocol"] == "linear" and c is not None:
        found["C"] = {"published": c, "chosen": hyperparameters["C"]}
    return found


def verdict(score: Score, reference: Mapping[str, Any] | None) -> str:
    """`within`, `below`, `above` (below is worse, whichever way the metric points) or `no-reference`."""
    if reference is None:
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
    if "C" in reference:
        text += f" at C = {reference['C']['chosen']:g} (published: {reference['C']['published']:g})"
    return (
        f"{text} is {record.verdict} the reference {reference['value']:.2f} by more than the tolerance "
        f"{reference['tolerance']:.2f} = {reference['how']}; reference: {reference['source']}"
        if record.verdict in ("below", "above")
        else f"{text} is within {reference['tolerance']:.2f} of the reference {reference['value']:.2f}"
    )
