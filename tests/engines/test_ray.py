"""The engine `ray` on clusters of several Rays on this machine."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray")

from sslbench.engine.base import Ended, Job, Needs  # noqa: E402
from sslbench.engine.engines.ray import RayEngine  # noqa: E402
from sslbench.errors import EngineError  # noqa: E402
from tests.engines import jobs  # noqa: E402
from tests.engines.clusters import drain, make_cluster, start  # noqa: E402
from tests.engines.processes import wait_until  # noqa: E402


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RayEngine, Path]]:
    """One engine on three machines for the tests that leave it as it was."""
    cluster = make_cluster(2, 2, 2)
    folder = tmp_path_factory.mktemp("run")
    engine = start(folder, address=cluster.address)
    yield engine, folder
    engine.close()
    cluster.shutdown()


@pytest.fixture
def engine(shared: tuple[RayEngine, Path]) -> RayEngine:
    return shared[0]


def test_jobs_answer_by_value_from_everywhere(engine: RayEngine) -> None:
    places = engine.places()
    assert len(places) == len(set(places)) == 3
    assert not engine.has_gpus
    for place in places:
        engine.submit(Job(place, jobs.echo, {"asked": place}, near=place, only=True))
    engine.submit(Job("large", jobs.array, 5_000_000))
    ended = drain(engine, 4)
    assert {ended[place].place for place in places} == set(places)
    assert all(ended[place].answer == {"asked": place} and ended[place].place == place for place in places)
    large = ended["large"].answer
    np.testing.assert_array_equal(large, np.arange(5_000_000, dtype=np.float32))
    # Ray's own objects are views of its store, which cannot be written and are kept as long as somebody holds one.
    assert large.flags.writeable
    assert engine.collect(0.0) == []


def test_earlier_jobs_come_first(engine: RayEngine, tmp_path: Path) -> None:
    place, told = engine.places()[0], tmp_path / "told"
    for number in range(8):
        engine.submit(Job(f"{number}", jobs.note, (str(told), f"{number}", 0.05), Needs(cpus=2), near=place, only=True))
    drain(engine, 8)
    assert told.read_text().split() == [f"{number}" for number in range(8)]


def test_near_is_a_wish(engine: RayEngine) -> None:
    place = engine.places()[2]
    engine.submit(Job("alone", jobs.echo, 0, near=place))
    assert drain(engine, 1)["alone"].place == place
    # It has two cores: the third job goes elsewhere and does not wait there.
    for number in range(3):
        engine.submit(Job(f"{number}", jobs.sleep, 3.0, near=place))
    assert len({one.place for one in drain(engine, 3).values()}) > 1
    engine.submit(Job("gone", jobs.echo, 1, near="elsewhere/00000000"))
    assert drain(engine, 1)["gone"].answer == 1


def test_only_there_or_lost(engine: RayEngine) -> None:
    engine.submit(Job("gone", jobs.echo, 0, near="elsewhere/00000000", only=True))
    loss = drain(engine, 1)["gone"].loss
    assert loss is not None and loss.cause == "machine" and "elsewhere/00000000" in loss.why


def test_threads_follow_needs_in_a_process_that_had_others(engine: RayEngine) -> None:
    place = engine.places()[0]
    for number, cpus in enumerate((1.0, 2.0, 0.5, 2.0)):
        engine.submit(Job(f"{number}", jobs.threads, None, Needs(cpus=cpus), near=place, only=True))
        assert drain(engine, 1)[f"{number}"].answer == (f"{max(1, int(cpus))}", max(1, int(cpus)))


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        (Needs(gpus=1), "1 GPUs, 1 cores; it has"),
        (Needs(cpus=3), "0 GPUs, 3 cores"),
        (Needs(memory=1 << 50), "and 1125899.9 GB"),
        (Needs(gpus=1.5), "a fraction of one: gpus=1.5"),
    ],
)
def test_needs_that_are_never_met(needs: Needs, told: str, engine: RayEngine) -> None:
    engine.check([Needs(cpus=2, memory=1 << 20)])
    with pytest.raises(EngineError, match=told):
        engine.check([Needs(), needs])


def test_what_jobs_write_stays_there(shared: tuple[RayEngine, Path], capfd: pytest.CaptureFixture[str]) -> None:
    engine, folder = shared
    engine.submit(Job("talk", jobs.talk, "many words"))
    assert drain(engine, 1)["talk"].answer == "many words"
    assert not list((folder / "logs").iterdir())
    assert "words" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_process_that_dies(
    number: signal.Signals, shared: tuple[RayEngine, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    engine, folder = shared
    engine.submit(Job(f"dies/of {number}", jobs.die, int(number)))
    engine.submit(Job("lives", jobs.sleep, 1.0))
    ended = drain(engine, 2)
    loss = ended[f"dies/of {number}"].loss
    assert loss is not None and loss.cause == "worker" and "its process died" in loss.why
    assert "last words" in loss.log
    assert ("Segmentation fault" in loss.log and "jobs.py" in loss.log) == (number == signal.SIGSEGV)
    assert ended[f"dies/of {number}"].place in engine.places()
    assert ended["lives"].loss is None
    assert [path.name.startswith("dies_of") for path in (folder / "logs").iterdir()].count(True) >= 1
    assert "".join(capfd.readouterr()) == ""
    for path in (folder / "logs").iterdir():
        path.unlink()


def test_a_process_that_is_told_to_end_answers_nothing(engine: RayEngine) -> None:
    engine.submit(Job("told", jobs.survive, int(signal.SIGTERM)))
    loss = drain(engine, 1)["told"].loss
    assert loss is not None and loss.cause == "worker"


def test_a_log_that_only_its_machine_sees(engine: RayEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "_logs", tmp_path / "not there")
    engine.submit(Job("dies", jobs.die, int(signal.SIGKILL)))
    with monkeypatch.context() as patch:
        # As where /tmp is another machine's.
        patch.setattr("sslbench.engine.ray_board._read_log", lambda path: None)
        loss = drain(engine, 1)["dies"].loss
    assert loss is not None and "last words" in loss.log


def test_an_exception_is_raised_and_the_rest_is_not_lost(engine: RayEngine) -> None:
    engine.submit(Job("fails", jobs.fail, "nonsense"))
    engine.submit(Job("other", jobs.echo, 3))
    ended: list[Ended] = []
    raised = 0
    until = time.monotonic() + 30
    while len(ended) + raised < 2 and time.monotonic() < until:
        try:
            ended += engine.collect(1.0)
        except ValueError as error:
            assert str(error) == "nonsense"
            raised += 1
    assert raised == 1 and [one.answer for one in ended] == [3]


def test_what_a_worker_cannot_import_is_told(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def work(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    engine.submit(Job("here", only_here.work, 0))
    ended = drain(engine, 1)["here"]
    assert ended.loss is not None and ended.loss.cause == "unfit" and ended.place in engine.places()
    assert re.search(r"cannot run sslbench's jobs \(.*No module named 'only_here'\); install", ended.loss.why)


def test_a_second_engine_of_this_process_leaves_the_cluster(engine: RayEngine, tmp_path: Path) -> None:
    second = start(tmp_path)
    second.submit(Job("sleeps", jobs.sleep, 60.0))
    wait_until(lambda: second.running() == 1)
    second.close()
    second.close()
    engine.submit(Job("lives", jobs.echo, 1))
    assert drain(engine, 1)["lives"].answer == 1
