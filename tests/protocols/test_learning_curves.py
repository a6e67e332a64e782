"""Learning curves beside the records of what is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslbench.protocols import _finetune_training
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.results.samples import read_arrays
from sslbench.training import trial_result
from tests.protocols import dense, detecting
from tests.protocols.tuning import Sets, run

pytestmark = pytest.mark.usefixtures("one_thread")


def arrays_of(results: Run, record: Record) -> dict[str, Any]:
    return read_arrays(record, results.directory / "records")[0]


def results_in(folder: Path) -> Run:
    results = Run(folder / "run")
    results.check_writable()
    return results


def test_fine_tuning_keeps_the_curves_of_its_trials_and_of_the_last_training(tuned: Sets, tmp_path: Path) -> None:
    results = results_in(tmp_path)
    record = run(tmp_path, "recipe=quick+steps=12+batch=16", results=results)
    arrays = arrays_of(results, record)
    assert arrays["curve_step"].tolist() == [10, 12] and arrays["curve_loss"].shape == (1, 2)
    table = record.hyperparameters["trials"]
    assert arrays["trial_curve_trial"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert arrays["trial_curve_step"].tolist() == [10, 12] * 4
    assert all(row.keys() == {"rate", "decay", "steps", "val_score"} for row in table)
    # Half a cosine over 12 steps, of which the points' last ones are the tenth and the twelfth.
    factors = (1 + np.cos(np.pi * np.array([9, 11]) / 12)) / 2
    expected = np.concatenate([row["rate"] * factors for row in table])
    np.testing.assert_allclose(arrays["trial_curve_rate"], expected, rtol=1e-5)
    np.testing.assert_allclose(arrays["curve_rate"], record.hyperparameters["rate"] * factors, rtol=1e-5)


def test_each_seed_has_a_row(tuned: Sets, tmp_path: Path) -> None:
    results = results_in(tmp_path)
    record = run(tmp_path, "recipe=quick+steps=6+batch=16+seeds=2", results=results)
    losses = arrays_of(results, record)["curve_loss"]
    assert losses.shape == (2, 1) and losses[0] != losses[1]


def test_trials_kept_before_there_were_curves_count_and_have_none(
    tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = results_in(tmp_path)
    first = run(tmp_path, results=results)
    arrays = arrays_of(results, first)
    for path in (tmp_path / "trials").glob("*.json"):
        content = json.loads(path.read_text())
        del content["values"]["curve"], content["checksum"]
        path.write_text(json.dumps({**content, "checksum": trial_result._digest(content)}))
    monkeypatch.setattr(_finetune_training, "trained", None)
    again = run(tmp_path, results=results)
    assert (again.scores, again.hyperparameters, again.key) == (first.scores, first.hyperparameters, first.key)
    without = arrays_of(results, again)
    assert arrays.keys() - without.keys() == {name for name in arrays if "curve" in name} != set()
    assert all(np.array_equal(arrays[name], without[name], equal_nan=True) for name in without)


def test_trained_heads_keep_their_curve(boxed: detecting.Sets, mapped: dense.Sets, tmp_path: Path) -> None:
    results = results_in(tmp_path)
    for record in (detecting.run(tmp_path, results=results), dense.run(tmp_path, results=results)):
        arrays = arrays_of(results, record)
        steps = record.hyperparameters["steps"]
        assert arrays["curve_step"][-1] == steps and len(arrays["curve_step"]) == len(arrays["curve_rate"])
        assert np.isfinite(arrays["curve_loss"]).all() and arrays["curve_loss"].shape == (1, len(arrays["curve_step"]))
