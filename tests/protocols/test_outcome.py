from __future__ import annotations

import numpy as np
import pytest

from sslbench.metrics import Score
from sslbench.protocols.outcome import Outcome, Paired

SCORE = Score(50.0, 1.0, (48.0, 52.0), 10)


@pytest.mark.parametrize(
    ("scores", "main", "guess", "told"),
    [
        ({"top1": SCORE}, "acc", None, "main: expected one of the scores top1, got 'acc'"),
        ({"top1": 50.0}, "top1", None, "expected a Score for 'top1', got float"),
        ({"top1": SCORE}, "top1", "50", "guess: expected a number or None, got '50'"),
    ],
)
def test_an_outcome_that_no_record_can_hold_is_refused(scores: object, main: str, guess: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Outcome(scores, main, guess, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "facts", "told"),
    [
        ("resamples", {}, "resamples: expected a positive whole 'images' among the facts"),
        ("episodes", {"per_episode": "75"}, "episodes: expected a positive whole 'per_episode'"),
        ("right", {}, "kind: expected correct, episodes, resamples, got 'right'"),
    ],
)
def test_what_a_paired_test_needs_is_asked_for(kind: str, facts: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Paired(kind, np.zeros(3), "items", facts)  # type: ignore[arg-type]
