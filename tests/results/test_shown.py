"""Which record of a run is shown."""

from __future__ import annotations

import pytest

from sslbench.errors import RecordError
from sslbench.results.runs import Run
from sslbench.results.shown import find_shown
from tests.results.detection_records import write


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture
def record(run):
    return write(run, "data-1")


def test_a_case_is_found_by_its_name_or_a_part_that_no_other_that_can_be_shown_has(record, run, make_record):
    run.write(make_record("net", "knn/digits"))
    write(run, "data-1", "net2")
    write(run, "data-1", "other", "detection/five/full")
    assert find_shown(run, "net|detection/five/frozen").case == record.case
    assert find_shown(run, "net2").case == "net2|detection/five/frozen"
    assert find_shown(run, "full").case == "other|detection/five/full"
    with pytest.raises(
        RecordError, match=r"'net' is part of several cases .*: net2?\|.*, net2?\|.*; give more of the name"
    ):
        find_shown(run, "net")
    with pytest.raises(
        RecordError, match=r"^net\|knn/digits has neither detections nor maps; what can be shown there: net2?\|det"
    ):
        find_shown(run, "knn")
    with pytest.raises(RecordError, match=r"'lost' is no record file and no case of .*; what can be shown there: "):
        find_shown(run, "lost")


def test_a_run_with_nothing_to_show(run, make_record):
    run.write(make_record("net", "knn/digits"))
    with pytest.raises(
        RecordError, match="no record there has detections or maps; those of detection and of dense prediction do"
    ):
        find_shown(run, "net")
