"""What each option does to a run, its ini twin, and which of command line, environment and ini file wins."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

PAIR = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/pair")


def looked(project, option: str) -> set[str]:
    """Which of the places `cli`, `env`, `ini` and `default` a run used for the option's directory."""
    if option == "data":
        return {(project.path / "data_dir.txt").read_text().rpartition("/")[2]}
    inside = {"cache": "features", "results": "chosen/records"}[option]
    return {path.name for path in project.path.iterdir() if (path / inside).is_dir()}


@pytest.mark.parametrize("option", ["cache", "results", "data"])
@pytest.mark.parametrize("given", [("ini",), ("ini", "env"), ("ini", "env", "cli"), ("env",), ("cli",)])
def test_command_line_before_environment_before_ini_file(project, monkeypatch, option, given):
    ini = {f"sslbench_{option}": "ini"} if "ini" in given else {f"sslbench_{option}": ""}
    others = {"cache": "sslbench_results", "results": "sslbench_cache", "data": "sslbench_cache"}
    project.ini(**{others[option]: str(project.path / "other" / "deep")}, **ini)
    if "env" in given:
        monkeypatch.setenv(f"SSLBENCH_{option.upper()}", str(project.path / "env"))
    cli = (f"--sslbench-{option}", str(project.path / "cli")) if "cli" in given else ()
    project.run(*PAIR, *cli).assert_outcomes(passed=1)
    used = looked(project, option)
    used.discard("results" if option == "data" else "")
    assert used == {given[-1]}


def test_a_relative_directory_in_the_ini_file_belongs_to_the_project(project, monkeypatch):
    below = project.path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    project.run("..", *PAIR).assert_outcomes(passed=1)
    assert set(project.records()) == {"tiny|knn/pair"}
    assert not (below / "results").exists()


def test_offline_reaches_the_hub_library(project):
    text = project.path.joinpath("conftest.py").read_text()
    project.conftest(
        text
        + """
import huggingface_hub.constants

def asked():
    pathlib.Path("offline.txt").write_text(os.environ.get("HF_HUB_OFFLINE", "") + str(huggingface_hub.constants.HF_HUB_OFFLINE))
    return Tiny()

sslbench.register_backbone("asked", asked)
"""
    )
    project.tests(
        project.path.joinpath("test_bench.py").read_text()
        + "\nimport os\ndef test_it(): assert 'HF_HUB_OFFLINE' not in os.environ"
    )
    for value, arguments, found in (
        ("", (), "False"),
        ("", ("--sslbench-offline",), "1True"),
        ("true", (), "1True"),
        ("false", (), "False"),
    ):
        project.ini(sslbench_offline=value)
        project.run("--sslbench-backbones=asked", "--sslbench-tasks=knn/pair", *arguments).assert_outcomes(passed=2)
        assert (project.path / "offline.txt").read_text() == found


SHOW = """
import json
import pathlib

from sslbench.plugin.state import STATE


def test_it(request):
    settings = request.config.stash[STATE].options.settings
    seen = {"compat": dict(settings.compat), "check_data": settings.check_data, "offline": settings.offline}
    pathlib.Path("settings.json").write_text(json.dumps(seen))
"""


def settings_of(project, *arguments: str) -> dict[str, object]:
    """What reaches a case of compat, check_data and offline."""
    project.tests(SHOW)
    project.run(*arguments).assert_outcomes(passed=1)
    return json.loads((project.path / "settings.json").read_text())


def test_settings_of_the_study_have_defaults(project):
    assert settings_of(project) == {"compat": {}, "check_data": "strict", "offline": False}


@pytest.mark.parametrize("given", ["nothing", "ini", "cli"])
def test_pictures_are_in_the_report_of_a_run_when_they_are_asked_for(project, given):
    # A test that asks the options what the session's end will do: pictures need a data set of more than a conftest's.
    project.tests(
        "from sslbench.plugin.state import STATE\n\n"
        "def test_it(request):\n"
        f"    assert request.config.stash[STATE].options.pictures is {given != 'nothing'}\n"
    )
    if given == "ini":
        project.ini(sslbench_pictures="true")
    project.run(*(["--sslbench-pictures"] if given == "cli" else [])).assert_outcomes(passed=1)


@pytest.mark.parametrize("given", [("ini",), ("cli",), ("ini", "cli")])
def test_offline_reaches_the_settings(project, monkeypatch, given):
    if "ini" in given:
        project.ini(sslbench_offline="true")
    assert settings_of(project, *(["--sslbench-offline"] if "cli" in given else []))["offline"] is True


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("ON", True), ("0", False), ("", False)])
def test_offline_of_the_environment_reaches_the_settings(project, monkeypatch, value, offline):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert settings_of(project)["offline"] is offline


@pytest.mark.parametrize("how", ["cli", "ini"])
def test_check_data_reaches_the_settings(project, how):
    if how == "ini":
        project.ini(sslbench_check_data="loose")
    arguments = ["--sslbench-check-data", "loose"] if how == "cli" else []
    assert settings_of(project, *arguments)["check_data"] == "loose"


@pytest.mark.parametrize("how", ["cli", "ini"])
def test_compat_choices_reach_the_settings(project, how):
    text = "caltech101-list=unique, voc2007-difficult = ignored"
    if how == "ini":
        project.ini(sslbench_compat=text)
    chosen = settings_of(project, *(["--sslbench-compat", text] if how == "cli" else []))["compat"]
    assert chosen == {"caltech101-list": "unique", "voc2007-difficult": "ignored"}


def test_compat_of_the_command_line_replaces_the_ini_file(project):
    project.ini(sslbench_compat="caltech101-list=unique")
    chosen = settings_of(project, "--sslbench-compat", "voc2007-difficult=ignored")["compat"]
    assert chosen == {"voc2007-difficult": "ignored"}


@pytest.mark.parametrize("how", ["cli", "ini"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("caltech101-lists=unique", "unknown compat switch 'caltech101-lists'; nearest: caltech101-list"),
        ("caltech101-list=new", "compat switch caltech101-list: expected 2021 or unique, got 'new'"),
        ("caltech101-list", "takes NAME=VALUE[,NAME=VALUE], got 'caltech101-list'"),
        ("caltech101-list=", "takes NAME=VALUE[,NAME=VALUE], got 'caltech101-list='"),
        ("caltech101-list=2021,caltech101-list=unique", "caltech101-list is given twice, as 2021 and as unique"),
    ],
)
def test_compat_that_cannot_be_used_is_refused(project, how, text, said):
    if how == "ini":
        project.ini(sslbench_compat=text)
    assert f"--sslbench-compat: {said}".replace(": takes", " takes") in refused(
        project.run(*(["--sslbench-compat", text] if how == "cli" else []))
    )


@pytest.mark.parametrize("how", ["cli", "ini"])
def test_dtype_is_recorded_and_has_features_of_its_own(project, tmp_path, how):
    cache = tmp_path / "cold"
    project.ini(sslbench_cache=str(cache))
    project.run(*PAIR).assert_outcomes(passed=1)
    (full,) = project.records().values()
    assert full["backbone"]["dtype"] == "float32"
    first = set(cache.rglob("*.safetensors"))
    if how == "ini":
        project.ini(sslbench_cache=str(cache), sslbench_dtype="bfloat16")
    project.run(*PAIR, *(("--sslbench-dtype", "bfloat16") if how == "cli" else ())).assert_outcomes(passed=1)
    (half,) = project.records().values()
    assert half["backbone"]["dtype"] == "bfloat16"
    assert half["key"] != full["key"]
    assert len(set(cache.rglob("*.safetensors")) - first) == len(first) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sslbench-dtype", "float8"), "float8"),
        (("--sslbench-rerun", "some"), "some"),
        (("--sslbench-bad-images", "hide"), "hide"),
        (("--sslbench-check-data", "hardly"), "hardly"),
        (("--sslbench-gate-level", "often"), "--sslbench-gate-level takes a number, got 'often'"),
        (("--sslbench-gate-min-drop", "much"), "--sslbench-gate-min-drop takes a number, got 'much'"),
    ],
)
def test_a_value_outside_the_choices_is_refused(project, arguments, said):
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert said in text
    assert "Traceback" not in text


def test_a_bad_choice_in_the_ini_file_is_refused(project):
    project.ini(sslbench_dtype="float8")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "sslbench_dtype in the ini file: expected float32, bfloat16 or float16, got 'float8'" in result.stderr.str()


def refused(result: pytest.RunResult) -> str:
    """The message of a run that was refused before any case ran, in a few lines."""
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert len(result.outlines) + len(result.errlines) < 24
    return text


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there_is_said_in_one_line(project, monkeypatch, device):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    text = refused(project.run_alone(*PAIR, "--sslbench-device", device))
    assert f"device {device} was asked for but cannot be used" in text
    assert "Use --sslbench-device cpu" in text
    assert project.records() == {}


def test_an_unknown_device_is_answered_with_the_known_ones(project):
    text = refused(project.run(*PAIR, "--sslbench-device", "tpu"))
    assert "unknown device 'tpu'; expected auto, cpu, cuda or cuda:N" in text


@pytest.mark.parametrize("device", ["auto", "cuda", "cpu"])
def test_a_gpu_test_is_skipped_with_a_reason_where_there_is_none(project, monkeypatch, device):
    import torch

    def no_gpu(*_args, device="cpu", **_kwargs):
        raise RuntimeError("no CUDA GPUs are available")

    monkeypatch.setattr(torch, "zeros", no_gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    project.tests("""
import pytest

@pytest.mark.gpu
@pytest.mark.sslbench(protocol="knn")
def test_it(): raise AssertionError

def test_other(): pass

@pytest.mark.gpu
def test_of_another_kind_of_gpu(): pass
""")
    result = project.run("-m", "gpu", "-rs", "--sslbench-device", device)
    result.assert_outcomes(skipped=1, passed=1, deselected=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs a usable GPU*"])


def test_a_gpu_case_is_skipped_before_its_fixtures(project):
    text = project.path.joinpath("test_bench.py").read_text()
    project.tests(
        text.replace('@pytest.mark.sslbench(protocol="knn")', '@pytest.mark.gpu\n@pytest.mark.sslbench(protocol="knn")')
    )
    project.run("-rs", *PAIR, "--sslbench-device=cpu").assert_outcomes(skipped=1)
    assert project.records() == {}


def break_image(folder):
    broken = sorted(folder.rglob("*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:40])
    return broken


def test_an_unreadable_image_is_named(project):
    folder = project.folder()
    broken = break_image(folder)
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", f"knn/folder:{folder}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = result.stdout.str().replace("\n", "")
    assert str(broken) in text
    assert "Traceback" not in text
    assert project.records() == {}


@pytest.mark.parametrize("how", ["cli", "ini"])
def test_skipped_images_are_counted_in_the_record(project, how):
    folder = project.folder()
    break_image(folder)
    skip = ("--sslbench-bad-images", "skip") if how == "cli" else ()
    if how == "ini":
        project.ini(sslbench_bad_images="skip")
    selected = ("--sslbench-backbones", "tiny", "--sslbench-tasks", f"knn/folder:{folder}")
    project.run(*selected, *skip).assert_outcomes(passed=1)
    (record,) = project.records().values()
    skipped = record["task"]["details"]["skipped_images"]
    assert list(skipped.values()) == [1]
    assert set(skipped) <= {"train", "val", "test"}


def test_an_unwritable_directory_is_named_with_the_way_out(project):
    blocked = project.path / "blocked"
    blocked.write_text("a file, where a directory should be")
    for option in ("results", "cache"):
        text = refused(project.run(*PAIR, f"--sslbench-{option}", str(blocked)))
        assert f"the {option} directory {blocked}" in text
        assert f"--sslbench-{option}=DIR" in text


def test_help_lists_every_option_with_its_ini_twin(project):
    text = " ".join(project.run("--help").stdout.str().split())
    for name in [
        "suite",
        "backbones",
        "tasks",
        "data",
        "cache",
        "results",
        "device",
        "batch-size",
        "dtype",
        "bad-images",
        "check-data",
        "compat",
        "rerun",
        "baseline",
        "gate-level",
        "gate-min-drop",
        "save-baseline",
        "offline",
    ]:
        assert f"--sslbench-{name}" in text
        assert f"(ini: sslbench_{name.replace('-', '_')})" in text


def test_the_markers_are_known_under_strict_markers(project):
    names = ["linear", "knn", "fewshot", "slow", "gpu", "download"]
    marks = "".join(f"@pytest.mark.{name}\n" for name in names if name != "gpu")
    project.tests(f"import pytest\n{marks}def test_it(): pass")
    project.run("--strict-markers").assert_outcomes(passed=1)
    project.tests("import pytest\n@pytest.mark.sslbenhc(protocol='knn')\ndef test_it(): pass")
    project.run("--strict-markers").assert_outcomes(errors=1)
    listed = project.run("--markers").stdout.str()
    for name in [*names, "sslbench(protocol)"]:
        assert f"@pytest.mark.{name}:" in listed


def test_cases_can_be_chosen_by_marker(project):
    chosen = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/pair,fewshot/digits/5shot")
    result = project.run("-m", "knn", *chosen)
    result.assert_outcomes(passed=1, deselected=1)
    assert set(project.records()) == {"tiny|knn/pair"}


def test_pytest_without_options_does_not_look_at_sslbench(tmp_path):
    """Another project in the same environment pays neither time nor files."""
    tmp_path.joinpath("test_it.py").write_text(
        "import sys\ndef test_it(): assert not {'torch', 'timm', 'pandas', 'sklearn'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    done = subprocess.run(
        [os.sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "sslbench" not in done.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"test_it.py", "__pycache__", ".benchmarks"}
