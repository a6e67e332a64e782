"""A user's folder through a whole run: names, warnings and refusals reach the terminal and the files whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

TINY = ("--sslbench-backbones", "tiny")
LATIN = os.fsdecode(b"im\xe9")


def test_names_that_are_not_utf8_reach_records_tables_and_report(project):
    folder = project.folder().rename(project.path / LATIN)
    (folder / "class0").rename(folder / LATIN)
    (folder / LATIN / "00.png").rename(folder / LATIN / f"{LATIN}.png")
    shutil.copy(folder / LATIN / "01.png", folder / LATIN / f"1{LATIN}.png")
    tasks = f"knn/folder:{folder},knn/folder:{folder}?metric=auroc"
    arguments = (*TINY, "--sslbench-tasks", tasks, "--sslbench-save-baseline", "baseline.json", "--junitxml", "out.xml")
    result = project.run(*arguments)
    result.assert_outcomes(passed=2)
    records = project.records()
    assert {record["task"]["dataset"] for record in records.values()} == {
        f"folder:{folder}",
        f"folder:{folder}?metric=auroc",
    }
    assert {record["main_score"]: record["task"]["guess"] for record in records.values()}["auroc"] == 50
    for name in ("summary.csv", "summary.md", "report.html"):
        assert r"im\xe9" in (project.path / "results" / "chosen" / name).read_text(encoding="utf-8"), name
    # The same command finds its records again.
    before = project.written()
    project.run(*arguments).assert_outcomes(passed=2)
    assert project.written() == before
    told = subprocess.run(
        [sys.executable, "-m", "sslbench.cli", "compare", "chosen", "baseline.json"],
        cwd=project.path, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert "the recipes are equal" in told.stdout


def test_a_class_that_is_not_utf8_in_an_error_under_xdist(project):
    pytest.importorskip("xdist")
    folder = project.folder(classes=5)
    (folder / "class0").rename(folder / LATIN)
    shutil.rmtree(folder / "class1")
    (folder / "class1").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "class1" / "0.png")
    result = project.run(*TINY, "-n", "1", "--sslbench-tasks", f"fewshot/folder:{folder}/20shot")
    result.assert_outcomes(errors=1)
    assert r"of 5 of 5 classes: 'class1' 1, 'class2' 20, 'class3' 20, 'class4' 20, 'im\udce9' 20" in result.stdout.str()


def test_a_command_line_that_xdist_cannot_carry_is_refused(project):
    pytest.importorskip("xdist")
    folder = project.folder().rename(project.path / LATIN)
    result = project.run(*TINY, "-n", "1", "--sslbench-tasks", f"knn/folder:{folder}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        r"im\xe9, which is not UTF-8: rename the folder, name it through a link, or run without -n"
        in result.stderr.str()
    )


def test_an_unknown_metric_of_a_folder_is_one_usage_error(project):
    folder = project.folder()
    result = project.run(*TINY, "--sslbench-tasks", f"*/folder:{folder}?metric=auc")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "unknown metric of a folder 'auc'; nearest: auroc" in result.stderr.str()


def test_where_warnings_are_errors_a_picture_is_named(project):
    folder = project.folder()
    image = Image.open(folder / "class0" / "00.png").quantize(8)
    image.save(folder / "class0" / "00.png", transparency=bytes(8))
    chosen = (*TINY, "--sslbench-tasks", f"knn/folder:{folder}")
    result = project.run(*chosen, "-W", "error")
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert "DataError: PIL warns of the image" in text and "class0/00.png, and warnings are errors in this run" in text
    assert "Traceback" not in text
    skipped = project.run(*chosen, "-W", "error", "--sslbench-bad-images", "skip")
    skipped.assert_outcomes(passed=1)
    (record,) = project.records().values()
    assert sum(record["task"]["details"]["skipped_images"].values()) == 1
    told = project.run(*chosen, "--sslbench-rerun", "all")
    told.assert_outcomes(passed=1, warnings=1)
    assert "PIL warned of pictures of folder:" in told.stdout.str()


def test_what_is_not_read_is_told_and_in_the_record(project):
    folder = project.folder()
    (folder / "class0" / "notes.txt").write_text("text")
    result = project.run(*TINY, "--sslbench-tasks", f"knn/folder:{folder}")
    result.assert_outcomes(passed=1, warnings=1)
    assert "not read: .txt: 1" in result.stdout.str()
    (record,) = project.records().values()
    assert record["task"]["details"]["not_read"] == {"other_files": {".txt": 1}}
