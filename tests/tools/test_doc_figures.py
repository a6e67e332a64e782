"""The README's figure shows the committed baseline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from doc_figures import BASELINE, FOLDER, TASKS, problems, source

from sslbench.errors import RecordError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for path in (*(FOLDER / f"{name}.svg" for name in TASKS), BASELINE):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def test_the_figures_are_those_of_the_committed_baseline():
    assert problems(ROOT) == []


def test_a_figure_is_opaque_for_pages_of_any_colour():
    for name in TASKS:
        head = (ROOT / FOLDER / f"{name}.svg").read_text()[:4000]
        assert 'id="patch_1"' in head and "fill: #ffffff" in head


@pytest.mark.parametrize("field", ["value", "guess"])
def test_another_baseline_is_noticed(copy: Path, field: str):
    records = json.loads((copy / BASELINE).read_bytes())
    (record,) = (r for r in records if r["case"] == "pixels|linear/world-colour")
    if field == "value":
        record["scores"]["top1"]["value"] += 0.01
    else:
        record["task"]["guess"] = 1.0
    (copy / BASELINE).write_text(json.dumps(records))
    assert problems(copy) == [f"docs/figures/readme.svg does not show {BASELINE}; run `python tools/doc_figures.py`"]


def test_scores_that_no_figure_shows_do_not_count_and_a_missing_file_does(copy: Path):
    records = json.loads((copy / BASELINE).read_bytes())
    (record,) = (r for r in records if r["case"] == "pixels|knn/digits")
    record["scores"]["top1"]["value"] += 1
    (copy / BASELINE).write_text(json.dumps(records))
    assert problems(copy) == []
    (copy / FOLDER / "readme.svg").unlink()
    assert len(problems(copy)) == 1


def test_a_baseline_without_a_task_is_refused(copy: Path):
    records = [r for r in json.loads((copy / BASELINE).read_bytes()) if r["task"]["id"] != "linear/world-shape"]
    (copy / BASELINE).write_text(json.dumps(records))
    assert source(copy).records
    with pytest.raises(RecordError, match="shows linear/world-shape, which"):
        problems(copy)
