"""`--sslbench-data DIR` with a blank: pytest takes DIR for a test path and may then read another ini file."""

from __future__ import annotations

import pytest

from tests.plugin.test_matrix import collected, refused

SECTIONS = {
    "pytest.ini": "[pytest]\nsslbench_backbones = tiny\nsslbench_tasks = knn/pair\n",
    "tox.ini": "[pytest]\nsslbench_backbones = tiny\nsslbench_tasks = knn/pair\n",
    "setup.cfg": "[tool:pytest]\nsslbench_backbones = tiny\nsslbench_tasks = knn/pair\n",
    "pyproject.toml": '[tool.pytest.ini_options]\nsslbench_backbones = "tiny"\nsslbench_tasks = "knn/pair"\n',
}


@pytest.fixture
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("option", ["data", "cache", "results"])
def test_a_hidden_ini_file_is_told(project, elsewhere, name, option):
    (project.path / "pytest.ini").unlink()
    (project.path / name).write_text(SECTIONS[name])
    text = refused(project.run("--collect-only", f"--sslbench-{option}", elsewhere))
    assert f"pytest took {elsewhere}, the value of --sslbench-{option}, for a test path" in text
    assert f"instead of {project.path / name}. Write --sslbench-{option}={elsewhere}" in text
    right = project.run("--collect-only", "-q", f"--sslbench-{option}={elsewhere}")
    assert collected(right) == ["test_knn[tiny-pair]"]


def test_an_ini_file_of_another_project_is_told(project, elsewhere):
    (elsewhere / "pytest.ini").write_text("[pytest]\n")
    text = refused(project.run("--collect-only", "--sslbench-data", elsewhere))
    assert f"read the ini file {elsewhere / 'pytest.ini'} instead of {project.path / 'pytest.ini'}" in text


def test_options_of_the_environment_count(project, elsewhere, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--sslbench-data {elsewhere}")
    assert f"Write --sslbench-data={elsewhere}" in refused(project.run("--collect-only"))


def test_a_blank_that_hides_nothing_is_no_error(project, elsewhere):
    (project.path / "data").mkdir()
    (project.path / "tests/deep").mkdir(parents=True)
    (project.path / "tests/deep/pytest.ini").write_text("[pytest]\n")
    chosen = ("--collect-only", "-q", "--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair")
    for given in (
        ("--sslbench-data", "data"),
        ("--sslbench-data", "lost"),
        ("test_bench.py", "--sslbench-data", elsewhere),
        ("test_bench.py::test_knn", "--sslbench-data", elsewhere),
        ("-c", "pytest.ini", "--sslbench-data", elsewhere),
        (project.path, project.path / "tests/deep", "--sslbench-data", "data"),
    ):
        assert collected(project.run(*chosen, *given)) == ["test_knn[tiny-pair]"], given
    # Without an ini file there is none to hide.
    (project.path / "pytest.ini").unlink()
    assert project.run(*chosen, "--sslbench-data", elsewhere).ret == 0


def test_a_value_too_long_for_a_path_is_no_path(project) -> None:
    names = ",".join(["tiny", *["blurred"] * 60])
    project.run("--sslbench-backbones", names, "--sslbench-tasks=knn/pair").assert_outcomes(passed=2)
