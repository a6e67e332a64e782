"""What commands say of a place that they cannot write to, and of records that are left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslbench.cli import main
from sslbench.cli.command import check_writable
from sslbench.errors import SettingsError
from sslbench.results.runs import Run
from tests.results.conftest import build


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "mine")
    made.check_writable()
    for name in ("swav", "moco"):
        made.write(build(name))
    return made


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(SettingsError, match=r"cannot be written: Permission denied\. Make it writable"):
            check_writable(tmp_path / "not" / "yet", "Make it writable")
    finally:
        tmp_path.chmod(0o755)


def test_a_place_is_looked_at_and_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "not" / "yet", "")
    assert not list(tmp_path.iterdir())


def test_places_that_are_none(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    status, out, err = call(capsys, "figures", run.directory, "--out", tmp_path / "file" / "figures")
    assert (status, out) == (2, "") and re.fullmatch(
        r"sslbench: the directory .*figures cannot be written: .*--out DIR\n", err
    )
    compare = ("compare", run.directory, run.directory, "--html")
    status, out, err = call(capsys, *compare, tmp_path / "file" / "page.html")
    assert (status, out) == (2, "") and re.fullmatch(r"sslbench: .* cannot be written: .*--html another place\n", err)
    status, out, err = call(capsys, *compare, tmp_path)
    assert (status, out) == (2, "") and re.fullmatch(
        r"sslbench: --html: expected a file to write, got the directory .*\n", err
    )


@pytest.fixture
def printed_warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Warnings go to the terminal, as they do outside of pytest."""
    import sys
    import warnings

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))

    monkeypatch.setattr(warnings, "showwarning", show)
    yield


@pytest.mark.usefixtures("printed_warnings")
def test_a_record_that_is_left_out_is_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.directory / "records" / "notes.json").write_text("no record")
    status, _, err = call(capsys, "claims", run.directory)
    assert status == 0 and re.fullmatch(r"sslbench: warning: damaged record .*notes\.json: .*; left out\n", err)
