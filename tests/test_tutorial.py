"""The tutorial is run from top to bottom as it stands, and prints what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
# Some test picture of the 36 may fall otherwise on another processor: two of them.
ROOM = 200 / 36


def run(line: str) -> None:
    first, *rest = shlex.split(line)
    if first == "sslbench":
        assert main(rest) == 0
    else:
        assert first == "python"
        done = subprocess.run([sys.executable, *rest], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stdout)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w-])\d+(?:\.\d+)?(?![\w-])", text)]


def test_the_tutorial_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SSLBENCH_RESULTS", raising=False)
    space: dict[str, object] = {}
    said = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block, space)
        elif language == "sh":
            for line in block.splitlines():
                run(line)
        else:
            said.append(block)
            printed = capsys.readouterr().out
            for shown in block.splitlines()[1:]:
                name = re.search(r"zoo:\w+|pixels|guessing", shown)
                if name is None:
                    continue
                ours = [line for line in printed.splitlines() if name[0] in line.split()]
                expected = pytest.approx(numbers(shown), abs=ROOM)
                assert any(numbers(line) == expected for line in ours), (shown, ours)
    assert len(said) == 2
    assert (tmp_path / "results/chosen/report.html").is_file()
