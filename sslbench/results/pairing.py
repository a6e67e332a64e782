"""Two records of one task on the same items, compared by the test that fits the score."""

from __future__ import annotations

import base64

import numpy as np

from sslbench.errors import RecordError
from sslbench.results.record import Record, unpack_paired
from sslbench.results.statistics import PairedComparison, mcnemar, paired_bootstrap, paired_resamples, paired_t


def compare_records(new: Record, base: Record) -> PairedComparison:
    """Compare the main scores on the same items; the difference is new - base in percentage points.

    Raises RecordError as `check_pair` does.
    """
    check_pair(new, base)
    outcomes, base_outcomes = unpack_paired(new.paired), unpack_paired(base.paired)
    if new.paired["kind"] == "episodes":
        return paired_t(outcomes / new.paired["per_episode"], base_outcomes / base.paired["per_episode"])
    if new.paired["kind"] == "resamples":
        difference = new.main.value - base.main.value
        return paired_resamples(outcomes, base_outcomes, difference, new.paired["images"])
    if new.main_score != "mean_per_class":
        return mcnemar(outcomes, base_outcomes)
    targets = np.frombuffer(base64.b64decode(new.paired["targets"]), dtype="<u2")
    return paired_bootstrap(outcomes, base_outcomes, targets)


def check_pair(new: Record, base: Record) -> None:
    """Whether two records can be compared; new must hold what the test of its score takes.

    Raises:
        RecordError: the records are not of the same task, score or test items, or hold no outcomes of single items.
    """
    pair = f"{new.case!r} and {base.case!r} cannot be paired"
    for ingredient in ("id", "version", "fingerprint"):
        _same(pair, f"task {ingredient}", new.task[ingredient], base.task[ingredient])
    _same(pair, "main score", new.main_score, base.main_score)
    if not new.paired:
        raise RecordError(f"{pair}: {new.case!r} has no outcomes of single items; run the case again")
    _same(pair, "kind of outcomes", new.paired.get("kind"), base.paired.get("kind"))
    kind = new.paired.get("kind")
    if kind not in ("correct", "episodes", "resamples"):
        raise RecordError(f"{pair}: {new.main_score} has no outcomes of single items (kind {kind!r})")
    _same(pair, "digest of the test items", new.paired["items"], base.paired["items"])
    _same(pair, "number of outcomes", new.paired["n"], base.paired["n"])
    if kind == "correct" and new.main_score == "mean_per_class" and "targets" not in new.paired:
        raise RecordError(f"{pair}: {new.case!r} holds no class targets; run the case again")


def _same(pair: str, ingredient: str, new: object, base: object) -> None:
    if new != base:
        raise RecordError(f"{pair}: the {ingredient} differs (new {new!r}, base {base!r}); rerun the baseline")
