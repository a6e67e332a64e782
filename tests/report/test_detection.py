from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from sslbench.report.detection import class_tables, detection_part, envelope, to_csv
from sslbench.report.write import write_report
from sslbench.results.runs import Run
from tests.metrics.detection_data import per_class
from tests.report.pages import Page
from tests.results.detection_records import CLASSES, FOUND, TRUTH, write


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "mine")


@pytest.fixture
def record(run):
    return write(run, "data-1")


def test_the_report_of_a_run_with_detections(run, record, make_record):
    run.write(make_record("net", "knn/digits"))
    paths = write_report(run.records(), run.directory)
    assert [path.name for path in paths] == ["summary.csv", "summary.md", "report.html", "detection.csv"]
    page = Page(paths[2].read_text())
    assert ("h3", "Each class") in page.text
    assert ("code", "sslbench show 'net|detection/five/frozen' --run mine") in page.text
    names = [text for tag, text in page.text if tag == "th"]
    assert [name for name in names if name in CLASSES] == list(CLASSES)
    labels = [attributes["aria-label"] for attributes in page.all("svg") if "recall" in attributes["aria-label"]]
    assert labels == ["cat: recall up to 1.00", "dog & <b>: recall up to 0.00"]
    assert ("td", "no object that counts") in page.text


def test_the_csv_has_the_scores_of_both_rules_written_out(run, record):
    rows = list(csv.DictReader(io.StringIO(to_csv(class_tables([record], run.directory / "records")))))
    voc, coco = per_class(FOUND, TRUTH, 3)
    assert [row["class"] for row in rows] == list(CLASSES)
    assert {row["case"] for row in rows} == {record.case}
    expected = {"ap": voc.mean(axis=0), "ap50": voc[0], "ap75": voc[5], "ap_coco": coco.mean(axis=0)}
    for column, values in expected.items():
        assert [float(row[column] or "nan") for row in rows] == pytest.approx(values.tolist(), nan_ok=True)
    assert [row["objects"] for row in rows] == ["4", "1", "0"]
    assert rows[2]["ap"] == ""


def test_runs_without_detections_open_no_samples(run, make_record, monkeypatch):
    record = replace(make_record("net", "knn/digits"), samples={"path": "../samples/x", "sha256": ""})
    monkeypatch.setattr("sslbench.report.detection.read_detections", lambda *given: pytest.fail("opened"))
    assert class_tables([record], run.directory) == []
    assert [path.name for path in write_report([record], run.directory)][-1] == "report.html"


def test_records_of_a_baseline_are_left_out(run, record):
    assert class_tables([replace(record, samples=None)], run.directory / "records") == []


def test_samples_that_are_gone_cost_their_section_alone(run, record):
    other = write(run, "data-1", "other")
    (run.directory / "records" / record.samples["path"]).unlink()
    tables = class_tables([record, other], run.directory / "records")
    gone, there = (Page(detection_part(table)) for table in tables)
    assert gone.text[-1][1].startswith("net|detection/five/frozen: its samples cannot be read")
    assert not gone.all("table") and len(there.all("table")) == 1
    assert to_csv(tables).count("\n") == 1 + len(CLASSES)


def test_names_are_text(run, record):
    (table,) = class_tables([record], run.directory / "records")
    attack = '<script>alert(1)</script>"'
    case = replace(record, case=attack, backbone={**record.backbone, "name": attack})
    page = Page(detection_part(replace(table, record=case, classes=(attack, "$rows", "b"))))
    assert not page.all("script")
    assert ("th", attack) in page.text


def test_a_plot_has_the_largest_precision_to_the_right_of_each_column():
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.4
    recall, precision = np.cumsum(right) / 230, np.cumsum(right) / np.arange(1, 401)
    expected = [
        max((p for r, p in zip(recall, precision, strict=True) if r > x / 120), default=0.0) for x in range(120)
    ]
    np.testing.assert_allclose(envelope(recall, precision), expected)
    assert expected[-1] == 0 < expected[0]
    assert not envelope(np.zeros(0), np.zeros(0)).any()


def test_the_size_of_a_plot_does_not_depend_on_the_number_of_detections(run, record):
    (table,) = class_tables([record], run.directory / "records")
    many = np.linspace(0, 1, 100_000)
    long = replace(table, scores=replace(table.scores, curves=((many, 1 - many / 2),) * 3))
    assert len(detection_part(long)) < 9_000
