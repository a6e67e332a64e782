"""`sslbench merge`, and the gate on what was merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.cli import main
from sslbench.results.references import read_records
from sslbench.results.runs import Run
from tests.results.conftest import build

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"
SMALL = ("--suite", "embedded", "--backbones", "pixels", "--tasks", "knn/*")


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """Two results directories with the records of one backbone's neighbours, of which one case is missing."""
    records = [record for record in read_records(BASELINE) if record.case.startswith("pixels|knn/")]
    for index, record in enumerate(records[1:]):
        Run(tmp_path / f"part{index % 2}" / "embedded").write(record)
    return [str(tmp_path / "part0"), str(tmp_path / "part1")]


def test_the_merged_run_its_tables_and_what_is_missing(
    parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "merged"
    assert main(["merge", *parts, "--into", str(into), *SMALL]) == 1
    out = capsys.readouterr().out
    assert out.endswith(
        f"{into}: 4 case(s) from 2 run(s), 4 of them new\n4 of 5 cases of embedded; missing: pixels|knn/digits\n"
    )
    for name in ("summary.csv", "summary.md", "report.html"):
        assert (into / name).is_file() and str(into / name) in out
    assert main(["merge", *parts, "--into", str(into)]) == 0
    Run(into).write(next(record for record in read_records(BASELINE) if record.case == "pixels|knn/digits"))
    capsys.readouterr()
    assert main(["merge", *parts, "--into", str(into), *SMALL]) == 0
    assert capsys.readouterr().out.endswith("5 of 5 cases of embedded; none is missing\n")


def test_a_baseline_of_what_was_merged(parts: list[str], tmp_path: Path) -> None:
    saved = tmp_path / "base.json"
    assert main(["merge", *parts, "--into", str(tmp_path / "merged"), "--save-baseline", str(saved)]) == 0
    assert read_records(saved) == Run(tmp_path / "merged").records()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--into", "x", "--tasks", "knn/*"], "name it with --suite NAME"),
        (["--into", "x", "--suite", "embeded"], "unknown suite 'embeded'"),
        (["nowhere", "--into", "x"], "no run at nowhere"),
    ],
)
def test_bad_input_writes_nothing(
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["merge", *parts, *arguments]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_runs_without_a_usable_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(tmp_path / "empty").check_writable()
    (tmp_path / "empty" / "records" / "a.json").write_text("{")
    assert main(["merge", str(tmp_path / "empty"), "--into", str(tmp_path / "into")]) == 2
    out, err = capsys.readouterr()
    assert "damaged record" in out and "none of the 1 run(s) holds a usable record" in err


def answers(right: int) -> list[bool]:
    return [position < right for position in range(100)]


@pytest.fixture
def gated(tmp_path: Path) -> tuple[str, str]:
    """A run in which one of two backbones lost ten pictures, and the run before."""
    for name, right in (("now", 80), ("before", 90)):
        run = Run(tmp_path / name)
        run.write(build("a", correct=answers(right)))
        run.write(build("b", correct=answers(90)))
    return str(tmp_path / "now"), str(tmp_path / "before")


def test_the_gate_on_records(gated: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *gated, "--gate"]) == 1
    lines = capsys.readouterr().out.splitlines()
    # Ten discordant pictures, all against new: p = 2^-10, doubled by Holm.
    assert len(lines) == 2 and "a|linear/digits" in lines[0] and "one-sided Holm p = 0.00195 (level 0.05" in lines[0]
    assert lines[1] == (
        f"regression gate: 2 of 2 cases compared with {gated[1]}, 1 significantly worse (Holm, level 0.05)"
    )
    assert main(["compare", *gated, "--gate", "--gate-level", "0.001"]) == 0
    assert main(["compare", *gated, "--gate", "--gate-min-drop", "11"]) == 0
    assert main(["compare", *gated[::-1], "--gate"]) == 0
    capsys.readouterr()
    assert main(["compare", gated[0], f"{gated[1]}#b", "--gate"]) == 1
    assert f"compared with {gated[1]}#b" in capsys.readouterr().out


def test_a_gate_that_could_not_compare_does_not_pass(
    gated: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "before")
    run.write(replace(build("a", correct=answers(80), fingerprint="other"), created="2026-01-01T00:00:00+00:00"))
    assert main(["compare", *gated, "--gate"]) == 1
    assert "1 could not be compared, which fails them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gate", "--score", "ece"], "--gate is of main scores"),
        (["--gate", "--gate-level", "1"], "gate level: expected a number between 0 and 1"),
        (["--gate", "--gate-min-drop", "-1"], "gate minimum drop: expected 0 or more"),
    ],
)
def test_what_the_gate_cannot_take(
    gated: tuple[str, str], capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["compare", *gated, *arguments]) == 2
    assert told in capsys.readouterr().err
