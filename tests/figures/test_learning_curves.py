"""The figure of learning curves shows what the samples hold, or says why it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslbench.errors import RecordError
from sslbench.figures import FIGURES, LeftOut, Source
from sslbench.figures.style import marks, style
from sslbench.results.runs import Run
from tests.figures.conftest import ODD_NAMES, check_inside, marks_of, panels, the_figure
from tests.results.conftest import build

STEPS = np.array([10, 20, 25], np.int32)
DRAW = FIGURES["learning-curves"].draw


def source(folder: Path, samples: Mapping[tuple[str, str], Mapping[str, Any]], **fields: Any) -> Source:
    """Of a run with samples by backbone and task."""
    run = Run(folder / "run")
    run.check_writable()
    for (name, task), arrays in samples.items():
        record = build(name, task, **{"hyperparameters": {"steps": 25}, **fields})
        run.write(replace(record, samples=run.write_samples(record.case, arrays)))
    return Source.of_records(run.records(), "a run", run.directory / "records")


def curve(*losses: list[float]) -> dict[str, Any]:
    return {"curve_step": STEPS, "curve_loss": np.array(losses, np.float32), "curve_rate": np.ones(3, np.float32)}


def test_a_line_is_the_mean_over_the_seeds_and_ends_with_the_backbones_mark(tmp_path: Path) -> None:
    run = source(
        tmp_path,
        {
            ("net", "finetune/pets"): curve([3, 1, 0.5], [2, 2, 0.3]),
            (ODD_NAMES[0], "finetune/pets"): curve([4, 3, 2]),
            ("net", "finetune/digits"): curve([4, 3, 0]),
            ("net", "detection/boxes/frozen"): curve([1, 0.75, 0.5]),
        },
    )
    with style():
        found = DRAW(run)
        assert not isinstance(found, LeftOut) and set(found) == {"finetune", "detection"}
        axes = panels(the_figure(found, "finetune"))
    assert set(axes) == {"finetune/pets", "finetune/digits"}
    looks = marks(run.sheet.backbones)
    lines = {line.get_color(): line for line in axes["finetune/pets"].lines if len(line.get_xdata()) > 1}
    for name, losses in (("net", [2.5, 1.5, 0.4]), (ODD_NAMES[0], [4, 3, 2])):
        line = lines[looks[name].colour]
        assert list(line.get_xdata()) == STEPS.tolist() and list(line.get_ydata()) == pytest.approx(losses)
        assert any(mark == pytest.approx((25, losses[-1])) for mark in marks_of(axes["finetune/pets"]))
    assert axes["finetune/pets"].get_yscale() == "log"
    # A loss of 0 has no logarithm.
    assert axes["finetune/digits"].get_yscale() == "linear"
    for figure in found.values():
        check_inside(figure)


def test_it_says_why_it_cannot_be_drawn(tmp_path: Path) -> None:
    bare = DRAW(source(tmp_path / "a", {("net", "finetune/pets"): {"decision": np.eye(3)}}))
    assert isinstance(bare, LeftOut) and "no record's samples have a learning curve" in bare.reason
    # What takes no steps is not even read.
    other = source(tmp_path / "b", {("net", "linear/pets"): curve([1, 1, 1])}, hyperparameters={"C": 1.0})
    assert isinstance(DRAW(other), LeftOut)
    nowhere = DRAW(replace(other, folder=None))
    assert isinstance(nowhere, LeftOut) and "samples beside a run's records" in nowhere.reason


def test_damaged_samples_are_an_error(tmp_path: Path) -> None:
    run = source(tmp_path, {("net", "finetune/pets"): curve([3, 2, 1])})
    (record,) = run.records
    assert run.folder is not None
    (run.folder / record.samples["path"]).write_bytes(b"other")
    with pytest.raises(RecordError, match="was changed"):
        DRAW(run)
