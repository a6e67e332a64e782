"""Which cases there are: suite, backbones, tasks, and their ids and order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench.backbones import expand_backbones
from sslbench.backbones.zoo import zoo_names
from sslbench.tasks import suite

REPOSITORY = Path(__file__).parents[2]


def collected(result: pytest.RunResult) -> list[str]:
    return [line.partition("::")[2] for line in result.outlines if line.startswith("test_bench.py::")]


def refused(result: pytest.RunResult) -> str:
    """The message of a run that was refused before anything ran, in a few lines."""
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert len(result.outlines) + len(result.errlines) < 12
    return text


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ("knn/digits", ["test_knn[tiny-digits]"]),
        ("knn/world-*", [f"test_knn[tiny-world-{name}]" for name in ("colour", "count", "shape", "texture")]),
        ("*/digits", ["test_knn[tiny-digits]"]),
        # Outside the suite, by full id.
        ("fewshot/digits/20shot", ["test_fewshot[tiny-digits-20shot]"]),
        ("knn/pair , fewshot/digits/5shot", ["test_knn[tiny-pair]", "test_fewshot[tiny-digits-5shot]"]),
        # Naming a case twice does not double it.
        ("knn/digits,knn/d*", ["test_knn[tiny-digits]"]),
    ],
)
def test_tasks_by_name_and_glob(project, tasks, expected):
    selected = ("--sslbench-backbones", "tiny", "--sslbench-tasks", tasks)
    assert collected(project.run("--collect-only", "-q", *selected)) == expected


@pytest.mark.parametrize(
    ("backbones", "expected"),
    [
        ("pixels,tiny", ["pixels", "tiny"]),
        ("tiny,pixels", ["tiny", "pixels"]),
        ("[!z]*[lo]ur*", ["colour-histogram", "blurred"]),
        ("[bp]*[el][ds]", ["pixels", "blurred", "poisoned"]),
        ("tiny,t*,tiny", ["tiny"]),
        ("python:some.module:factory", ["python:some.module:factory"]),
    ],
)
def test_backbones_by_name_and_glob(project, backbones, expected):
    selected = ("--sslbench-backbones", backbones, "--sslbench-tasks", "knn/digits")
    result = project.run("--collect-only", "-q", *selected)
    assert collected(result) == [f"test_knn[{name}-digits]" for name in expected]


def test_the_suite_in_full_is_grouped_by_backbone(project):
    backbones = expand_backbones(suite("embedded").backbones)
    assert backbones == [
        "wheel:efficientnet-lite0?size=64", *zoo_names(), "random-init:zoo:simclr", "random-init:zoo:mae", "pixels",
        "colour-histogram",
    ]  # fmt: skip
    ids = collected(project.run("--collect-only", "-q"))
    # Longest first: random-init is the beginning of another name.
    names = [next(n for n in sorted(backbones, key=len, reverse=True) if f"[{n}-" in item) for item in ids]
    assert names == [name for name in backbones for _ in range(5 + 3)]


def test_the_slow_cases_of_the_suite_can_be_left_out(project):
    quick = collected(project.run("--collect-only", "-q", "-m", "not slow", "--sslbench-backbones", "pixels"))
    slow = collected(project.run("--collect-only", "-q", "-m", "slow", "--sslbench-backbones", "pixels"))
    assert slow == ["test_knn[pixels-world-count]"]
    assert len(quick) == 7 and not set(slow) & set(quick)


def test_other_tests_keep_their_place_between_the_cases(project):
    project.tests("""
import pytest

def test_first(): pass

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record): pass

def test_middle(): pass

@pytest.mark.sslbench(protocol="knn")
def test_again(sslbench_record): pass
""")
    chosen = ("--sslbench-backbones", "tiny,blurred", "--sslbench-tasks", "knn/pair")
    assert collected(project.run("--collect-only", "-q", *chosen)) == [
        "test_first",
        "test_knn[tiny-pair]",
        "test_again[tiny-pair]",
        "test_middle",
        "test_knn[blurred-pair]",
        "test_again[blurred-pair]",
    ]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--sslbench-suite", "embeded", ["unknown suite 'embeded'", "nearest: embedded"]),
        ("--sslbench-backbones", "tinny", ["unknown backbone 'tinny'", "tiny"]),
        ("--sslbench-backbones", "tiny,pixel", ["unknown backbone 'pixel'", "nearest: pixels"]),
        ("--sslbench-backbones", "zzz*", ["'zzz*' matches no backbone", "random-init"]),
        ("--sslbench-tasks", "knn/digit", ["unknown", "'digit'", "digits"]),
        ("--sslbench-tasks", "kmm/digits", ["unknown protocol 'kmm'", "knn"]),
        ("--sslbench-tasks", "fewshot/digits/6shot", ["unknown variant of fewshot '6shot'", "5shot"]),
        ("--sslbench-tasks", "zzz*", ["'zzz*' matches no task", "knn/digits"]),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(project, option, value, said):
    text = refused(project.run(option, value))
    for part in said:
        assert part in text


def test_an_unknown_name_in_the_ini_file_is_refused_as_well(project):
    project.ini(sslbench_suite="embeded")
    assert "nearest: embedded" in "\n".join([*(r := project.run()).outlines, *r.errlines])
    assert r.ret != 0


def test_ini_twins_choose_the_matrix(project):
    project.ini(sslbench_backbones="tiny", sslbench_tasks="knn/digits, knn/pair")
    assert collected(project.run("--collect-only", "-q")) == ["test_knn[tiny-digits]", "test_knn[tiny-pair]"]
    # The command line goes before the file.
    other = project.run("--collect-only", "-q", "--sslbench-tasks", "knn/world-shape")
    assert collected(other) == ["test_knn[tiny-world-shape]"]


def test_a_suite_of_ones_own(project):
    conftest = project.path.joinpath("conftest.py").read_text()
    project.conftest(
        conftest
        + """
from sslbench import tasks
tasks.register_suite(tasks.Suite("own", ("knn/pair",), ("tiny", "blurred"), "mine"))
"""
    )
    project.run("--sslbench-suite", "own").assert_outcomes(passed=2)
    assert set(project.records(run="own")) == {"tiny|knn/pair", "blurred|knn/pair"}
    assert not (project.path / "results/embedded").exists()


def test_a_folder_of_images_is_a_dataset(project):
    folder = project.folder()
    result = project.run("-v", "--sslbench-backbones", "tiny", "--sslbench-tasks", f"knn/folder:{folder}")
    result.assert_outcomes(passed=1)
    (record,) = project.records().values()
    assert record["task"]["id"] == f"knn/folder:{folder}"
    assert (record["scores"]["top1"]["value"], record["scores"]["top1"]["n"]) == (100.0, 8)
    assert record["task"]["details"]["split"] == "stratified 60/20/20"


def test_every_task_of_a_folder_by_a_glob(project):
    folder = project.folder()
    ids = collected(
        project.run("--collect-only", "-q", "--sslbench-backbones", "tiny", "--sslbench-tasks", f"*/folder:{folder}*")
    )
    assert ids == [
        f"test_knn[tiny-folder:{folder}]",
        *(f"test_fewshot[tiny-folder:{folder}-{shots}]" for shots in ("20shot", "50shot", "5shot")),
    ]


def test_a_missing_folder_names_itself(project):
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/folder:nowhere")
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert f"there is no folder {project.path / 'nowhere'}" in text
    assert "Traceback" not in text


def test_collecting_the_benchmarks_loads_no_torch_and_is_sorted(tmp_path):
    tmp_path.joinpath("probe.py").write_text(
        "import sys\n"
        "def pytest_sessionfinish(session):\n"
        "    heavy = {'torch', 'timm', 'sklearn', 'pandas'} & set(sys.modules)\n"
        "    print('loaded:', sorted(heavy), 'items:', session.testscollected)\n"
    )
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": seed, "PYTEST_ADDOPTS": ""}
        command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q", "-p", "probe"]
        command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        outputs.append([line for line in done.stdout.splitlines() if " collected" not in line])
    assert "loaded: [] items: 237" in outputs[0]
    assert outputs[0] == outputs[1]
