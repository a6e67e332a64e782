"""What studies found, put to the records of this run: `pytest benchmarks -k claims`."""

from sslbench.studies import Finding


def test_claims(sslbench_claim: Finding) -> None:
    assert sslbench_claim.verdict == "holds", sslbench_claim.told
