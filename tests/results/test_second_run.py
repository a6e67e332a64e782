"""How far two runs on two processors lie apart, and what of it the tolerance takes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from scipy import stats

from sslbench.errors import RecordError
from sslbench.metrics import Score
from sslbench.results import references, second_run
from sslbench.results.references import find_references, verdict
from sslbench.results.second_run import second_run_of, spread

NETWORKS = ("swav", "byol", "moco-v2", "simclr-v2")


def on(cpu, make_record, *gains):
    """Records of the networks, on a processor."""
    return [
        make_record(backbone=name, value=90.0 + gain, stderr=0.1, environment={"cpu": cpu})
        for name, gain in zip(NETWORKS, gains, strict=True)
    ]


@pytest.fixture
def first(make_record):
    return on("abacus", make_record, 0, 0, 0, 0)


@pytest.fixture
def again(make_record):
    return on("slide rule", make_record, 1.0, -2.0, 3.0, 0.0)


@pytest.fixture
def known(monkeypatch, first):
    monkeypatch.setattr(references, "embedded_references", lambda: {record.case: record for record in first})
    return {record.case: record for record in first}


def kept(monkeypatch, first, again):
    data = json.loads(json.dumps(second_run_of(again, {record.case: record for record in first})))
    monkeypatch.setattr(second_run, "_second_run", lambda: data)
    return data


def test_the_tolerance_is_what_one_more_training_falls_below_once_in_a_thousand_times(monkeypatch, first, again, known):
    kept(monkeypatch, first, again)
    task = first[0].task["id"]
    found = spread(task, known)
    assert found.differences == (-2.0, 3.0, 0.0, 1.0)
    assert found.rms == pytest.approx(3.5**0.5)
    # A new difference over the root mean square of earlier ones, of which the mean is known to be 0, is Student's.
    assert found.quantile == pytest.approx(stats.t.ppf(0.999, 4))
    score = Score(86.0, 0.1, (85.8, 86.2), 100, "%", True)
    reference = find_references("swav", first[0].task, {"top1": score}, "top1", {})["top1"]
    assert reference["tolerance"] == pytest.approx(3.5**0.5 * stats.t.ppf(0.999, 4))
    assert "7.17 x 1.87 by which 4 networks' scores differed on slide rule" in reference["how"]
    assert verdict(score, reference) == "within"
    assert verdict(replace(score, value=76.0), reference) == "below"


@pytest.mark.parametrize("field", ["version", "fingerprint"])
def test_runs_of_another_version_or_of_other_data_do_not_count(monkeypatch, first, again, known, field):
    other = [replace(record, task={**record.task, field: "other"}) for record in again[:2]]
    kept(monkeypatch, first, other + again[2:])
    # Two are left, of which nothing is said.
    assert spread(first[0].task["id"], known) is None


def test_other_tasks_are_not_concerned(monkeypatch, first, again, known):
    kept(monkeypatch, first, again)
    assert spread("linear/other", known) is None


def test_what_is_no_second_run_is_refused(first, again, make_record):
    known = {record.case: record for record in first}
    with pytest.raises(RecordError, match="not that of the references, got one on abacus"):
        second_run_of(first, known)
    with pytest.raises(RecordError, match="got one on abacus, slide rule"):
        second_run_of([*again[:2], *first[2:]], known)
    with pytest.raises(RecordError, match="found none of its cases"):
        second_run_of([make_record(backbone="other")], known)


def test_the_committed_second_run_is_of_todays_references():
    first = references.embedded_references()
    data = second_run._second_run()
    assert data["cases"].keys() <= first.keys()
    assert data["cpu"] not in {record.environment["cpu"] for record in first.values()}
    for case, again in data["cases"].items():
        assert {one: first[case].task[one] for one in ("version", "fingerprint")} == {
            one: again[one] for one in ("version", "fingerprint")
        }, f"{case} has another version or other data; run it again on another processor (tools/second_run.py)"
    tasks = {record.task["id"] for record in first.values()}
    assert {task for task in tasks if spread(task, first)} == tasks
    # What the second run itself found is no failure.
    for case, again in data["cases"].items():
        record = first[case]
        score = replace(record.main, value=again["value"])
        scores = {record.main_score: score}
        reference = find_references(
            record.backbone["name"], record.task, scores, record.main_score, record.hyperparameters
        )[record.main_score]
        assert verdict(score, reference) == "within", case
