"""One outcome of several trainings that differ in their seed: the mean, and how far they spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sslbench.metrics import MetricSpec, Score
from sslbench.metrics.resampling import RESAMPLES, Scale, resample_counts, resampled_score
from sslbench.protocols.outcome import Outcome, Paired


def over_seeds(outcomes: Sequence[Outcome], metric: MetricSpec) -> Outcome:
    """The mean of every score over the seeds.

    The standard error of the main score is of the drawing of the test items, for these networks: from resamples of the items,
    the same for all of them. `MAIN_seed_sd` beside it is the standard deviation over the seeds (divisor k - 1), its standard
    error sd / sqrt(2 (k - 1)) as for normal scores; it tells how far another training would have come out, which no drawing
    of items does. Other scores keep the mean of their standard errors, an upper limit.
    """
    first, count = outcomes[0], len(outcomes)
    values = np.array([outcome.scores[first.main].value for outcome in outcomes])
    resampled = np.mean([_on_resamples(outcome, metric) for outcome in outcomes], axis=0)
    items = len(first.samples["targets"])
    main, resampled = resampled_score(float(values.mean()), resampled, items, Scale())
    spread = float(values.std(ddof=1))
    scores = {name: _mean([outcome.scores[name] for outcome in outcomes]) for name in first.scores}
    unknown = (math.nan, math.nan)
    scores = {
        **scores,
        first.main: main,
        f"{first.main}_seed_sd": Score(
            spread, spread / math.sqrt(2 * (count - 1)), unknown, count, main.unit, higher_is_better=False
        ),
    }
    paired = None
    if first.paired is not None:
        others = {
            name: np.mean([outcome.paired.others[name] for outcome in outcomes if outcome.paired], axis=0)
            for name in first.paired.others
        }
        paired = Paired("resamples", resampled, first.paired.items, {"images": items}, others)
    decisions = {f"decision_seed{number}": outcome.samples["decision"] for number, outcome in enumerate(outcomes)}
    fitted = {
        what: {name: [outcome.fitted[what][name] for outcome in outcomes] for name in first.fitted[what]}
        for what in first.fitted
    }
    samples = {"targets": first.samples["targets"], **decisions}
    return Outcome(scores, first.main, first.guess, paired, samples, first.draws, fitted)


def _on_resamples(outcome: Outcome, metric: MetricSpec) -> npt.NDArray[np.float64]:
    decision, targets = outcome.samples["decision"], outcome.samples["targets"]
    if metric.resampled is not None:
        return metric.resampled(decision, targets)[1]
    counts = resample_counts(len(targets))[:, 1:]
    drawn = (np.repeat(np.arange(len(targets)), column) for column in counts.T)
    return np.fromiter((metric.select(decision[rows], targets[rows]).value for rows in drawn), np.float64, RESAMPLES)


def _mean(scores: Sequence[Score]) -> Score:
    value, stderr = (float(np.mean([getattr(score, name) for score in scores])) for name in ("value", "stderr"))
    low, high = (float(np.mean([score.ci95[side] for score in scores])) for side in (0, 1))
    first = scores[0]
    return Score(value, stderr, (low, high), first.n, first.unit, first.higher_is_better)
