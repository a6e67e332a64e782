"""A grid goes on where it was interrupted, and no trial is trained twice."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from sslbench.environment import largest_peaks
from sslbench.errors import CacheError, CacheWarning, SslbenchError
from sslbench.training import trial, trial_result
from sslbench.training.trial import Trial
from sslbench.training.trial_result import TrialResult
from sslbench.training.trials import HandedOverError, TrialEndedError, Trials
from tests.training.toy import Toy, trained

GRID = [{"rate": rate} for rate in (0.3, 0.1, 0.2)]
CASE = {"case": "resnet on toys", "version": 1}


class Counted:
    """The toy's trial, and how often each was begun."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def __call__(self, given: Mapping[str, Any], folder: Path | None) -> TrialResult:
        self.rates.append(given["rate"])
        return trained(given, folder)


def same(first: TrialResult, second: TrialResult) -> bool:
    return (
        (first.values, first.diverged_at) == (second.values, second.diverged_at)
        and first.tensors.keys() == second.tensors.keys()
        and all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())
    )


def test_two_trainings_of_one_case_with_the_same_hyperparameters_are_two(tmp_path: Path) -> None:
    trials = Trials(tmp_path, CASE)
    (on_train,) = trials.map(lambda settings, folder: TrialResult("train"), GRID[:1], stage="search")
    (on_both,) = trials.map(lambda settings, folder: TrialResult("train and val"), GRID[:1], stage="last")
    assert (on_train.values, on_both.values) == ("train", "train and val")


def test_results_come_in_the_grids_order_and_equal_those_that_are_not_kept(tmp_path: Path) -> None:
    kept = Trials(tmp_path, CASE).map(trained, GRID, stage="search")
    loose = Trials(None, CASE).map(trained, GRID, stage="search")
    assert [result.values["rate"] for result in kept] == [0.3, 0.1, 0.2]
    assert all(map(same, kept, loose))
    assert len(kept[0].tensors) == 9 and kept[0].values["losses"] != kept[1].values["losses"]


def test_what_trials_took_elsewhere_is_known_where_their_results_are_read(tmp_path: Path) -> None:
    def slow(settings: Mapping[str, Any], folder: Path | None) -> TrialResult:
        time.sleep(0.05)
        return TrialResult("done")

    first = Trials(tmp_path, CASE)
    results = first.map(slow, GRID, stage="search")
    assert first.seconds_elsewhere() == 0
    again = Trials(tmp_path, CASE)
    assert [result.seconds for result in again.map(slow, GRID, stage="search")] == [one.seconds for one in results]
    assert 0 < again.seconds_elsewhere() <= sum(result.seconds for result in results)
    assert again.seconds_elsewhere() == 0


def test_the_memory_of_the_process_that_trained_is_known_where_results_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter([{"rss": 300, "device": None}, {"rss": 500, "device": 7}, {"rss": 400, "device": 9}])
    monkeypatch.setattr(trial, "peak_memory", lambda device: next(sizes))
    Trials(tmp_path, CASE).map(trained, GRID, stage="search")
    again = Trials(tmp_path, CASE)
    again.map(trained, GRID, stage="search")
    assert largest_peaks([{"rss": 450, "device": None}, *again.peaks]) == {"rss": 500, "device": 9}
    assert largest_peaks([{"rss": 600, "device": None}, *again.peaks[:1]]) == {"rss": 600, "device": None}


def test_results_that_an_earlier_version_kept_are_read(tmp_path: Path) -> None:
    (result,) = Trials(tmp_path, CASE).map(trained, GRID[:1], stage="search")
    (file,) = tmp_path.glob("*.json")
    content = json.loads(file.read_text())
    for later in ("checksum", "seconds", "peak_memory"):
        del content[later]
    file.write_text(json.dumps({**content, "checksum": trial_result._digest(content)}))
    older, counted = Trials(tmp_path, CASE), Counted()
    (read,) = older.map(counted, GRID[:1], stage="search")
    assert same(read, result) and not counted.rates
    assert (read.seconds, older.seconds_elsewhere(), largest_peaks(older.peaks)) == (0, 0, {})


def test_a_grid_is_handed_over_where_several_have_no_result(tmp_path: Path) -> None:
    function = Counted()
    with pytest.raises(HandedOverError) as told:
        Trials(tmp_path, CASE, hand_over=True).map(function, GRID, stage="search")
    assert len(told.value.keys) == 3 and not function.rates
    for key in told.value.keys[:2]:
        with pytest.raises(TrialEndedError):
            Trials(tmp_path, CASE, only=key).map(function, GRID, stage="search")
    assert function.rates == [0.3, 0.1]
    # One alone is not worth a way there and back.
    assert len(Trials(tmp_path, CASE, hand_over=True).map(function, GRID, stage="search")) == 3
    assert function.rates == [0.3, 0.1, 0.2]


def test_nothing_finished_is_trained_again_whatever_the_grid_it_comes_in(tmp_path: Path) -> None:
    first = Trials(tmp_path, CASE).map(trained, GRID, stage="search")
    counted = Counted()
    again = Trials(tmp_path, CASE).map(counted, [{"rate": 0.7}, *reversed(GRID), {"rate": 0.7}], stage="search")
    assert counted.rates == [0.7]
    assert all(map(same, again[1:4], reversed(first)))
    assert same(again[0], again[4])


def test_another_case_or_hyperparameter_is_another_trial(tmp_path: Path) -> None:
    Trials(tmp_path, CASE).map(trained, GRID[:1], stage="search")
    counted = Counted()
    Trials(tmp_path, {**CASE, "version": 2}).map(counted, GRID[:1], stage="search")
    Trials(tmp_path, CASE).map(counted, [{**GRID[0], "note": None}], stage="search")
    assert counted.rates == [0.3, 0.3]
    Trials(tmp_path, dict(reversed(CASE.items()))).map(counted, GRID[:1], stage="search")
    assert counted.rates == [0.3, 0.3]


def test_an_interrupted_trial_goes_on_from_its_state_and_leaves_only_its_result(tmp_path: Path) -> None:
    begun: list[int] = []

    def breaks(given: Mapping[str, Any], folder: Path | None) -> TrialResult:
        toy = Toy(given["rate"])

        def stop(number: int) -> None:
            if given["rate"] == 0.1 and number == 13:
                raise KeyboardInterrupt

        toy.before = stop
        toy.run(folder, begun_with=given)
        return TrialResult({"rate": given["rate"]})

    def goes_on(given: Mapping[str, Any], folder: Path | None) -> TrialResult:
        toy = Toy(given["rate"])
        log = toy.run(folder, begun_with=given)
        begun.append(toy.steps[0].number)
        return TrialResult({"rate": given["rate"], "losses": [line["loss"] for line in log]}, toy.model.state_dict())

    with pytest.raises(KeyboardInterrupt):
        Trials(tmp_path, CASE).map(breaks, GRID, stage="search")
    assert len(list(tmp_path.glob("*/state.pt"))) == 1
    resumed = Trials(tmp_path, CASE).map(goes_on, GRID, stage="search")
    assert begun == [12, 0]
    assert same(resumed[1], trained(GRID[1], None))
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".lock"}


def test_a_diverged_trial_is_a_result_like_others(tmp_path: Path) -> None:
    grid = [GRID[0], {"rate": 0.1, "poison": 9}, GRID[2]]
    results = Trials(tmp_path, CASE).map(trained, grid, stage="search")
    assert [result.diverged_at for result in results] == [None, 10, None]
    assert results[1].values is None and not results[1].tensors
    counted = Counted()
    assert all(map(same, Trials(tmp_path, CASE).map(counted, grid, stage="search"), results))
    assert counted.rates == []
    assert Trials(None, CASE).map(trained, grid, stage="search")[1].diverged_at == 10


def test_other_errors_end_the_grid(tmp_path: Path) -> None:
    def fails(given: Mapping[str, Any], folder: Path | None) -> TrialResult:
        raise SslbenchError("no such picture")

    with pytest.raises(SslbenchError, match="no such picture"):
        Trials(tmp_path, CASE).map(fails, GRID, stage="search")
    counted = Counted()
    Trials(tmp_path, CASE).map(counted, GRID, stage="search")
    assert counted.rates == [0.3, 0.1, 0.2]


def edited(path: Path, **changes: object) -> bytes:
    return json.dumps({**json.loads(path.read_bytes()), **changes}).encode()


@pytest.mark.parametrize("what", ["cut", "list", "value", "hyperparameter", "format", "tensors", "no tensors"])
def test_a_damaged_result_is_told_and_trained_again(what: str, tmp_path: Path) -> None:
    (whole,) = Trials(tmp_path, CASE).map(trained, GRID[:1], stage="search")
    key = Trial(trained, GRID[0], CASE, "search", tmp_path).key
    path, tensors = tmp_path / f"{key}.json", tmp_path / f"{key}.safetensors"
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif what == "list":
        path.write_bytes(b"[1]")
    elif what == "value":
        path.write_bytes(edited(path, values={"rate": 0.3, "losses": [0.0]}))
    elif what == "hyperparameter":
        path.write_bytes(edited(path, hyperparameters={"rate": 0.4}))
    elif what == "format":
        path.write_bytes(edited(path, format="sslbench-trial-0"))
    elif what == "tensors":
        # Not in place, since the file is mapped by whoever has read it.
        content = bytearray(tensors.read_bytes())
        content[-1] ^= 1
        tensors.unlink()
        tensors.write_bytes(content)
    else:
        tensors.unlink()
    counted = Counted()
    with pytest.warns(CacheWarning, match=f"damaged result .*{key}.json of a trial: .*; training it again"):
        (again,) = Trials(tmp_path, CASE).map(counted, GRID[:1], stage="search")
    assert counted.rates == [0.3] and same(again, whole)
    Trials(tmp_path, CASE).map(counted, GRID[:1], stage="search")
    assert counted.rates == [0.3]


def test_two_at_one_folder_share_a_grid_and_never_the_same_trial(tmp_path: Path) -> None:
    begun: list[tuple[str, float]] = []
    first_is_at_it, others_are_done = threading.Event(), threading.Event()

    def by(name: str) -> list[TrialResult]:
        def function(given: Mapping[str, Any], folder: Path | None) -> TrialResult:
            begun.append((name, given["rate"]))
            if given["rate"] == 0.3:
                first_is_at_it.set()
                assert others_are_done.wait(30)
            if given["rate"] == 0.2:
                others_are_done.set()
            return TrialResult({"by": name, "rate": given["rate"]})

        return Trials(tmp_path, CASE).map(function, GRID, stage="search")

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(by, "one")
        assert first_is_at_it.wait(30)
        two = pool.submit(by, "two")
        results = one.result(60), two.result(60)
    assert results[0] == results[1]
    assert [result.values["rate"] for result in results[0]] == [0.3, 0.1, 0.2]
    assert begun == [("one", 0.3), ("two", 0.1), ("two", 0.2)]


def test_what_an_interrupt_left_after_the_result_was_written_is_removed(tmp_path: Path) -> None:
    Trials(tmp_path, CASE).map(trained, GRID[:1], stage="search")
    key = Trial(trained, GRID[0], CASE, "search", tmp_path).key
    (tmp_path / key).mkdir()
    (tmp_path / key / "state.pt").write_bytes(b"much")
    (tmp_path / f"{key}.safetensors.1-a.tmp").write_bytes(b"more")
    Trials(tmp_path, CASE).map(trained, GRID[:1], stage="search")
    assert not (tmp_path / key).exists() and not list(tmp_path.glob("*.tmp"))


def test_a_result_that_cannot_be_written_is_told_and_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(trial_result, "write_atomic", full)
    with pytest.warns(CacheWarning, match="could not store the result of a trial in .*no space left"):
        (result,) = Trials(tmp_path, CASE).map(trained, GRID[:1], stage="search")
    assert same(result, trained(GRID[0], None))
    assert list(tmp_path.glob("*/state.pt"))  # the next run need not begin again


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="for trials cannot be written"):
        Trials(tmp_path / "file" / "below", CASE).map(trained, GRID, stage="search")


def test_values_are_the_same_kept_or_not(tmp_path: Path) -> None:
    def function(given: Mapping[str, Any], folder: Path | None) -> TrialResult:
        strided = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
        return TrialResult({"pair": (1, 2.5), "lost": float("nan")}, {"strided": strided, "shared": strided})

    (kept,), (loose,) = (Trials(folder, CASE).map(function, [{}], stage="search") for folder in (tmp_path, None))
    for result in (kept, loose):
        assert result.values["pair"] == [1, 2.5] and result.values["lost"] != result.values["lost"]
        assert torch.equal(result.tensors["strided"], result.tensors["shared"])


def test_a_trial_travels_to_another_process(tmp_path: Path) -> None:
    trial = Trial(trained, GRID[0], CASE, "search", tmp_path)
    there = pickle.loads(pickle.dumps(trial))
    assert there.key == trial.key
    assert same(there.run(), trained(GRID[0], None))
    assert same(pickle.loads(pickle.dumps(there.run())), there.run())
