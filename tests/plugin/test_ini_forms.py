"""An option in an ini file: on a line, on several, as a TOML list, number or switch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugin.test_matrix import collected, refused

NATIVE = pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="native TOML came with pytest 9")

SHOW = """
import json
import pathlib

from sslbench.plugin.state import STATE


def test_it(request):
    options = request.config.stash[STATE].options
    s = options.settings
    seen = [list(options.tasks or []), s.decoded_gib, s.batch_size, s.offline, options.gate_level, dict(s.compat)]
    pathlib.Path("options.json").write_text(json.dumps(seen))
"""

FORMS = {
    "line": ("pytest.ini", "[pytest]\nsslbench_backbones = tiny, pixels\n"),
    "lines": ("pytest.ini", "[pytest]\nsslbench_backbones =\n    tiny\n    pixels\n"),
    "lines with commas": ("tox.ini", "[pytest]\nsslbench_backbones =\n    tiny,\n    pixels,\n"),
    "setup.cfg": ("setup.cfg", "[tool:pytest]\nsslbench_backbones =\n    tiny\n    pixels\n"),
    "text in ini_options": ("pyproject.toml", '[tool.pytest.ini_options]\nsslbench_backbones = "tiny,pixels"\n'),
    "list in ini_options": ("pyproject.toml", '[tool.pytest.ini_options]\nsslbench_backbones = ["tiny", "pixels"]\n'),
    "lines in ini_options": (
        "pyproject.toml",
        '[tool.pytest.ini_options]\nsslbench_backbones = """\ntiny\npixels"""\n',
    ),
    "native text": ("pyproject.toml", '[tool.pytest]\nsslbench_backbones = "tiny,pixels"\n'),
    "native list": ("pyproject.toml", '[tool.pytest]\nsslbench_backbones = ["tiny", "pixels"]\n'),
    "pytest.toml": ("pytest.toml", '[pytest]\nsslbench_backbones = ["tiny", "pixels"]\n'),
}


def write(project, name: str, text: str) -> None:
    (project.path / "pytest.ini").unlink(missing_ok=True)
    (project.path / name).write_text(text)


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=NATIVE if "native" in form or form == "pytest.toml" else []) for form in FORMS]
)
def test_names_in_every_form(project, form):
    write(project, *FORMS[form])
    result = project.run("--collect-only", "-q", "--sslbench-tasks=knn/digits", "-W", "error")
    assert collected(result) == ["test_knn[tiny-digits]", "test_knn[pixels-digits]"]
    # The command line goes before each of them.
    other = project.run("--collect-only", "-q", "--sslbench-tasks=knn/digits", "--sslbench-backbones=pixels")
    assert collected(other) == ["test_knn[pixels-digits]"]


@pytest.mark.parametrize(
    ("name", "head", "lines"),
    [
        pytest.param(
            "pytest.toml", "[pytest]", ["0.5", "32", "true", "1e-3", '["linear-solver=sklearn"]'], marks=NATIVE
        ),
        pytest.param(
            "pytest.toml", "[pytest]", ['"0.5"', '"32"', '"yes"', '"1e-3"', '"linear-solver=sklearn"'], marks=NATIVE
        ),
        ("pyproject.toml", "[tool.pytest.ini_options]", ["0.5", "32", "true", "1e-3", '["linear-solver=sklearn"]']),
        ("pytest.ini", "[pytest]", ["0.5", "32", "on", "1e-3", "linear-solver=sklearn"]),
    ],
)
def test_numbers_switches_and_choices_in_every_form(project, name, head, lines):
    options = ("decoded", "batch_size", "offline", "gate_level", "compat")
    write(
        project,
        name,
        "\n".join([head, *(f"sslbench_{option} = {line}" for option, line in zip(options, lines, strict=True))]),
    )
    project.tests(SHOW)
    project.run("-W", "error").assert_outcomes(passed=1)
    seen = json.loads((project.path / "options.json").read_text())
    assert seen == [[], 0.5, 32, True, 0.001, {"linear-solver": "sklearn"}]


def test_zero_is_a_value(project):
    project.ini(sslbench_decoded="0")
    project.tests(SHOW)
    project.run().assert_outcomes(passed=1)
    assert json.loads((project.path / "options.json").read_text())[1] == 0
    project.run("--sslbench-decoded=2", "--sslbench-batch-size=7").assert_outcomes(passed=1)
    assert json.loads((project.path / "options.json").read_text())[1:3] == [2, 7]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('sslbench_suite = ["embedded", "paper"]', "sslbench_suite in the ini file takes one value, got the list"),
        ("sslbench_decoded = true", "sslbench_decoded in the ini file takes a number, got 'True'"),
        ("sslbench_decoded = -1", "sslbench_decoded in the ini file: expected a number of at least 0, got -1"),
        (
            "sslbench_batch_size = 2.5",
            "sslbench_batch_size in the ini file: expected a whole number of at least 1, got 2.5",
        ),
        ("sslbench_batch_size = 0", "expected a whole number of at least 1, got 0"),
        ('sslbench_offline = "maybe"', "sslbench_offline in the ini file: expected true or false, got 'maybe'"),
        ('sslbench_check_data = "Loose"', "expected strict or loose, got 'Loose'; did you mean 'loose'?"),
        ('sslbench_backbones = ["tiny,pixels"]', "unknown backbone 'tiny,pixels'"),
        ('sslbench_backbones = ["tiny,pixels"]', "In a list, and on lines of their own, each is one name"),
    ],
)
def test_what_cannot_be_used_is_said(project, line, said):
    write(project, "pyproject.toml", f"[tool.pytest.ini_options]\n{line}\n")
    assert said in refused(project.run())


@NATIVE
def test_a_table_is_no_value(project):
    write(project, "pytest.toml", '[pytest]\nsslbench_compat = {linear-solver = "sklearn"}\n')
    said = "sslbench_compat in the ini file: expected text, a number, true or false, or a list of texts"
    assert said in refused(project.run())


@pytest.mark.parametrize("how", ["command line", "line", "lines", "list"])
def test_a_comma_in_a_path(project, how):
    folder = project.folder("lr=0.1,wd=1/im")
    task = f"knn/folder:{folder}"
    escaped = task.replace(",", r"\,")
    given = [f"--sslbench-tasks={escaped},knn/digits"] if how == "command line" else []
    if how == "line":
        project.ini(sslbench_tasks=f"{escaped}, knn/digits")
    elif how == "lines":
        project.ini(sslbench_tasks=f"\n    {task}\n    knn/digits")
    elif how == "list":
        write(project, "pyproject.toml", f'[tool.pytest.ini_options]\nsslbench_tasks = ["{task}", "knn/digits"]\n')
    result = project.run("--collect-only", "-q", "--sslbench-backbones=tiny", *given)
    assert collected(result) == ["test_knn[tiny-digits]", f"test_knn[tiny-folder:{folder}]"]


def test_a_comma_that_cut_a_path_is_recognised(project):
    text = refused(project.run("--sslbench-backbones=tiny", "--sslbench-tasks=knn/folder:/runs/lr=0.1,wd=1/im"))
    assert r"unknown protocol 'wd=1'" in text
    assert r"A comma that belongs to the path before it is written \," in text


def test_a_baseline_whose_name_has_a_number_sign(project):
    chosen = ("--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair")
    path = Path("run#1") / "base.json"
    project.run(*chosen, f"--sslbench-save-baseline={path}").assert_outcomes(passed=1)
    assert (project.path / path).is_file()
    for given in (path, f"{path}#tiny"):
        result = project.run(*chosen, f"--sslbench-baseline={given}")
        result.stdout.fnmatch_lines(["regression gate: 1 of 1 cases compared with run#1/base.json*"])
