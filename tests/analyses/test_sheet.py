from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.analyses import sheet_of_records, sheet_of_study
from sslbench.analyses.sheet import is_control
from sslbench.errors import RecordError
from sslbench.results.references import read_records
from sslbench.studies import STUDIES

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"


def test_records_give_every_score_and_the_zoo_its_own_upstream_score() -> None:
    records = read_records(BASELINE)
    sheet = sheet_of_records(records)
    item = sheet.item("linear/digits")
    assert item is not None and (item.score, item.setting, item.dataset) == ("top1", "linear", "digits")
    record = next(record for record in records if record.case == "zoo:simclr|linear/digits")
    assert sheet.cells["zoo:simclr", item].value == record.main.value
    assert sheet.upstream_name == "in-domain linear top-1" and sheet.upstream["zoo:simclr"] == 16.1
    assert set(sheet.upstream) == {name for name in sheet.backbones if name.startswith("zoo:")}
    assert set(sheet.trained) == {*sheet.upstream, "wheel:efficientnet-lite0?size=64"}
    assert all(is_control(name) for name in sheet.backbones[len(sheet.trained) :])


def test_a_case_that_stands_twice_is_an_error() -> None:
    record = read_records(BASELINE)[0]
    with pytest.raises(RecordError, match="one record a case"):
        sheet_of_records([record, replace(record)])


def test_published_tables_have_40_main_scores_and_an_upstream_score_each() -> None:
    study = STUDIES["ericsson2021"]
    sheet = sheet_of_study(study)
    assert sheet.backbones == tuple(study.networks)
    tasks = {item.task for item in sheet.main_items}
    # What networks are looked into with is no score of a task, but a mean over data sets.
    suites = [suite for suite in study.suites if suite.name != "paper-analyses"]
    assert {task for suite in suites for task in suite.tasks} == tasks
    assert sheet.item("occlusion/*", "attentive_diffusion") in sheet.items
    frozen = sheet.item("detection/voc/frozen")
    assert frozen is not None and frozen.score == "AP" and sheet.cells["supervised", frozen].value == 51.99
    overlap = sheet.item("segmentation/ade20k")
    assert overlap is not None and sheet.cells["insdis", overlap].value == pytest.approx(27.42)
    assert sheet.item("linear/*", "ece") in sheet.items
    assert sheet.upstream["insdis"] == 59.5 and len(sheet.upstream) == 14


def test_analyses_do_not_rank() -> None:
    record = read_records(BASELINE)[0]
    looked = replace(record, case="zoo:swav|features/digits", task={**record.task, "id": "features/digits"})
    sheet = sheet_of_records([record, looked])
    assert [item.task for item in sheet.main_items] == [record.task["id"], "features/digits"]
    assert [item.task for item in sheet.transfer_items] == [record.task["id"]]
