"""Feature inversion: one case for each backbone, dataset and variant."""

import pytest

from sslbench.results.record import Record
from sslbench.results.references import explain


@pytest.mark.sslbench(protocol="inversion")
def test_inversion(sslbench_record: Record) -> None:
    assert sslbench_record.verdict != "below", explain(sslbench_record)
