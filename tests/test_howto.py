"""The code of the how-to page runs as it stands there, and gives the table that is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "howto-add-a-dataset-backbone-protocol.md"
TEST = """
import pytest


@pytest.mark.sslbench(protocol="*")
def test_transfer(sslbench_record):
    assert sslbench_record.verdict != "below"
"""


def files(text: str) -> dict[str, str]:
    """The block behind each heading that names a file."""
    found = re.findall(r"^## [^\n]*`(\w+\.py)`$.*?^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return dict(found)


def rows(text: str, first: str) -> dict[str, list[str]]:
    """The lines of the table whose head begins with `first`, by their first word."""
    lines = text[text.index(f"\n{first}") + 1 :].splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines[:4]}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("own")
    for name, code in {**files(PAGE.read_text(encoding="utf-8")), "test_transfer.py": TEST}.items():
        (folder / name).write_text(code, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "test_transfer.py", "--sslbench-suite=mine", "--sslbench-cache=cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_shows_three_files() -> None:
    assert list(files(PAGE.read_text(encoding="utf-8"))) == ["stripes.py", "centroid.py", "conftest.py"]


def test_the_table_is_the_printed_one(printed: str) -> None:
    shown, got = rows(PAGE.read_text(encoding="utf-8"), "backbone "), rows(printed, "backbone ")
    assert shown.keys() == got.keys() and shown["backbone"] == got["backbone"]
    for name in ("pixels", "random-init", "guessing"):
        values = [[float(cell.partition("±")[0]) for cell in side[name]] for side in (shown, got)]
        assert values[0] == pytest.approx(values[1], abs=1.0), name
