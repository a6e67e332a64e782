"""The few-shot mean as the study reports it."""

import subprocess
import sys

import numpy as np
import pytest

from sslbench.metrics import episode_mean


def test_episode_mean_is_the_studys_formula():
    accuracies = np.random.default_rng(0).integers(0, 76, size=600) / 75
    score = episode_mean(accuracies)
    half = score.ci95[1] - score.value
    assert score.value == pytest.approx(100 * np.mean(accuracies))
    assert half == pytest.approx(100 * 1.96 * np.std(accuracies) / np.sqrt(600), rel=1e-12)
    assert score.value - score.ci95[0] == pytest.approx(half)
    assert score.n == 600


def test_episode_mean_of_a_known_pair_divides_by_the_number_of_episodes():
    score = episode_mean(np.array([0.5, 1.0]))
    assert (score.value, score.stderr) == (75.0, pytest.approx(25 / np.sqrt(2)))
    assert score.ci95[1] > 100.0  # as reported, not clipped


@pytest.mark.parametrize(
    ("accuracies", "message"),
    [
        (np.zeros(0), r"E >= 1, got \(0,\)"),
        (np.zeros((2, 3)), r"shape \(E,\)"),
        (np.array([0.5, np.nan]), "got nan at episode 1"),
        (np.array([0.5, 0.2, 71.0]), "got 71.0 at episode 2"),
        (np.array([-0.1]), "got -0.1 at episode 0"),
    ],
)
def test_bad_input_is_refused(accuracies, message):
    with pytest.raises(ValueError, match=message):
        episode_mean(accuracies)


def test_importing_the_metrics_imports_no_heavy_package():
    heavy = "print(sorted({'torch', 'sklearn', 'scipy'} & {name.split('.')[0] for name in sys.modules}))"
    code = f"import sys, sslbench.metrics, sslbench.results.statistics; {heavy}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
