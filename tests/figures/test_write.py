"""Figures as files, from Python and from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from sslbench.cli import main
from sslbench.errors import RecordError, SettingsError, UnknownNameError
from sslbench.figures import FIGURES
from sslbench.figures import write as module
from sslbench.figures.style import WIDTH
from sslbench.figures.write import chosen_figures, write_figures
from sslbench.results.runs import Run
from tests.figures.conftest import BASELINE, made_up, source
from tests.results.conftest import build

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["figures", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_files_are_the_same_on_a_second_run_whatever_the_users_settings(tmp_path):
    first = write_figures(source("study"), tmp_path / "one", ["feature-*", "size"], ["svg", "png", "pdf"])
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": None, "savefig.dpi": 30}):
        second = write_figures(source("study"), tmp_path / "two", ["feature-*", "size"], ["svg", "png", "pdf"])
        assert matplotlib.rcParams["font.size"] == 20
    names = [path.name for path in first.paths]
    assert names == ["feature-analysis.svg", "feature-analysis.png", "feature-analysis.pdf", "figures.md"]
    for one, two in zip(first.paths, second.paths, strict=True):
        assert one.read_bytes() == two.read_bytes(), one
    assert Image.open(first.paths[1]).width == round(WIDTH * 200)
    index = first.paths[-1].read_text()
    assert (
        "## feature-analysis (figure 4 of the study)" in index and "![feature-analysis](feature-analysis.svg)" in index
    )
    assert "- size: published tables tell nothing of the number of parameters." in index
    assert first.left_out == {"size": "published tables tell nothing of the number of parameters"}
    # Drawn without pyplot, which would keep every figure open.
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_setting_becomes_a_safe_file_name(tmp_path):
    made = made_up(["net", "other"], ["linear/folder:..%2F$x/a b", "linear/y", "linear/z"])
    written = write_figures(made, tmp_path, ["intervals"], ["svg"])
    assert [path.name for path in written.paths] == ["intervals-linear.svg", "figures.md"]
    assert list(tmp_path.iterdir()) and not list(tmp_path.parent.glob("*.svg"))


@pytest.mark.parametrize(
    ("only", "formats", "error", "told"),
    [
        (["corelations"], ["svg"], UnknownNameError, "unknown figure 'corelations'; nearest: correlations"),
        (["x*"], ["svg"], UnknownNameError, r"the glob 'x\*' matches no figure; known: attention"),
        ([], ["svgz"], SettingsError, "expected some of png, svg, pdf, got 'svgz'; did you mean 'svg'"),
        ([], [], SettingsError, "expected some of png, svg, pdf, got none"),
        (["size", "speed"], ["svg"], RecordError, "no figure can be drawn. size: published tables tell nothing"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, only, formats, error, told):
    with pytest.raises(error, match=told):
        write_figures(source("study"), tmp_path / "out", only, formats)
    assert not (tmp_path / "out").exists()


def test_lost_samples_leave_out_the_figures_that_need_them_alone(pictures_run, tmp_path):
    run = pictures_run()
    assert run.folder is not None
    for path in (run.folder.parent / "samples").glob("*inversion*"):
        path.unlink()
    written = write_figures(run, tmp_path / "out", ["reconstructions", "attention"], ["svg"])
    assert (
        written.left_out.keys() == {"reconstructions"}
        and "samples cannot be read" in written.left_out["reconstructions"]
    )
    assert [path.name for path in written.paths] == ["attention.svg", "figures.md"]
    with pytest.raises(RecordError, match=r"no figure can be drawn\. reconstructions: .*samples cannot be read"):
        write_figures(run, tmp_path / "none", ["reconstructions"], ["svg"])


def test_without_matplotlib_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    status, out, err = call(capsys, "ericsson2021", "--out", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'sslbench[figures]'" in err


def test_the_command_draws_a_run_beside_its_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSLBENCH_RESULTS", raising=False)
    run = Run(Path("results/mine"))
    for name in ("net", "pixels"):
        run.write(build(name, "linear/digits"))
    status, out, err = call(capsys, "--only", "intervals,size", "--format", "png")
    folder = Path("results/mine/figures")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        str(folder / "intervals-linear.png"),
        str(folder / "figures.md"),
        "left out: size: it takes two backbones of different parameters",
    ]
    assert Image.open(folder / "intervals-linear.png").format == "PNG"


def test_the_command_draws_baselines_and_studies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.json").write_text(json.dumps([json.loads(BASELINE.read_bytes())[index] for index in (0, 1)]))
    status, out, _ = call(capsys, "some.json", "--only", "intervals", "--format", "svg", "--out", "there")
    assert (status, out.splitlines()) == (0, ["there/intervals-fewshot.svg", "there/figures.md"])
    status, out, _ = call(capsys, "ericsson2021", "--only", "calibration", "--format", "svg")
    assert (status, out.splitlines()) == (0, ["figures/calibration.svg", "figures/figures.md"])
    status, _, err = call(capsys, "ericson2021")
    assert status == 2 and "did you mean 'ericsson2021'?" in err


def test_the_page_lists_every_figure():
    page = PAGE.read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(listed) == chosen_figures() == sorted(FIGURES)
    for name in listed:
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` "))
        assert row.split("|")[-2].strip() == FIGURES[name].study


def test_a_run_that_is_called_after_a_suite_of_this_project(tmp_path, monkeypatch, capsys):
    run = Run(tmp_path / "results" / "embedded")
    run.check_writable()
    run.write(build("net", "linear/digits"))
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, "embedded", "--only", "intervals", "--format", "svg")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == str(Path("results", "embedded", "figures", "figures.md"))
