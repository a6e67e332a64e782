"""Object detection: one case for each backbone, dataset and setting."""

import pytest

from sslbench.results.record import Record
from sslbench.results.references import explain


@pytest.mark.sslbench(protocol="detection")
def test_detection(sslbench_record: Record) -> None:
    assert sslbench_record.verdict != "below", explain(sslbench_record)
