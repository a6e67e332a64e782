"""Scores of features by themselves: one case for each backbone and dataset."""

import pytest

from sslbench.results.record import Record
from sslbench.results.references import explain


@pytest.mark.sslbench(protocol="features")
def test_features(sslbench_record: Record) -> None:
    assert sslbench_record.verdict != "below", explain(sslbench_record)
