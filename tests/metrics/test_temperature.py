"""Temperature scaling against scipy, netcal's numbers, and what a temperature must and must not change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sslbench.metrics import (
    adaptive_calibration_error,
    brier_score,
    correct,
    expected_calibration_error,
    fit_temperature,
    fold_scaled_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    scaled_calibration_error,
)
from sslbench.metrics.calibration_scores import calibration_scores
from sslbench.metrics.temperature import folds
from tests.metrics.calibration_data import calibrated, overconfident

# netcal 1.4.0 on float64 probabilities of `overconfident(seed)`: its weight 1/T fitted on all items, ECE(15) of these at T, and
# the mean ECE of five folds as in the study's temperature_scaling.py. It stops at a gradient of 1e-5, hence the tolerances.
NETCAL = {
    0: (0.51267458, 0.03036202776444717, 0.04987064835346701),
    1: (0.46959891, 0.05458752125113814, 0.05645455895288717),
    2: (0.47642094, 0.02934150337748362, 0.05093674643346076),
}


@pytest.mark.parametrize("seed", NETCAL)
def test_temperature_and_errors_are_netcals(seed: int) -> None:
    decision, targets = overconfident(seed)
    weight, scaled, folded = NETCAL[seed]
    temperature = fit_temperature(decision, targets)
    assert 1 / temperature == pytest.approx(weight, rel=1e-4)
    assert scaled_calibration_error(decision, targets, temperature).value == pytest.approx(100 * scaled, abs=0.01)
    score, temperatures = fold_scaled_calibration_error(decision, targets)
    assert score.value == pytest.approx(100 * folded, abs=0.01)
    assert len(temperatures) == 5


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("gain", [1e-3, 1.0, 1e3])
def test_the_temperature_is_where_the_likelihood_is_largest(gain: float, dtype: type) -> None:
    decision, targets = (gain * overconfident(3)[0]).astype(dtype), overconfident(3)[1]

    def loss(log_t: float) -> float:
        return negative_log_likelihood(decision.astype(np.float64) / math.exp(log_t), targets, resamples=0).value

    found = minimize_scalar(
        loss, bounds=(math.log(gain) - 5, math.log(gain) + 5), method="bounded", options={"xatol": 1e-9}
    )
    assert fit_temperature(decision, targets) == pytest.approx(math.exp(found.x), rel=1e-5)


def test_calibrated_decisions_have_a_temperature_of_one_and_scaled_ones_their_scale() -> None:
    decision, targets = calibrated(0, 100_000)
    temperature = fit_temperature(decision, targets)
    assert temperature == pytest.approx(1, abs=0.02)
    for gain in (0.25, 2.0, 1e6):
        assert fit_temperature(gain * decision, targets) == pytest.approx(gain * temperature, rel=1e-8)
    before, after = (
        scaled_calibration_error(2 * decision, targets, t, resamples=0).value for t in (1.0, 2 * temperature)
    )
    assert before > 10 and after < 0.6


def test_scaling_changes_no_decision_and_a_temperature_of_one_nothing() -> None:
    decision, targets = overconfident(4)
    for temperature in (0.1, 3.0):
        assert (correct(decision / temperature, targets) == correct(decision, targets)).all()
        scaled, plain = scaled_calibration_error(decision, targets, temperature), decision / temperature
        assert scaled.value == pytest.approx(expected_calibration_error(plain, targets).value)
    assert scaled_calibration_error(decision, targets, 1.0) == expected_calibration_error(decision, targets)


def test_where_no_temperature_is_best_an_end_of_the_range_is_taken() -> None:
    decision, targets = overconfident(5)
    right = correct(decision, targets)
    sharp = fit_temperature(decision[right], targets[right])
    assert 0 < sharp < 0.01
    assert scaled_calibration_error(decision[right], targets[right], sharp).value == pytest.approx(0, abs=0.5)
    soft = fit_temperature(-decision, targets)
    assert soft > 1e4
    assert negative_log_likelihood(-decision / soft, targets).value == pytest.approx(math.log(7), abs=1e-3)
    for gain in (1.0, 2.0):
        assert fit_temperature(gain * decision[right], targets[right]) == pytest.approx(gain * sharp)
    assert fit_temperature(np.full((4, 3), 5.0), np.array([0, 1, 2, 0])) == 1.0


def test_folds_are_the_studys() -> None:
    for n, size in ((5, 1), (9, 1), (104, 20), (1000, 200)):
        np.random.seed(0)
        indices = list(range(n))
        np.random.shuffle(indices)
        drawn = folds(n)
        assert drawn.shape == (5, size)
        assert drawn.ravel().tolist() == indices[: 5 * size]
    with pytest.raises(ValueError, match="at least 5 items for 5 folds, got 4"):
        folds(4)


def test_each_fold_is_fitted_on_a_fifth_and_scored_on_the_others() -> None:
    decision, targets = overconfident(6, 104)
    drawn, errors = folds(104), []
    for number in range(5):
        others = np.concatenate([drawn[i] for i in range(5) if i != number])
        temperature = fit_temperature(decision[drawn[number]], targets[drawn[number]])
        errors.append(scaled_calibration_error(decision[others], targets[others], temperature).value)
    score, temperatures = fold_scaled_calibration_error(decision, targets)
    assert score.value == pytest.approx(np.mean(errors))
    assert (score.n, score.unit, score.higher_is_better) == (100, "%", False)
    assert temperatures == [fit_temperature(decision[fold], targets[fold]) for fold in drawn]
    # Items of the remainder count for nothing.
    rest = np.setdiff1d(np.arange(104), drawn)
    changed = decision.copy()
    changed[rest] = 99 * np.eye(7)[0]
    assert fold_scaled_calibration_error(changed, targets)[0] == score


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_no_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature: expected a positive number"):
        scaled_calibration_error(*overconfident(0), temperature)


def test_all_scores_at_once_are_those_one_by_one() -> None:
    decision, targets = overconfident(7)
    validation = overconfident(8, 150)
    found = calibration_scores(decision, targets, validation)
    assert list(found.scores) == ["ece", "ace", "mce", "brier", "nll", "ece_scaled", "ece_scaled_val"]
    assert found.scores.keys() == found.resampled.keys()
    folded, temperatures = fold_scaled_calibration_error(decision, targets)
    temperature = fit_temperature(*validation)
    one_by_one = {
        "ece": expected_calibration_error(decision, targets),
        "ace": adaptive_calibration_error(decision, targets),
        "mce": maximum_calibration_error(decision, targets),
        "brier": brier_score(decision, targets),
        "nll": negative_log_likelihood(decision, targets),
        "ece_scaled": folded,
        "ece_scaled_val": scaled_calibration_error(decision, targets, temperature),
    }
    for name, score in one_by_one.items():
        assert found.scores[name].value == pytest.approx(score.value)
        assert (found.scores[name].n, found.scores[name].unit) == (score.n, score.unit)
    assert found.temperatures == {"ece_scaled": temperatures, "ece_scaled_val": temperature}
    for name, values in found.resampled.items():
        assert values.shape == (200,)
        assert found.scores[name].stderr == pytest.approx(values.std(ddof=1))
    assert found.reliability.shape == (15, 4)


def test_what_is_not_there_is_left_out() -> None:
    decision, targets = overconfident(9, 4)
    assert list(calibration_scores(decision, targets).scores) == ["ece", "ace", "mce", "brier", "nll"]
    with pytest.raises(ValueError, match=r"validation: expected decision values \(N, 7\).*, got \(20, 3\)"):
        calibration_scores(decision, targets, overconfident(0, 20, 3))
