"""Maps and confusion matrices beside a record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sslbench.errors import RecordError
from sslbench.results.dense_maps import has_maps, has_masks, read_confusion, read_maps
from sslbench.results.runs import Run
from tests.results.map_records import CLASSES, IGNORE, ROWS, made, write


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


def test_what_was_written_is_read(run):
    record, folder = write(run, "data-1"), run.directory / "records"
    samples = read_maps(record, folder)
    assert (samples.kind, samples.classes, samples.rows.tolist()) == ("masks", CLASSES, ROWS.tolist())
    classes, confusion = read_confusion(record, folder)
    expected = np.zeros((4, 4), int)
    for row in ROWS.tolist():
        truth, predicted = made("masks", row)
        np.add.at(expected, (truth[truth != IGNORE].astype(int), predicted[truth != IGNORE]), 1)
    assert classes == CLASSES
    np.testing.assert_array_equal(confusion, expected)


def test_which_records_have_maps(run, make_record):
    records = [write(run, "data-1", kind) for kind in ("masks", "normals", "depth")]
    assert [(has_maps(record), has_masks(record)) for record in records] == [(True, True), (True, False), (True, False)]
    assert not has_maps(replace(records[0], samples=None)) and not has_masks(replace(records[0], samples=None))
    assert not has_maps(replace(make_record(), samples=records[0].samples))


def test_samples_of_another_kind(run):
    record, folder = write(run, "data-1"), run.directory / "records"
    other = replace(record, samples=run.write_samples("other", {"targets": np.zeros(2)}))
    with pytest.raises(RecordError, match=r"has no maps; its samples hold targets$"):
        read_maps(other, folder)
    arrays = read_maps(record, folder).to_arrays()
    odd = replace(record, samples=run.write_samples("odd", {**arrays, "figures": np.zeros(2, np.float32)}))
    with pytest.raises(RecordError, match=r"these are not the maps of a record: .*; run the case again"):
        read_maps(odd, folder)
    without = replace(record, samples=run.write_samples("without", arrays))
    with pytest.raises(RecordError, match=r"expected those of masks, .*; run the case again"):
        read_confusion(without, folder)
