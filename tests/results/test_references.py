"""References: which one counts, and the verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sslbench.backbones import expand_backbones
from sslbench.errors import RecordError
from sslbench.metrics import Score
from sslbench.results import references
from sslbench.results.references import explain, find_references, read_records, verdict
from sslbench.tasks import list_tasks, parse_task, suite


def find_reference(backbone, task, score, hyperparameters):
    """The reference of the main score."""
    return find_references(backbone, task, {"top1": score}, "top1", hyperparameters).get("top1")


def score(value: float, stderr: float = 0.1, higher: bool = True) -> Score:
    return Score(value, stderr, (value - 2 * stderr, value + 2 * stderr), 100, "%", higher)


@pytest.mark.parametrize(
    ("value", "higher", "expected"),
    [
        (90.0, True, "within"), (91.0, True, "within"), (89.0, True, "within"),
        (91.1, True, "above"), (88.9, True, "below"),
        # Lower is better: a smaller value is the better one, and "below" is worse all the same.
        (91.0, False, "within"), (91.1, False, "below"), (88.9, False, "above"),
    ],
)  # fmt: skip
def test_verdict(value, higher, expected):
    assert verdict(score(value, higher=higher), {"value": 90.0, "tolerance": 1.0}) == expected


def test_no_reference_is_a_verdict_of_its_own():
    assert verdict(score(1.0), None) == "no-reference"


@pytest.fixture
def known(monkeypatch, make_record):
    """A reference of 90 for swav|linear/digits."""
    saved = replace(make_record(value=90.0, stderr=3.0), environment={"cpu": "abacus"})
    monkeypatch.setattr(references, "embedded_references", lambda: {saved.case: saved})
    return saved


def test_a_reference_states_value_source_and_tolerance(known):
    found = find_reference("swav", known.task, score(91.0, stderr=1.5), {})
    assert found["value"] == 90.0
    # Two standard errors of the score at hand, not of the saved one.
    assert found["tolerance"] == 3.0
    assert found["how"] == "max(0.5 points, 2 x standard error 1.50)"
    assert found["source"].startswith("own run of 2025-01-01 on abacus, ")


def test_the_tolerance_has_a_floor(known):
    assert find_reference("swav", known.task, score(91.0, stderr=0.0), {})["tolerance"] == 0.5
    assert find_reference("swav", known.task, score(91.0, stderr=0.25), {})["tolerance"] == 0.5
    assert find_reference("swav", known.task, score(91.0, stderr=0.26), {})["tolerance"] == 0.52


@pytest.mark.parametrize(
    ("field", "other"), [("version", "other"), ("fingerprint", "other"), ("compat", {"linear-solver": "sklearn"})]
)
def test_a_reference_of_another_task_version_or_of_other_data_does_not_count(known, field, other):
    assert find_reference("swav", {**known.task, field: other}, score(91.0), {}) is None


def test_a_case_without_a_reference(known):
    assert find_reference("moco", known.task, score(91.0), {}) is None


def test_the_committed_references_can_be_read_and_count_for_themselves():
    known = references.embedded_references()
    for case, record in known.items():
        assert record.case == case
        assert record.samples is None
        reference = find_reference(record.backbone["name"], record.task, record.main, record.hyperparameters)
        assert reference["value"] == record.main.value
        assert verdict(record.main, reference) == "within"
    names = expand_backbones(suite("embedded").backbones)
    tasks = [parse_task(task) for task in list_tasks(suite_name="embedded")]
    assert {(r.backbone["name"], r.task["id"]) for r in known.values()} == {
        (name, task.id) for name in names for task in tasks if suite("embedded").has(name, task)
    }


def test_explain(make_record):
    reference = {"value": 90.0, "tolerance": 2.0, "how": "max(...)", "source": "own run"}
    text = explain(make_record(value=85.0, stderr=1.0, reference=reference, verdict="below"))
    assert text == (
        "swav|linear/digits: top1 85.00 ± 1.00 % is below the reference 90.00 by more than the tolerance 2.00 = "
        "max(...); reference: own run"
    )
    inside = explain(make_record(value=89.0, stderr=1.0, reference=reference, verdict="within"))
    assert inside == "swav|linear/digits: top1 89.00 ± 1.00 % is within 2.00 of the reference 90.00"
    assert explain(make_record(value=89.0, stderr=1.0)).endswith("89.00 ± 1.00 %, no reference")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[{", "is not valid JSON"),
        ("{}", "expected a JSON list of records, got dict"),
        ("[[]]", "record 0: expected a JSON object, got list"),
        ('[{"schema_version": 0}]', "expected schema_version 2, got 0"),
    ],
)
def test_a_baseline_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "base.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=r"base\.json") as info:
        read_records(path)
    assert said in str(info.value)
    with pytest.raises(RecordError, match="cannot read the baseline"):
        read_records(tmp_path / "none.json")


def test_the_record_in_error_is_numbered(tmp_path, make_record):
    path = tmp_path / "base.json"
    good, bad = make_record().to_json(), make_record().to_json()
    del bad["paired"]
    path.write_text(json.dumps([good, bad]))
    with pytest.raises(RecordError, match=r"record 1: missing fields \['paired'\]"):
        read_records(path)


def study_task(**change):
    task = {
        "id": "linear/pets", "version": "2", "protocol": "linear", "dataset": "pets", "variant": "", "fingerprint": "f",
        "compat": {"linear-solver": "path"}, "details": {"complete": True},
    }  # fmt: skip
    return {**task, **change}


def test_a_published_figure_with_its_tolerance_and_the_published_c():
    found = find_reference("swav", study_task(), score(88.0, stderr=0.5), {"C": 10.0})
    assert found["value"] == 87.60
    assert found["source"].startswith("Ericsson, Gouk and Hospedales, CVPR 2021")
    assert found["tolerance"] == pytest.approx(2 * 0.5 + 1.0)
    assert found["how"].startswith("2 x standard error 0.50 + 1 points (the study's solver")
    assert found["hyperparameters"]["C"] == {"published": 17.7828, "chosen": 10.0}


def test_the_published_interval_of_episodes_enters_the_tolerance():
    task = study_task(id="fewshot/eurosat/20shot", protocol="fewshot", dataset="eurosat", variant="20shot", compat={})
    found = find_reference("swav", task, score(92.5, stderr=0.2), {})
    assert found["value"] == 91.99
    assert found["tolerance"] == pytest.approx(2 * (0.2**2 + (0.36 / 1.959964) ** 2) ** 0.5 + 0.5)
    assert "hyperparameters" not in found


@pytest.mark.parametrize(
    ("backbone", "change"),
    [
        ("swav?padding=same", {}),
        ("resnet50.tv_in1k", {}),
        ("swav", {"details": {"complete": False}}),
        ("swav", {"compat": {"linear-solver": "path", "caltech101-list": "unique"}}),
        ("swav", {"id": "knn/pets", "protocol": "knn"}),
    ],
)
def test_a_published_figure_counts_for_the_studys_own_recipe_only(backbone, change):
    assert find_reference(backbone, study_task(**change), score(88.0), {"C": 10.0}) is None


def test_the_explanation_names_both_values_of_c(make_record):
    reference = find_reference("swav", study_task(), score(70.0), {"C": 10.0})
    record = make_record("swav", "linear/pets", value=70.0, reference=reference, verdict="below")
    assert "at C = 10 (published: 17.7828) is below the reference 87.60" in explain(record)
