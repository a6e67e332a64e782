"""The first command that a newcomer calls."""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path

import pytest

from sslbench.cli import demo, main
from sslbench.errors import NotInstalledError
from sslbench.results.runs import Run
from sslbench.runner import PreparedCase, Runner

CHOICE = "--backbones=pixels,colour-histogram"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def call(capsys: pytest.CaptureFixture[str], place: Path, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["demo", "--results", str(place / "results"), "--cache", str(place / "cache"), *arguments])
    return status, *capsys.readouterr()


@pytest.mark.usefixtures("no_sockets")
def test_it_asks_answers_and_says_where_to_go_next(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, place, CHOICE)
    assert status == 0
    records = {record.backbone["name"]: record for record in Run(place / "results/demo").records()}
    assert records.keys() == {"pixels", "colour-histogram"}
    assert "1,600 rendered pictures" in out and "1,000 test pictures" in out
    for name, record in records.items():
        low, high = record.main.ci95
        # The data do not separate these two, which know nothing of textures.
        row = rf"^ +1-2 +{record.main.value:.1f} +{low:.1f} to {high:.1f}  {name} +control: "
        assert re.search(row, out, flags=re.MULTILINE)
        assert re.search(rf"^\d/2 {name} \.\.\. {record.main.value:.1f} %, ", err, flags=re.MULTILINE)
    assert re.search(r"^ +12\.5 +guessing$", out, flags=re.MULTILINE)
    page = place / "results/demo/report.html"
    assert page.is_file() and str(page) in out
    assert out.count("sslbench list backbones") == out.count("sslbench report demo --results ") == 1
    best = max(records.values(), key=lambda record: record.main.value).main
    dial = re.findall(r"^ +([\d.]+) +([\d.]+) +[\d.]+ to [\d.]+  #*\|#*$", out, flags=re.MULTILINE)
    assert dial[0] == ("0", f"{best.value:.1f}") and len(dial) == 7


def test_again_it_runs_nothing_and_opens_the_report(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = call(capsys, place, CHOICE)[1]
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    monkeypatch.setattr(PreparedCase, "execute", lambda self: pytest.fail("a finished case was run again"))
    status, out, err = call(capsys, place, CHOICE, "--open")
    assert (status, out) == (0, first) and err.count("kept from an earlier run") == 2
    assert opened == [(place / "results/demo/report.html").as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert "no browser could be opened" in call(capsys, place, CHOICE, "--open")[2]


def test_an_interrupt_says_that_finished_cases_are_kept(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: PreparedCase) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PreparedCase, "resume", interrupted)
    status, _, err = call(capsys, place, CHOICE)
    assert status == 130
    assert f"Finished cases are kept in {place / 'results/demo'}.\nsslbench: interrupted; the same command" in err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("zoo:simcrl", "nearest: zoo:simclr"),
        ("", "expected names or globs, got none"),
    ],
)
def test_a_wrong_name_is_one_error_before_anything_runs(
    given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = call(capsys, tmp_path, f"--backbones={given}")
    assert (status, out) == (2, "") and err.startswith("sslbench: ") and told in err and err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_what_is_not_installed_is_left_out_unless_it_was_named(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Runner.backbone

    def lacking(self: Runner, name: str) -> object:
        if name.startswith("wheel:"):
            raise NotInstalledError(f"{name}: install it")
        return load(self, name)

    monkeypatch.setattr(Runner, "backbone", lacking)
    status, _, err = call(capsys, place, "--backbones=wheel:efficientnet-lite0?size=64,pixels")
    assert status == 2 and err.endswith("sslbench: wheel:efficientnet-lite0?size=64: install it\n")
    monkeypatch.setattr(demo, "BACKBONES", {"wheel:efficientnet-lite0?size=64": "", "pixels": ""})
    status, out, err = call(capsys, place)
    assert status == 0 and "left out. wheel:efficientnet-lite0?size=64: install it" in err
    assert re.search(r"^ +1 .*pixels$", out, flags=re.MULTILINE) and "\n\nWhat the score of pixels rests on" in out


def test_results_that_cannot_be_written_are_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file")
    status, out, err = call(capsys, tmp_path, CHOICE)
    assert (status, out) == (2, "") and "cannot be written" in err and "choose another with --results DIR" in err


def test_a_cache_that_cannot_be_written_is_told_on_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file")
    status, _, err = call(capsys, tmp_path, "--backbones=colour-histogram")
    progress, told, *rest = err.splitlines()
    assert (status, progress, rest) == (2, "1/1 colour-histogram ...", [])
    assert told.startswith("sslbench: the cache directory ") and "--cache DIR" in told
