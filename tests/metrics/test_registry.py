"""What a metric's declaration says: what it takes, where it has no value, and what guessing gives."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from sslbench.errors import UnknownNameError
from sslbench.metrics import METRICS, Score, metric_spec

SKEWED = np.array([2] * 5 + [0] * 3 + [1] * 2)
SEVERAL = np.array([[1, 0], [1, 1], [0, -1], [1, 0]])


def test_metrics_are_known_by_name():
    perfect = np.eye(2)
    assert list(METRICS) == ["top1", "mean_per_class", "auroc", "map", "voc_map11"]
    for name in METRICS:
        spec = METRICS[name]
        assert metric_spec(name) is spec
        for taken, targets in ((spec.one_label, np.array([0, 1])), (spec.several_labels, np.eye(2))):
            if taken:
                score = spec(perfect, targets)
                assert isinstance(score, Score)
                assert score.value == spec.select(perfect, targets).value == pytest.approx(100.0)


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown metric 'auroc1'; nearest: auroc"):
        metric_spec("auroc1")


def test_selection_spares_the_bootstrap():
    for name in ("auroc", "map", "voc_map11"):
        assert np.isnan(METRICS[name].select(np.eye(2), np.eye(2)).stderr)


def test_guessing_is_what_a_blind_classifier_scores():
    always = DummyClassifier(strategy="most_frequent").fit(np.zeros((10, 1)), SKEWED).predict(np.zeros((10, 1)))
    assert METRICS["top1"].blind(SKEWED, 4) == pytest.approx(100 * np.mean(always == SKEWED)) == 50
    # Class 3 has no test item, so that there is no recall to average.
    assert METRICS["mean_per_class"].blind(SKEWED, 4) == pytest.approx(100 * balanced_accuracy_score(SKEWED, always))
    assert METRICS["auroc"].blind(SKEWED, 3) == 50
    marks = np.eye(3, dtype=int)[SKEWED]
    expected = average_precision_score(marks, np.zeros((10, 3)), average="macro")
    assert METRICS["map"].blind(SKEWED, 3) == pytest.approx(100 * expected) == pytest.approx(100 / 3)


def test_guessing_two_classes_and_several_labels():
    two = np.array([1, 0, 0, 0])
    assert METRICS["auroc"].blind(two, 2) == 50
    assert METRICS["map"].blind(two, 2) == pytest.approx(25)
    assert METRICS["auroc"].blind(SEVERAL, 2) == 50
    assert METRICS["map"].blind(SEVERAL, 2) == pytest.approx(100 * np.mean([3 / 4, 1 / 3]))
    # The 11-point curve has a free point of precision 1.
    assert METRICS["voc_map11"].blind(SEVERAL, 2) == pytest.approx(100 * np.mean([1 + 10 * 3 / 4, 1 + 10 / 3]) / 11)


@pytest.mark.parametrize(
    ("name", "targets", "classes", "expected"),
    [
        ("top1", [0, 0], 3, {}),
        ("mean_per_class", [0, 0], 3, {}),
        ("auroc", [0, 2, 2], 4, {"positive": [1, 3]}),
        ("map", [0, 2, 2], 4, {"positive": [1, 3]}),
        ("auroc", [2, 2], 3, {"positive": [0, 1], "negative": [2]}),
        ("map", [2, 2], 3, {"positive": [0, 1]}),
        ("auroc", [0, 0], 2, {"positive": [1]}),
        ("auroc", [1, 1], 2, {"negative": [1]}),
        ("map", [1, 1], 2, {}),
        ("auroc", [[1, 0], [1, 1]], 2, {"negative": [0]}),
        ("auroc", [[1, 0], [0, -1]], 2, {"positive": [1]}),
        ("voc_map11", [[1, 0], [1, 0]], 2, {"positive": [1]}),
    ],
)
def test_where_a_metric_has_no_value(name, targets, classes, expected):
    targets = np.array(targets)
    assert METRICS[name].undefined(targets, classes) == expected
    decision = np.zeros((len(targets), classes))
    if expected:
        with pytest.raises(ValueError, match="none in classes"):
            METRICS[name](decision, targets)
    else:
        METRICS[name](decision, targets)
