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


def test_further_scores_that_are_paired_are_among_the_scores() -> None:
    paired = Paired("correct", np.ones(10, bool), "items", others={"ece": np.zeros(200), "top1": np.zeros(200)})
    with pytest.raises(ValueError, match="paired: expected others to be further scores beside 'top1', got ece, top1"):
        Outcome({"top1": SCORE}, "top1", None, paired)
    with pytest.raises(ValueError, match=r"others: expected values \(R,\) of 'ece', got shape \(2, 3\)"):
        Paired("correct", np.ones(10, bool), "items", others={"ece": np.zeros((2, 3))})


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
