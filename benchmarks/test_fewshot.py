"""Few-shot recognition: one case for each backbone, dataset and number of shots."""

import pytest

from sslbench.results.record import Record
from sslbench.results.references import explain


@pytest.mark.sslbench(protocol="fewshot")
def test_fewshot(sslbench_record: Record) -> None:
    assert sslbench_record.verdict != "below", explain(sslbench_record)
