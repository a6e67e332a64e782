"""What studies found, put to the records of this run: `pytest benchmarks -k claims`."""

import pytest

from sslbench.studies import Finding


def test_claims(sslbench_claim: Finding) -> None:
    if sslbench_claim.verdict != "holds":
        pytest.fail(f"{sslbench_claim.verdict}: {sslbench_claim.told}", pytrace=False)
