"""`sslbench claims` on a run, a baseline and a study's tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.cli import main
from sslbench.results.references import read_records
from sslbench.results.runs import Run

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"


def test_a_studys_tables_and_a_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "ericsson2021"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "HOLDS  linear-correlates (abstract)" in lines and lines[-1].startswith(
        "35 claims: 25 holds, 1 does not hold"
    )
    assert main(["claims", str(BASELINE), "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| the study says | verdict |")


def test_a_run_by_its_name_and_what_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path / "mine")
    run.check_writable()
    for record in read_records(BASELINE):
        if record.task["id"].startswith("normals/"):
            run.write(record)
    assert main(["claims", "mine", "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "HOLDS  normals-beats-supervised (4.4)" in lines and "CANNOT BE TOLD  linear-correlates (abstract)" in lines
    assert main(["claims", "other", "--results", str(tmp_path)]) == 2
    assert "'other' is neither a record" in capsys.readouterr().err


def test_a_run_without_records_is_an_error_and_no_table_of_35_open_claims(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(tmp_path / "empty").check_writable()
    assert main(["claims", "empty", "--results", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "sslbench: empty holds no usable record; run its cases first\n")
