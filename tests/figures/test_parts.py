"""The parts that figures share: lines with bands, marks, labels, ticks, rows of bars."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from sslbench.figures.axes import log_odds_ticks, logarithmic
from sslbench.figures.correlations import packed
from sslbench.figures.labels import drawable, fitted, labels, shortened, text_width
from sslbench.figures.regression import regression_band
from sslbench.figures.style import GREY, STAR, marks


def test_the_line_and_its_band_are_those_of_scipy():
    rng = np.random.default_rng(3)
    x = rng.normal(2, 1, 12)
    y = 0.7 * x + rng.normal(0, 0.5, 12)
    found = stats.linregress(x, y)
    line, half = regression_band(x, y, [0.0, 5.0])
    assert line == pytest.approx([found.intercept, found.intercept + 5 * found.slope])
    # At 0 the mean's standard error is the intercept's; at 5 that of the intercept when x is counted from there.
    t = stats.t.ppf(0.975, 10)
    shifted = stats.linregress(x - 5, y)
    assert half == pytest.approx([t * found.intercept_stderr, t * shifted.intercept_stderr])


@pytest.mark.parametrize("x", [[1.0, 2.0], [2.0, 2.0, 2.0]])
def test_a_band_takes_three_places(x):
    with pytest.raises(ValueError, match="3 points"):
        regression_band(x, x, [0.0])


def test_marks_tell_backbones_apart():
    found = marks(
        [*(f"net{number}" for number in range(150)), "pixels", "random-init:x", "zoo:supervised", "supervised"]
    )
    assert len(set(found.values())) == len(found)
    assert found["pixels"].colour == found["random-init:x"].colour == GREY
    assert {name for name, mark in found.items() if mark.shape == STAR} == {"zoo:supervised", "supervised"}
    assert "wheel:efficientnet-lite0?size=64" in marks(["wheel:efficientnet-lite0?size=64"])
    # A network that is called so somewhere in its name has learned otherwise.
    assert marks(["self-supervised"])["self-supervised"].shape != STAR


def test_labels_can_be_drawn_and_stay_apart():
    long = [f"file:/one/very/long/place/of/weights/{part}/with/the/same/end.pth" for part in "ab"]
    found = labels([*long, "模型", "a$b", "caf\udce9", "two\nlines"], 20)
    assert all(len(label) <= 20 for label in found.values()) and len(set(found.values())) == 6
    assert found["模型"] == "\\u6a21\\u578b" and found["a$b"] == "a$b" and found["two\nlines"] == "two lines"
    assert found["caf\udce9"] == "caf\\xe9"
    assert shortened("abcdefgh", 5) == "ab…gh" and drawable("é…") == "é…"


def test_a_fitted_text_is_as_wide_as_it_may_be():
    text = "a rather long title of a panel"
    assert fitted(text, 10) == text
    short = fitted(text, 0.6)
    assert text_width(short) <= 0.6 < text_width(shortened(text, len(short) + 2)) and "…" in short


def test_ticks_are_round_and_in_words_of_ours():
    axes = Figure().add_subplot()
    axes.set_ylim(np.log(0.59 / 0.41), np.log(0.81 / 0.19))
    log_odds_ticks(axes, "y")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["60", "70", "80"]
    logarithmic(axes, "x", [250, 9000], lambda value: f"{value:g}")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["300", "1000", "3000", "10000"]
    # Of one value there is still an axis.
    logarithmic(axes, "x", [5], lambda value: f"{value:g}")
    assert axes.get_xlim()[0] < 5 < axes.get_xlim()[1] and len(axes.get_xticks()) >= 1


def test_settings_stay_whole_in_rows_of_bars():
    assert packed({"a": 3, "b": 4, "c": 2}, 6) == [[("a", 0, 3)], [("b", 0, 4), ("c", 0, 2)]]
    assert packed({"a": 2, "b": 8}, 6) == [[("a", 0, 2)], [("b", 0, 6)], [("b", 6, 8)]]
