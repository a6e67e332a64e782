"""Caches that share through a store: nothing is computed twice, and a store that fails costs a warning."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from sslbench.errors import CacheWarning, StoreError, TrainingError
from sslbench.features.cache import Arrays, FeatureCache
from sslbench.features.streamed import Rows, RowWriter
from sslbench.store import lease, shared
from sslbench.store.shared import shared_files
from sslbench.store.store import Store
from sslbench.training import shared_state
from sslbench.training.trial import Trial
from sslbench.training.trial_result import TrialResult
from sslbench.training.trials import Trials
from tests.store.faulty import FaultyFileSystem
from tests.training.toy import PLAN, Toy, trained

RECIPE: dict[str, Any] = {"backbone": "abc", "version": 1}
CASE = {"case": "resnet on toys", "version": 1}
GIVEN = {"rate": 0.1}


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"x": np.arange(12, dtype=np.float32).reshape(4, 3), "rows": np.arange(4, dtype=np.int64)}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What a process knows of its stores is forgotten."""
    shared_files.cache_clear()
    yield
    shared_files.cache_clear()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


def get(root: Path, url: str) -> tuple[Arrays, int]:
    """The features by a machine with that local cache, and how often it computed."""
    compute = Counting()
    found, _ = FeatureCache(root, url).get(RECIPE, compute, "label")
    return found, compute.calls


def test_a_second_machine_computes_nothing_and_has_the_same(store: Store, tmp_path: Path) -> None:
    first, second = get(tmp_path / "a", store.url), get(tmp_path / "b", store.url)
    assert (first[1], second[1]) == (1, 0)
    plain, _ = get(tmp_path / "c", "")
    for name, array in plain.items():
        np.testing.assert_array_equal(first[0][name], array)
        np.testing.assert_array_equal(second[0][name], array)
    key = FeatureCache(tmp_path).path(RECIPE).stem
    assert store.names().keys() == {f"features/{key[:2]}/{key}.safetensors"}
    # It lies in the local cache now: the store is not needed again.
    assert get(tmp_path / "b", "")[1] == 0


@pytest.mark.parametrize("kind", ["features", "trial"])
def test_whoever_waits_for_a_lock_that_nobody_will_give_back_goes_on_when_its_file_is_removed(
    tmp_path: Path, kind: str
) -> None:
    """What docs/shared-state.md has an administrator do: a file server may keep the lock of a machine that is gone."""
    trial = Trial(lambda given, folder: TrialResult("made"), GIVEN, CASE, "search", tmp_path)
    features, results = FeatureCache(tmp_path), list[object]()
    path = features.path(RECIPE).with_suffix(".lock") if kind == "features" else tmp_path / f"{trial.key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)

    def make() -> None:
        results.append(trial.run() if kind == "trial" else features.get(RECIPE, Counting())[1])

    with FileLock(path):
        waiter = threading.Thread(target=make, daemon=True)
        waiter.start()
        waiter.join(0.2)
        assert waiter.is_alive() and results == []
        path.unlink()
        waiter.join(600)
        assert len(results) == 1


def test_what_lies_here_already_is_shared(tmp_path: Path, url: str) -> None:
    get(tmp_path / "a", "")
    assert get(tmp_path / "a", url)[1] == 0
    assert get(tmp_path / "b", url)[1] == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another recipe"])
def test_a_damaged_object_is_told_computed_again_and_replaced(tmp_path: Path, url: str, damage: str) -> None:
    get(tmp_path / "a", url)
    (name,) = Store(url).names()
    data = Store(url).read(name)
    assert data is not None
    if damage == "another recipe":
        other = FeatureCache(tmp_path / "other")
        other.get({**RECIPE, "version": 2}, Counting())
        wrong = other.path({**RECIPE, "version": 2}).read_bytes()
    else:
        wrong = {"cut": data[:-5], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}[damage]
    Store(url).write(name, wrong)
    with pytest.warns(CacheWarning, match=f"damaged cache file .*came from {url}, where it is replaced") as told:
        found, calls = get(tmp_path / "b", url)
    assert calls == 1 and len(told) == 1
    np.testing.assert_array_equal(found["rows"], np.arange(4))
    assert get(tmp_path / "c", url)[1] == 0


def test_maps_that_are_written_row_by_row_are_shared(tmp_path: Path, url: str) -> None:
    calls = []

    def compute(writer: RowWriter) -> None:
        calls.append(1)
        for _ in range(3):
            writer.append(np.ones((2, 5), np.float16), np.array([True, False]))

    found = [FeatureCache(tmp_path / name, url).get_rows(RECIPE, Rows(6, 5, "float16"), compute) for name in ("a", "b")]
    assert len(calls) == 1
    for name in ("maps", "present"):
        np.testing.assert_array_equal(found[0][name], found[1][name])


def test_a_store_that_fails_is_told_once_and_the_run_goes_on(tmp_path: Path, faulty: Store) -> None:
    FaultyFileSystem.behave(rate=1.0, most=10**6)
    cache = FeatureCache(tmp_path, faulty.url)
    with pytest.warns(
        CacheWarning, match=r"could not look for features/.*ConnectionError.* computed here \(told once\)"
    ) as told:
        for version in range(4):
            compute = Counting()
            found, _ = cache.get({**RECIPE, "version": version}, compute)
            assert compute.calls == 1 and len(found) == 2
    assert len(told) == 1
    # Left alone after the first file, which had four tries.
    assert FaultyFileSystem.calls == 4


def test_what_cannot_be_written_is_told_and_shared_by_a_later_run(
    tmp_path: Path, faulty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(FaultyFileSystem, "put_file", _refuse)
        with pytest.warns(CacheWarning, match=r"could not write features/.* a later one shares what it finds there"):
            assert get(tmp_path / "a", faulty.url)[1] == 1
    assert faulty.names() == {}
    shared_files.cache_clear()
    assert get(tmp_path / "a", faulty.url)[1] == 0
    assert len(faulty.names()) == 1


def _refuse(*_args: Any, **_options: Any) -> None:
    raise PermissionError("read only")


@pytest.mark.parametrize("seed", range(4))
def test_errors_that_pass_are_not_even_told(tmp_path: Path, faulty: Store, seed: int) -> None:
    FaultyFileSystem.behave(seed, rate=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [get(tmp_path / name, faulty.url)[1] for name in "abc"] == [1, 0, 0]
    assert FaultyFileSystem.faults


def _other_machine(root: Path, url: str, begun: Any, go_on: Any) -> None:
    """Computes the first recipe until it is told to go on, and is at the second one then."""

    def compute() -> Arrays:
        begun.release()
        assert go_on.acquire(timeout=600)
        return Counting()()

    cache = FeatureCache(root, url)
    for version in (1, 2):
        cache.get({**RECIPE, "version": version}, compute)


def test_a_machine_waits_for_another_one_until_that_has_ended_or_is_dead(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("spawn")
    begun, go_on = context.Semaphore(0), context.Semaphore(0)
    process = context.Process(target=_other_machine, args=(tmp_path / "a", url, begun, go_on))
    process.start()
    assert begun.acquire(timeout=600) and process.pid is not None
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        go_on.release()
        threading.Event().wait(0.02)

    monkeypatch.setattr(shared.time, "sleep", wait)
    assert get(tmp_path / "b", url)[1] == 0
    assert waits
    # With its second permit it would go on: it is killed before.
    while go_on.acquire(block=False):
        pass
    assert begun.acquire(timeout=600)
    os.kill(process.pid, signal.SIGKILL)
    process.join(600)
    monkeypatch.setattr(lease, "DEAD", 0.2)
    compute = Counting()
    FeatureCache(tmp_path / "b", url).get({**RECIPE, "version": 2}, compute)
    assert compute.calls == 1
    assert {name.partition("/")[0] for name in Store(url).names()} == {"features"}


# Trainings.


def same(first: TrialResult, second: TrialResult) -> bool:
    return (
        (first.values, first.diverged_at) == (second.values, second.diverged_at)
        and first.tensors.keys() == second.tensors.keys()
        and all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())
    )


def never(given: Any, folder: Path | None) -> TrialResult:
    raise AssertionError("trained again")


def test_a_finished_trial_is_trained_on_no_other_machine(tmp_path: Path, store: Store) -> None:
    grid = [GIVEN, {"rate": 0.2, "poison": 3}]
    first = Trials(tmp_path / "a", CASE, store.url).map(trained, grid, stage="search")
    second = Trials(tmp_path / "b", CASE, store.url).map(never, grid, stage="search")
    plain = Trials(tmp_path / "c", CASE).map(trained, grid, stage="search")
    assert all(map(same, first, second)) and all(map(same, first, plain))
    assert second[1].diverged_at == 4
    # Two results, one of which has tensors; no lease and no state stays.
    assert sorted(name.rpartition(".")[2] for name in store.names()) == ["json", "json", "safetensors"]


def untimed(data: bytes) -> dict[str, object]:
    """What a result says, without what two trainings of one trial differ in."""
    return {name: value for name, value in json.loads(data).items() if name not in ("seconds", "checksum")}


@pytest.mark.parametrize("part", ["json", "safetensors"])
def test_a_damaged_trial_is_told_trained_again_and_replaced(tmp_path: Path, url: str, part: str) -> None:
    whole = Trial(trained, GIVEN, CASE, "search", tmp_path / "a", url).run()
    (name,) = (name for name in Store(url).names() if name.endswith(part))
    data = Store(url).read(name)
    assert data is not None
    Store(url).write(name, data[:-7])
    with pytest.warns(CacheWarning, match=f"damaged result .*came from {url}, where it is replaced") as told:
        assert same(Trial(trained, GIVEN, CASE, "search", tmp_path / "b", url).run(), whole)
    again = Store(url).read(name)
    assert len(told) == 1 and again is not None
    assert (untimed(again) == untimed(data)) if part == "json" else (again == data)
    assert same(Trial(never, GIVEN, CASE, "search", tmp_path / "c", url).run(), whole)


def test_a_grid_leaves_for_last_what_another_machine_is_at(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "POLL", 0.01)
    grid = [{"rate": 0.1}, {"rate": 0.2}]
    key = Trial(trained, grid[0], CASE, "search", None).key
    other = lease.Lease(Store(url), f"leases/{key}", beat=1e6)
    assert other.take()
    order = []

    def train(given: Any, folder: Path | None) -> TrialResult:
        order.append(given["rate"])
        if given["rate"] == 0.2:
            other.release(remove=True)
        return trained(given, folder)

    Trials(tmp_path, CASE, url).map(train, grid, stage="search")
    assert order == [0.2, 0.1]


@pytest.fixture
def pushed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_state, "PUSH_SECONDS", 0.0)
    monkeypatch.setattr(shared_state, "_LOOK_SECONDS", 0.005)
    monkeypatch.setattr(shared, "POLL", 0.01)


class TakenAwayError(Exception):
    pass


def taken_away(url: str, at: int) -> Any:
    """A training whose machine goes before a step, once the store has its state."""

    def train(given: Any, folder: Path | None) -> TrialResult:
        toy, look = Toy(given["rate"]), threading.Event()

        def before(number: int) -> None:
            if number == at:
                for _ in range(3000):
                    if any(name.endswith("state.pt") for name in Store(url).names("trials/")):
                        raise TakenAwayError
                    look.wait(0.01)

        toy.before = before
        toy.run(folder, begun_with=given)
        raise AssertionError("no state came")

    return train


def test_a_training_goes_on_on_another_machine(tmp_path: Path, url: str, pushed_at_once: None) -> None:
    with pytest.raises(TakenAwayError):
        Trial(taken_away(url, 14), GIVEN, CASE, "search", tmp_path / "a", url).run()
    steps = []

    def goes_on(given: Any, folder: Path | None) -> TrialResult:
        toy = Toy(given["rate"])
        toy.before = steps.append
        log = toy.run(folder, begun_with=given)
        return TrialResult({"rate": given["rate"], "losses": [line["loss"] for line in log]}, toy.model.state_dict())

    found = Trial(goes_on, GIVEN, CASE, "search", tmp_path / "b", url).run()
    assert steps and steps[0] > 0 and len(steps) < PLAN.steps
    assert same(found, Trial(trained, GIVEN, CASE, "search", None).run())
    assert not any(name.endswith(".pt") for name in Store(url).names())


def test_the_state_of_another_kind_of_machine_is_told_and_left(tmp_path: Path, url: str, pushed_at_once: None) -> None:
    with pytest.raises(TakenAwayError):
        Trial(taken_away(url, 14), GIVEN, CASE, "search", tmp_path / "a", url).run()

    def elsewhere(given: Any, folder: Path | None) -> TrialResult:
        toy = Toy(given["rate"])
        toy.run(folder, begun_with={**given, "device": "another"})
        return TrialResult(None, toy.model.state_dict())

    with pytest.warns(CacheWarning, match=r"was begun with device .* training it from its beginning"):
        found = Trial(elsewhere, GIVEN, CASE, "search", tmp_path / "b", url).run()
    plain = Trial(elsewhere, GIVEN, CASE, "search", tmp_path / "c").run()
    assert same(found, plain)
    # One's own is still an error: it says what to do with it.
    Trial(trained, GIVEN, CASE, "last", tmp_path / "d").run()
    folder = tmp_path / "d" / Trial(trained, GIVEN, CASE, "search", None).key
    Toy(0.1).run(folder, begun_with=GIVEN)
    with pytest.raises(TrainingError, match="was begun with device"):
        Trial(elsewhere, GIVEN, CASE, "search", tmp_path / "d", url + "/other").run()


def test_a_url_that_cannot_be_used_is_told_before_anything_runs(tmp_path: Path) -> None:
    import sslbench

    (tmp_path / "file").touch()
    settings = sslbench.Settings(cache_dir=f"file://{tmp_path}/file/store")
    for call in (sslbench.extract, sslbench.evaluate):
        with pytest.raises(StoreError, match="could not write"):
            call("pixels", "digits" if call is sslbench.extract else "knn/digits", settings=settings)


def test_scores_are_the_same_with_a_store_and_by_a_second_machine(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sslbench

    tables = []
    for local, cache in (("a", str(tmp_path / "plain")), ("b", url), ("c", url)):
        monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / local))
        table = sslbench.evaluate("pixels", "knn/digits", settings=sslbench.Settings(cache_dir=cache))
        tables.append(json.loads(table[["task", "score", "value", "stderr", "n"]].to_json()))
    assert tables[0] == tables[1] == tables[2]
    assert not list((tmp_path / "a").rglob("*")) and list((tmp_path / "c/features").rglob("*.safetensors"))
