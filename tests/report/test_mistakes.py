from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference

from sslbench.report.classified import confusion_part
from sslbench.report.mistakes import confusion_matrix, decisions_of, most_confused, worst_mistakes
from tests.report.pages import Page

RNG = np.random.default_rng(3)
DECISION, TARGETS = RNG.normal(size=(300, 6)).astype(np.float32), RNG.integers(0, 5, 300)


def test_the_matrix_is_that_of_scikit_learn():
    np.testing.assert_array_equal(
        confusion_matrix(DECISION, TARGETS), reference(TARGETS, DECISION.argmax(axis=1), labels=range(6))
    )


def test_the_most_confused_pairs_are_those_of_plain_counting():
    counts = {
        (t, p): int(((t == TARGETS) & (DECISION.argmax(axis=1) == p)).sum())
        for t in range(6)
        for p in range(6)
        if t != p
    }
    pairs = most_confused(confusion_matrix(DECISION, TARGETS), 7)
    assert [pair.pictures for pair in pairs] == sorted(counts.values(), reverse=True)[:7]
    for pair in pairs:
        assert counts[pair.true, pair.taken] == pair.pictures
        assert pair.share == pytest.approx(pair.pictures / (pair.true == TARGETS).sum())
    assert most_confused(np.diag([3, 0, 2]), 5) == []


def test_the_worst_mistakes_lead_furthest():
    leads = [
        (float(row.max()) - float(row[target]), -place)
        for place, (row, target) in enumerate(zip(DECISION.astype(np.float64), TARGETS, strict=True))
        if row.argmax() != target
    ]
    expected = [-place for _, place in sorted(leads, reverse=True)[:9]]
    mistakes = worst_mistakes(DECISION, TARGETS, 9)
    assert [mistake.row for mistake in mistakes] == expected
    assert all(TARGETS[row] == true and DECISION[row].argmax() == taken for row, true, taken in mistakes)
    assert worst_mistakes(np.eye(3), np.arange(3), 4) == []


def test_decisions_of_samples():
    found = decisions_of({"decision_seed0": DECISION, "decision_seed1": -DECISION, "targets": TARGETS})
    assert found is not None and found[0] is DECISION
    assert decisions_of({"right": TARGETS}) is None
    assert decisions_of({"decision": DECISION, "targets": np.zeros((300, 6))}) is None
    with pytest.raises(ValueError, match=r"expected decisions \(N, K\) of 299 targets, got \(300, 6\)"):
        decisions_of({"decision": DECISION, "targets": TARGETS[1:]})
    with pytest.raises(ValueError, match="expected targets from 0 to 5, got 0 to 6"):
        decisions_of({"decision": DECISION, "targets": np.append(TARGETS[1:], 6)})


def test_up_to_30_classes_are_a_matrix_and_more_are_pairs():
    names = ["<b>", *"bcdef"]
    page = Page(confusion_part(DECISION, TARGETS, names))
    cells = [text for tag, text in page.text if tag == "td"]
    counts = confusion_matrix(DECISION, TARGETS)
    assert cells == [str(count) for count in counts.ravel().tolist() if count]
    assert not page.all("b")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    heats = [float(one["style"].removeprefix("--heat: ").rstrip("%")) for one in page.all("td") if "style" in one]
    assert max(heats) == 100 and heats == [round(v) for v in (100 * shares / shares.max()).ravel() if v]
    pairs = Page(confusion_part(DECISION, TARGETS, names, whole=False))
    assert ("h3", "Most confused classes") in pairs.text and len(pairs.all("tr")) == 11
    wide = np.eye(31)
    assert "What is taken for what" not in confusion_part(wide, np.arange(31), [str(k) for k in range(31)])
