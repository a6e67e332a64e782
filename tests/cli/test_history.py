"""`sslbench history`: its output, its file and its status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.cli import main
from sslbench.results.runs import Run, write_baseline
from tests.results.conftest import build


@pytest.fixture
def nights(tmp_path: Path) -> list[str]:
    """Two runs and a baseline, the last of which lost a fifth of its pictures."""
    names = []
    for day, right in ((1, 90), (2, 90), (3, 60)):
        record = build("a", correct=[position < right for position in range(100)])
        record = replace(record, created=f"2026-11-{day:02}T01:00:00+00:00")
        path = tmp_path / f"night{day}"
        if day == 2:
            path = path.with_suffix(".json")
            write_baseline([record], path)
        else:
            Run(path).write(record)
        names.append(str(path))
    return names


def test_table_file_and_status(nights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.csv"
    assert main(["history", *nights[::-1], "--csv", str(file)]) == 0
    out = capsys.readouterr().out
    assert "  1  2026-11-01T01:00:00+00:00  " in out and "60.00 ▼" in out and out.endswith(f"{file}\n")
    assert "a|linear/digits: top1 60.00 % against 90.00 % (worse; Holm p = " in out
    assert file.read_text().startswith("case,measure,night,")
    for kind, status in (("score", 1), ("any", 1), ("speed", 0)):
        assert main(["history", *nights, "--fail-on", kind]) == status
    assert main(["history", *nights[:2], "--fail-on", "any"]) == 0


def test_the_latest_nights_alone(nights: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", nights[2], nights[0], nights[1], "--last", "2"]) == 0
    out = capsys.readouterr().out
    assert "2026-11-01" not in out and "2026-11-02" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--last", "1"], "--last takes a number of nights, 2 or more, got 1"),
        (["--level", "2"], "the level of a history is a number between 0 and 1"),
        (["--csv", "."], "expected a file to write, got the directory"),
        (["nowhere"], "'nowhere' is neither a record"),
    ],
)
def test_bad_input(nights: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert main(["history", *nights, *arguments]) == 2
    assert told in capsys.readouterr().err


def test_one_run_twice(nights: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", nights[0], nights[0]]) == 2
    assert "is named twice" in capsys.readouterr().err
    # The first of many nights fails no job.
    assert main(["history", nights[0], "--fail-on", "any"]) == 0
