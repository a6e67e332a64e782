"""The checks of several processes on one device, where there is no GPU: they run, and find equal scores."""

import json
from pathlib import Path

import gpu_check
import pytest


@pytest.mark.parametrize("name", ["trials", "sharing"])
def test_several_processes_on_one_device(tmp_path: Path, name: str) -> None:
    out = tmp_path / "report.json"
    assert gpu_check.main(["--device", "cpu", "--small", "--out", str(out), "--only", name]) == 0
    (check,) = json.loads(out.read_text())["checks"]
    assert check["status"] == "ok" and check["rows"]
