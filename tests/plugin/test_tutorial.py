"""The tutorial is run from top to bottom as it stands, and prints what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sslbench.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
# Some test picture of the 36 may fall otherwise on another processor: two of them.
ROOM = 200 / 36


def run(line: str, pytester: pytest.Pytester) -> None:
    first, *rest = shlex.split(line)
    if first == "sslbench":
        assert main(rest) == 0
    else:
        assert [first, *rest[:2]] == ["python", "-m", "pytest"]
        # In this process, where the network libraries are loaded already; it prints what it captures.
        assert pytester.runpytest_inprocess("-pno:hydra_pytest", *rest[2:]).ret == 0


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w-])\d+(?:\.\d+)?(?![\w-])", text)]


def test_the_tutorial_does_what_it_says(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSLBENCH_CACHE", str(pytester.path / "cache"))
    monkeypatch.delenv("SSLBENCH_RESULTS", raising=False)
    space: dict[str, object] = {}
    said = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block, space)
        elif language == "sh":
            for line in block.splitlines():
                run(line, pytester)
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
    assert (pytester.path / "results/chosen/report.html").is_file()
