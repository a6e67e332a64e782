"""What a worker answers, and what it leaves in a shared folder."""

from __future__ import annotations

import pickle
import unittest
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from sslbench.backbones import register_backbone
from sslbench.config import Settings
from sslbench.engine.worker import Order, forget, probe, run
from sslbench.errors import CacheWarning, EngineError, NotInstalledError, RecordError
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.tasks import Task

KNN = Task("knn", "digits")


@pytest.fixture(autouse=True)
def _nothing_kept():
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def order(cache, tmp_path) -> Order:
    settings = Settings(cache_dir=cache, data_dir=tmp_path, results_dir=tmp_path, device="cpu")
    return Order("pixels", KNN, settings, run=tmp_path / "run", threads=1)


def by_value(order: Order) -> Order:
    return Order(order.backbone, order.task, order.settings, threads=1)


def told(record) -> dict:
    return {name: value for name, value in record.items() if name not in ("timings", "peak_memory", "created")}


def test_a_record_is_written_where_the_folder_is_shared_and_travels_otherwise(order):
    shared, carried = run(order), run(by_value(order))
    assert told(shared.record) == told(carried.record)
    assert shared.samples is None
    assert carried.samples is not None
    written = Run(order.run).read("pixels|knn/digits")
    assert written is not None
    assert Run(order.run).samples_sound(written)
    other = Run(order.run.parent / "other")
    other.check_writable()
    other.put_samples("pixels|knn/digits", carried.samples)
    assert other.samples_sound(Record.from_json(carried.record))
    assert pickle.loads(pickle.dumps(carried)) == carried


def test_a_record_that_is_there_is_not_made_again_unless_that_is_asked_for(order):
    first = run(order)
    again = run(order)
    assert not first.resumed
    assert again.resumed
    assert told(again.record) == told(first.record)
    assert not run(Order(**{**vars(order), "rerun": "all"})).resumed


def test_where_failed_ones_are_run_again_a_record_below_its_reference_does_not_count(order, monkeypatch):
    run(order)
    failed = Order(**{**vars(order), "rerun": "failed"})
    assert run(failed).resumed
    monkeypatch.setattr("sslbench.runner.verdict", lambda score, references: "below")
    assert run(order).resumed
    assert not run(failed).resumed


def test_a_full_disk_costs_no_record(order, monkeypatch):
    def full(self, case, content):
        raise RecordError(f"{case} cannot be written: no space left on device")

    monkeypatch.setattr(Run, "put_samples", full)
    answer = run(order)
    assert answer.failure is None
    assert answer.record is not None
    assert answer.samples is not None
    ((category, text),) = answer.warnings
    assert category is CacheWarning
    assert "no space left" in text
    assert not Run(order.run).record_path("pixels|knn/digits").exists()


class _Careless(nn.Module):
    input_size = 8

    def forward(self, images):
        warnings.warn("careless", FutureWarning, stacklevel=1)
        raise ArithmeticError("it does not add up")


class _Absent(nn.Module):
    def __init__(self):
        raise NotInstalledError("the package of this backbone is not installed")


def _exits():
    raise SystemExit("factories read no command line")


def _skips():
    pytest.skip("not on this machine")


def _skips_by_unittest():
    raise unittest.SkipTest("not on this machine")


def _fails():
    pytest.fail("not like this")


@pytest.mark.parametrize(
    ("factory", "kind", "error", "message"),
    [
        (_Careless, "case", "", "it does not add up"),
        (_Absent, "not-installed", "NotInstalledError", "is not installed"),
        (_exits, "case", "SystemExit", "factories read no command line"),
        (_skips, "skip", "Skipped", "not on this machine"),
        (_skips_by_unittest, "skip", "SkipTest", "not on this machine"),
        (_fails, "case", "Failed", "not like this"),
    ],
)
def test_what_goes_wrong_is_an_answer(order, registries, factory, kind, error, message):
    register_backbone("odd", factory)
    answer = run(Order(**{**vars(order), "backbone": "odd"}))
    assert answer.record is None
    assert answer.failure.kind == kind
    assert answer.failure.error.endswith(error)
    assert message in answer.failure.message
    assert pickle.loads(pickle.dumps(answer)) == answer


def test_a_name_that_is_known_only_to_the_session_is_told_so(order):
    failure = run(Order(**{**vars(order), "backbone": "somebody's"})).failure
    assert failure.error == "UnknownNameError"
    assert "where conftest.py is imported" in failure.message


@dataclass(frozen=True)
class _Check:
    found: tuple[str, ...] = ()

    def problems(self):
        return list(self.found)


@dataclass(frozen=True)
class _Project:
    def set_up(self):
        raise EngineError("conftest.py cannot be loaded on node7")


@pytest.mark.parametrize("work", [probe, run])
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"machine_check": _Check(("torch 2 here, 1 there", "no room"))}, "torch 2 here, 1 there\nno room"),
        ({"project": _Project()}, "conftest.py cannot be loaded on node7"),
    ],
)
def test_a_machine_that_will_not_do_is_told_before_anything_is_loaded(order, work, part, message):
    failure = work(Order(**{**vars(order), "backbone": "nobody's", **part})).failure
    assert (failure.kind, failure.message) == ("unfit", message)


def test_a_machine_that_will_do_has_nothing_to_say(order):
    answer = probe(Order(**{**vars(order), "machine_check": _Check()}))
    assert (answer.record, answer.failure) == (None, None)


def test_a_trial_that_the_case_has_not_is_an_error(order):
    failure = run(Order(**{**vars(order), "trial": "0" * 32})).failure
    assert "has no trial" in failure.message
