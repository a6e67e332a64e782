"""Further scores of two records compared by what both hold of them, and what is told where one of them holds nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sslbench.errors import RecordError
from sslbench.metrics.calibration_scores import calibration_scores
from sslbench.results.compare import compare
from sslbench.results.pairing import compare_records
from sslbench.results.ranks import rank_ranges
from sslbench.results.record import Record, pack_paired
from sslbench.results.statistics import paired_resamples

RNG = np.random.default_rng(0)
TARGETS = RNG.integers(4, size=300)
SHARED = RNG.normal(size=(300, 4)) + 1.5 * np.eye(4)[TARGETS]


@pytest.fixture
def calibrated(make_record):
    """A record of decisions that are `gain` times too sharp."""

    def made(backbone, gain, **fields):
        found = calibration_scores(gain * SHARED, TARGETS)
        record = make_record(backbone, correct=list(SHARED.argmax(1) == TARGETS), **fields)
        others = {
            name: pack_paired("resamples", values, "test-items", images=found.scores[name].n)
            for name, values in found.resampled.items()
        }
        scores = {**record.scores, **{name: score.to_json() for name, score in found.scores.items()}}
        return replace(record, scores=scores, paired={**record.paired, "others": others}), found

    return made


def test_a_further_score_is_compared_on_its_resamples(calibrated):
    (new, ours), (base, theirs) = calibrated("new", 4.0), calibrated("base", 1.5)
    for name in ours.scores:
        difference = ours.scores[name].value - theirs.scores[name].value
        expected = paired_resamples(
            ours.resampled[name], theirs.resampled[name], difference, ours.scores[name].n, higher_is_better=False
        )
        got = compare_records(new, base, name)
        assert (got.difference, got.n, got.test) == (difference, ours.scores[name].n, "paired-resamples")
        # Values are stored in float32.
        assert got.ci95 == pytest.approx(expected.ci95, rel=1e-3)
    assert compare_records(new, base, "ece").p_worse < 0.02
    assert compare_records(base, new, "ece").p_worse > 0.98
    # The main score is as it was, by its name or by default.
    assert compare_records(new, base, "top1") == compare_records(new, base)
    assert compare_records(new, base).test == "mcnemar-exact"


def test_ranks_of_a_falling_score_put_the_lowest_first(calibrated):
    column = [calibrated("sharp", 6.0)[0], calibrated("good", 1.5)[0]]
    assert rank_ranges(column, score="ece") == {"sharp": (2, 2), "good": (1, 1)}
    assert rank_ranges(column) == {"sharp": (1, 2), "good": (1, 2)}


def test_a_record_with_further_scores_is_read_back(calibrated):
    record, _ = calibrated("new", 2.0)
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record
    assert compare_records(again, record, "nll").difference == 0
    for damaged in ([], {"ece": 3}):
        with pytest.raises(RecordError, match=r"paired.others must hold JSON objects by score"):
            Record.from_json({**record.to_json(), "paired": {**record.paired, "others": damaged}})


def test_what_cannot_be_compared_is_named(calibrated, make_record):
    record, _ = calibrated("new", 2.0)
    plain = make_record("base", correct=list(SHARED.argmax(1) == TARGETS))
    with pytest.raises(RecordError, match=r"'base\|linear/digits' has no score 'ece'; it has top1"):
        compare_records(record, plain, "ece")
    with pytest.raises(RecordError, match="has no score 'ecce'; it has top1, ece, ace"):
        compare_records(record, record, "ecce")
    bare = replace(record, paired={**record.paired, "others": {}})
    with pytest.raises(
        RecordError, match=r"nothing of single items for 'ece'; run the case again, or compare one of top1$"
    ):
        compare_records(record, bare, "ece")
    ece = record.scores["ece"]
    other_unit = replace(record, scores={**record.scores, "ece": {**ece, "unit": "nats"}})
    with pytest.raises(RecordError, match=r"score ece's unit differs \(new 'nats', base '%'\)"):
        compare_records(other_unit, record, "ece")
    packed = record.paired["others"]["ece"]
    for change, told in (
        ({"items": "x"}, "items of ece differs"),
        ({"n": 100}, "n of ece differs"),
        ({"data": "?"}, "cannot be paired"),
    ):
        others = {**record.paired["others"], "ece": {**packed, **change}}
        with pytest.raises(RecordError, match=told):
            compare_records(replace(record, paired={**record.paired, "others": others}), record, "ece")


def test_compare_shows_the_score_that_is_asked_for(calibrated, make_record):
    (new, ours), (base, theirs) = calibrated("new", 3.0), calibrated("base", 1.5)
    text = compare([new], [base], "nll")
    assert f"nll: new {ours.scores['nll'].value:.4f}±{ours.scores['nll'].stderr:.4f} nats, base " in text
    assert f"difference {ours.scores['nll'].value - theirs.scores['nll'].value:+.4f} nats, 95 % interval [" in text
    assert ", lower is better (p = " in text
    text = compare([new], [base], "brier")
    assert f"{ours.scores['brier'].value:.4f}±" in text and " , " not in text
    assert "top1: new" in compare([new], [base])
    # A case without the score is told and compared by nothing else.
    episodes = [make_record(name, "fewshot/digits/5shot", episodes=[5, 6, 7]) for name in ("new", "base")]
    text = compare([new, episodes[0]], [base, episodes[1]], "ece")
    assert "without ece on one side: new|fewshot/digits/5shot" in text
    assert text.count("difference") == 1 and "only in" not in text


def test_a_score_that_no_case_has_is_an_error(calibrated):
    new, _ = calibrated("new", 3.0)
    with pytest.raises(
        RecordError, match=r"no case has the score 'ECE' on both sides; they share ace, .*; did you mean 'ece'\?"
    ):
        compare([new], [new], "ECE")
