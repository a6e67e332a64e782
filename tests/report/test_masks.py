"""Masks in the report: the overlap of each class and what it is taken for."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, precision_score, recall_score

from sslbench.report.masks import class_rows, mask_part, mask_tables, to_csv
from sslbench.report.write import write_report
from sslbench.results.runs import Run
from tests.report.pages import Page
from tests.results.map_records import CLASSES, IGNORE, ROWS, made, write


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "mine")


@pytest.fixture
def record(run):
    return write(run, "data-1")


def test_the_report_of_a_run_with_masks(run, record, make_record):
    run.write(make_record("net", "knn/digits"))
    write(run, "data-1", "depth")
    paths = write_report(run.records(), run.directory)
    assert [path.name for path in paths] == ["summary.csv", "summary.md", "report.html", "masks.csv"]
    page = Page(paths[2].read_text())
    assert ("h3", "Each class") in page.text
    assert ("code", "sslbench show 'net|segmentation/rooms/frozen' --run mine") in page.text
    names = [text for tag, text in page.text if tag == "th"]
    assert [name for name in names if name in CLASSES] == ["lamp", "wall & <b>", "floor", "never"]


def test_the_csv_has_the_scores_of_scikit_learn(run, record):
    rows = list(csv.DictReader(io.StringIO(to_csv(mask_tables([record], run.directory / "records")))))
    pairs = [made("masks", row) for row in ROWS.tolist()]
    true = np.concatenate([truth[truth != IGNORE] for truth, _ in pairs])
    found = np.concatenate([predicted[truth != IGNORE] for truth, predicted in pairs])
    assert {row["case"] for row in rows} == {record.case}
    assert [row["class"] for row in rows] == ["lamp", "wall & <b>", "floor", "never"]
    for column, function in (("iou", jaccard_score), ("recall", recall_score), ("precision", precision_score)):
        expected = dict(zip(CLASSES, 100 * function(true, found, average=None, labels=[0, 1, 2]), strict=False))
        for row in rows[:3]:
            assert float(row[column]) == pytest.approx(expected[row["class"]])
        assert rows[3][column] == ""
    assert {row["class"]: int(row["pixels"]) for row in rows} == dict(
        zip(CLASSES, np.bincount(true, minlength=4).tolist(), strict=True)
    )


def test_what_a_class_is_taken_for():
    confusion = np.array([[6, 1, 3, 0, 0], [0, 0, 0, 0, 4], [0, 0, 9, 0, 1], [0, 0, 0, 0, 0], [1, 2, 3, 4, 90]])
    rows = class_rows(tuple("abcde"), confusion)
    assert [row.name for row in rows] == ["b", "d", "a", "c", "e"]
    by_name = {row.name: row for row in rows}
    assert by_name["a"].taken == (("c", 30.0), ("b", 10.0))
    assert by_name["b"].taken == (("e", 100.0),) and by_name["b"].iou == 0
    assert by_name["e"].taken == (("d", 4.0), ("c", 3.0), ("b", 2.0))
    # Predicted and never there.
    assert (by_name["d"].iou, by_name["d"].pixels, by_name["d"].precision) == (0, 0, 0)
    assert math.isnan(by_name["d"].recall) and by_name["d"].taken == ()


def test_runs_without_masks_open_no_samples(run, make_record, monkeypatch):
    record = replace(make_record("net", "knn/digits"), samples={"path": "../samples/x", "sha256": ""})
    monkeypatch.setattr("sslbench.report.masks.read_confusion", lambda *given: pytest.fail("opened"))
    assert mask_tables([record, write(run, "data-1", "depth")], run.directory) == []


def test_samples_that_are_gone_cost_their_section_alone(run, record):
    other = write(run, "data-1", backbone="other")
    (run.directory / "records" / record.samples["path"]).unlink()
    tables = mask_tables([record, other], run.directory / "records")
    gone, there = (Page(mask_part(table)) for table in tables)
    assert gone.text[-1][1].startswith("net|segmentation/rooms/frozen: its samples cannot be read")
    assert not gone.all("table") and len(there.all("table")) == 1
    assert to_csv(tables).count("\n") == 1 + len(CLASSES)


def test_names_are_text(run, record):
    (table,) = mask_tables([record], run.directory / "records")
    attack = '<script>alert(1)</script>"'
    case = replace(record, case=attack, backbone={**record.backbone, "name": attack})
    page = Page(mask_part(replace(table, record=case, classes=(attack, "$rows", "b", "c"))))
    assert not page.all("script")
    assert ("th", attack) in page.text
