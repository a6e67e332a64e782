"""Which scores are marked, and what guessing gives."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from sslbench.logistic import binary_path, softmax_path
from sslbench.report.page import html_report
from sslbench.results.compare import interval
from sslbench.results.marks import GAP_TOLERANCE, difference_unit, guess, marks, mean_guess, score_text, unsolved
from sslbench.results.statistics import paired_resamples
from sslbench.results.tables import pivot_markdown, terminal_table


@pytest.mark.parametrize("solve", [softmax_path, binary_path])
def test_the_tolerance_is_the_one_that_the_path_certifies(solve):
    assert inspect.signature(solve).parameters["tol"].default == GAP_TOLERANCE


@pytest.mark.parametrize(
    ("hyperparameters", "expected"),
    [
        ({"C": 1.0, "unconverged": 0, "gap": 9.99e-5}, False),
        ({"C": 1.0, "unconverged": 0, "gap": 1e-4}, False),
        ({"C": 1.0, "unconverged": 1, "gap": 9.99e-5}, True),
        ({"C": 1.0, "unconverged": 0, "gap": 1.01e-4}, True),
        # What a record has for a gap that is not finite, and what the runner has before it is written.
        ({"C": 1.0, "unconverged": 0, "gap": None}, True),
        ({"C": 1.0, "unconverged": 0, "gap": math.nan}, True),
        ({"C": 1.0, "unconverged": 0, "gap": math.inf}, True),
        # scikit-learn's solver says how often it stopped early, and whether it did so in the last fit.
        ({"C": 1.0, "unconverged": 29, "refit_converged": True}, True),
        ({"C": 1.0, "unconverged": 0, "refit_converged": False}, True),
        ({"C": 1.0, "unconverged": 0, "refit_converged": True}, False),
        ({"k": 20, "temperature": 0.07}, False),
        ({"way": 5, "shot": 5, "query": 15, "episodes": 600}, False),
        ({}, False),
    ],
)
def test_a_score_that_was_not_solved_to_the_end_is_marked(make_record, hyperparameters, expected):
    record = make_record(hyperparameters=hyperparameters)
    assert unsolved(record) == expected
    assert marks(record) == ("†" if expected else "")


def test_the_level_of_guessing_of_a_column(make_record):
    assert guess([make_record(guess=90.5)]) == 90.5
    assert guess([make_record(guess=0.0)]) == 0.0
    assert guess([make_record(), make_record(guess=None), make_record(guess=10)]) == 10.0
    assert guess([make_record()]) is None
    assert guess([make_record(guess=10.0), make_record(guess=20.0)]) is None
    assert mean_guess([[make_record(guess=10.0)], [make_record(guess=30.0)]]) == 20.0
    assert mean_guess([[make_record(guess=10.0)], [make_record()]]) is None
    assert mean_guess([]) is None


def test_a_score_in_words(make_record):
    assert score_text(make_record(value=1.26, stderr=0.04).main) == "1.3 ± 0.0"
    assert score_text(make_record(value=1.26, stderr=math.nan).main, decimals=2, between="±") == "1.26±?"


def test_metres_are_told_to_the_millimetre(make_record):
    scale = {"unit": "m", "higher_is_better": False, "main_score": "rmse"}
    records = [
        make_record(name, "dense/rooms", value=value, stderr=0.0042, guess=1.23456, **scale)
        for name, value in (("a", 0.61249), ("b", 0.5551))
    ]
    assert score_text(records[0].main) == "0.612 ± 0.004"
    assert score_text(records[0].main, decimals=4) == "0.6125 ± 0.0042"
    markdown = pivot_markdown(records)
    assert "rooms (m, lower is better)" in markdown and "| b | **0.555 ± 0.004** |" in markdown
    assert "| *guessing* | 1.235 |" in markdown
    lines = terminal_table(records, 80)
    assert "0.612±0.004" in lines[1] and lines[3].split() == ["guessing", "1.235"]
    page = html_report(records, title="metres")
    assert (
        ">0.612 <small>± 0.004</small></a>" in page and ">1.235</td>" in page and 'aria-label="0.604 to 0.621"' in page
    )


def test_differences_of_metres_and_degrees():
    base = np.linspace(0.6, 0.63, 30)
    comparison = paired_resamples(base - np.linspace(0.1, 0.12, 30), base, -0.11254, 30, higher_is_better=False)
    assert interval(comparison, "m").startswith("-0.1125 m, 95 % interval [-0.")
    assert [difference_unit(unit) for unit in ("%", "m", "degrees")] == ["points", "m", "degrees"]
