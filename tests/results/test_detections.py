from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from sslbench.errors import RecordError
from sslbench.results.detections import read_detections
from sslbench.results.runs import Run
from tests.results.detection_records import FOUND, ROWS, SAMPLES, write


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture
def record(run):
    return write(run, "data-1")


@pytest.fixture
def folder(run):
    return run.directory / "records"


def test_what_was_written_is_read(record, folder):
    got = read_detections(record, folder)
    np.testing.assert_array_equal(got.found.boxes, FOUND.boxes)
    assert got.rows.tolist() == ROWS.tolist()
    assert got.classes == SAMPLES.classes


def test_samples_that_are_gone_or_changed_or_of_another_kind(record, folder, run):
    path = folder / record.samples["path"]
    other = run.write_samples("other", {"decision": np.zeros((2, 3)), "targets": np.zeros(2)})
    with pytest.raises(RecordError, match=r"has no detections; its samples hold decision, targets$"):
        read_detections(replace(record, samples=other), folder)
    with pytest.raises(RecordError, match="its samples must be path and sha256"):
        read_detections(replace(record, samples={"path": "x"}), folder)
    with pytest.raises(RecordError, match="this record has no samples"):
        read_detections(replace(record, samples=None), folder)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"expected samples of sha256 .* was changed; run the case again"):
        read_detections(record, folder)
    path.unlink()
    with pytest.raises(RecordError, match=r"its samples cannot be read: .*No such file"):
        read_detections(record, folder)


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        (
            "found_labels",
            np.full(len(FOUND.labels), 3, np.uint16),
            r"found.labels: expected numbers of classes in 0\.\.2",
        ),
        ("sizes", np.zeros((2, 2), np.int32), r"expected sizes \(5, 2\), got \(2, 2\)"),
        ("classes", np.zeros(3, np.uint8), "these are not the detections of a record"),
    ],
)
def test_detections_that_cannot_be_such(record, folder, run, name, array, told):
    odd = run.write_samples("odd", {**SAMPLES.to_arrays(), name: array})
    with pytest.raises(RecordError, match=told):
        read_detections(replace(record, samples=odd), folder)


def test_a_file_that_is_no_samples(record, folder, run):
    odd = run.write_samples("odd", SAMPLES.to_arrays())
    path = folder / odd["path"]
    path.write_bytes(b"nothing")
    with pytest.raises(RecordError, match="expected a safetensors file"):
        read_detections(replace(record, samples={**odd, "sha256": hashlib.sha256(b"nothing").hexdigest()}), folder)
