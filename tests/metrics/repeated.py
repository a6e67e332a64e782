"""A streamed score on resamples, beside the same one of pictures that are there as often as they were drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sslbench.metrics.dense import DenseScores
from sslbench.metrics.resampling import resample_counts

Pair = tuple[np.ndarray, np.ndarray]


def of_all(scores: DenseScores, pairs: Sequence[Pair]) -> DenseScores:
    for truth, predicted in pairs:
        scores.add(truth, predicted)
    return scores


def check_resamples(make: Callable[[], DenseScores], pairs: Sequence[Pair], checked: int = 8) -> None:
    """Every score on the first resamples is that of the repeated pictures, and its error is the spread of all."""
    scored = of_all(make(), pairs).scored()
    draws = resample_counts(len(pairs)).T[1 : checked + 1]
    for number, draw in enumerate(draws):
        again = of_all(make(), [pairs[i] for i in np.repeat(np.arange(len(pairs)), draw)]).scored()
        for name, values in scored.resampled.items():
            assert values[number] == pytest.approx(again.scores[name].value, rel=1e-9, abs=1e-9), name
    for name, score in scored.scores.items():
        assert scored.resampled[name].shape == (200,) and score.n == scored.images == len(pairs)
        assert score.stderr == pytest.approx(np.nanstd(scored.resampled[name], ddof=1)) and score.stderr > 0
