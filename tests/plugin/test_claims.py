"""Claims as tests of a user's project: only where they are asked for, and after the cases."""

from __future__ import annotations

from pathlib import Path

import pytest

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"
CLAIMS = """
import pytest


def test_claims(sslbench_claim):
    if sslbench_claim.verdict != "holds":
        pytest.fail(sslbench_claim.told, pytrace=False)
"""


@pytest.fixture
def claims(project):
    project.path.joinpath("test_claims.py").write_text(CLAIMS)
    return project


def test_each_claim_passes_fails_or_skips_with_its_reason(claims):
    result = claims.run("-k", "claims", f"--sslbench-claims={BASELINE}", "-rs")
    counts = result.parseoutcomes()
    assert (counts["passed"], counts["failed"], counts["skipped"]) == (7, 1, 27)
    result.stdout.fnmatch_lines(
        [
            "*test_claims[[]ericsson2021-calibration-finetune[]]*",
            "calibration error is lower than that of zoo:supervised in *",
            "SKIPPED*cannot be told: no scores of LPIPS: run inversion tasks",
        ]
    )
    again = claims.run(
        "test_claims.py", "--sslbench-claims=ericsson2021", "-k", "linear-correlates and not calibration"
    )
    again.assert_outcomes(passed=1, deselected=34)


def test_a_session_that_does_not_ask_has_no_claims(claims):
    result = claims.run("--collect-only", "-q", "--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/digits")
    assert "test_claims" not in result.stdout.str() and "test_knn[tiny-digits]" in result.stdout.str()


def test_without_records_one_error_says_what_to_do(claims):
    result = claims.run("-k", "claims")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: claims are put to records, and *embedded holds none: run its cases first*"])
    result = claims.run("-k", "claims", "--sslbench-claims=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: 'nowhere' is neither a record*"])


def test_beside_cases_claims_come_last_and_see_their_records(claims):
    # Alphabetically and in this order the claims' file stands first.
    chosen = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/digits")
    claims.path.joinpath("test_claims.py").rename(claims.path / "test_a.py")
    result = claims.run("test_a.py", "test_bench.py", "-v", *chosen, "--sslbench-claims=run", "-k", "knn or no-method")
    lines = [line for line in result.outlines if "::test_" in line]
    assert ["test_knn" in line for line in lines[:2]] == [True, False]
    result.assert_outcomes(passed=1, skipped=1, deselected=35)
