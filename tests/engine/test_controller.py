"""What the controller makes of an engine's answers and losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.engine.base import Ended, Job, Loss, Needs
from sslbench.engine.controller import MACHINE_LOSSES, Controller, Planned
from sslbench.engine.worker import Answer, Failure, Order, probe
from sslbench.errors import EngineError
from sslbench.results.references import read_records
from sslbench.results.runs import Run, describe_samples, pack_samples
from sslbench.tasks import Task

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "embedded.json"
DIED = Loss("worker", "killed by signal 9", "first line\nlast line\n")
LOST = Loss("machine", "node 3 is gone")


class Scripted:
    """An engine that answers by a function of the order, one job a call, in order of submission or backwards."""

    has_gpus = False

    def __init__(self, answer: Callable[[Order, int], Answer | Loss], places: list[str] = []) -> None:  # noqa: B006
        self.answer, self._places = answer, places
        self.jobs: list[Job] = []
        self.submitted: list[Job] = []
        self.begun: list[tuple[str, str]] = []
        self.tries: Counter[tuple[str, str]] = Counter()
        self.closed = 0
        self.most = 0

    def check(self, needs):
        pass

    def places(self):
        return self._places

    def submit(self, job):
        self.jobs.append(job)
        self.submitted.append(job)
        self.most = max(self.most, len(self.jobs))

    def collect(self, seconds):
        if not self.jobs:
            return []
        job = self.jobs.pop(0)
        order = job.argument
        key = (order.task.id, order.trial)
        self.tries[key] += 1
        self.begun.append(key)
        ended = Answer() if job.function is probe else self.answer(order, self.tries[key])
        loss = ended if isinstance(ended, Loss) else None
        return [Ended(job.name, None if loss else ended, loss, place="machine 1")]

    def running(self):
        return len(self.jobs)

    def close(self):
        self.jobs.clear()
        self.closed += 1


def planned(dataset: str, seconds: float = 1.0, shares: str = "", hand_over: bool = False) -> Planned:
    return Planned(Order("tiny", Task("knn", dataset), Settings(), hand_over=hand_over), Needs(), seconds, shares)


def controller(engine: Scripted, tmp_path: Path) -> Controller:
    return Controller(engine, Run(tmp_path))


def name(dataset: str) -> str:
    return f"tiny|knn/{dataset}"


def failed(order: Order, number: int) -> Answer:
    return Answer(failure=Failure("case", "DataError", "no data"))


def test_the_most_expensive_case_goes_first(tmp_path):
    engine = Scripted(failed)
    one = controller(engine, tmp_path)
    one.submit([planned("a", 1), planned("b", 3), planned("c", 2)])
    for case in "abc":
        assert one.wait_for(name(case)).failure.message == "no data"
    assert [task for task, _ in engine.begun] == ["knn/b", "knn/c", "knn/a"]


def test_a_record_and_its_samples_are_written_by_whoever_waits(tmp_path):
    record = read_records(BASELINE)[0]
    content = pack_samples({"targets": np.arange(3)})
    data = {**record.to_json(), "samples": describe_samples(record.case, content)}
    protocol, _, rest = record.task["id"].partition("/")
    case = Planned(Order(record.backbone["name"], Task(protocol, *rest.split("/", 1)), Settings()), Needs())
    one = controller(Scripted(lambda order, number: Answer(data, content)), tmp_path)
    one.submit([case])
    answer = one.wait_for(record.case)
    assert answer.failure is None
    written = Run(tmp_path).read(record.case)
    assert written is not None
    assert written.to_json() == data
    assert Run(tmp_path).samples_sound(written)


def test_a_record_without_a_finite_score_is_kept_and_fails_its_case(tmp_path):
    record = read_records(BASELINE)[0].to_json()
    record["scores"][record["main_score"]]["value"] = None
    protocol, _, rest = record["task"]["id"].partition("/")
    case = Planned(Order(record["backbone"]["name"], Task(protocol, *rest.split("/", 1)), Settings()), Needs())
    one = controller(Scripted(lambda order, number: Answer(record, b"samples")), tmp_path)
    one.submit([case])
    assert "no finite value" in one.wait_for(case.name).failure.message
    assert Run(tmp_path).record_path(case.name).exists()


def test_of_cases_that_share_features_the_shortest_runs_first_and_alone(tmp_path):
    done = Answer()
    engine = Scripted(lambda order, number: done)
    one = controller(engine, tmp_path)
    one.submit([planned("a", 5, "x"), planned("b", 1, "x"), planned("c", 2, "x"), planned("d", 4)])
    # The group weighs most; of it one job is on its way, beside the case that shares nothing.
    assert [job.argument.task.dataset for job in engine.jobs] == ["b", "d"]
    for case in "abcd":
        one.wait_for(name(case))
    assert [task for task, _ in engine.begun] == ["knn/b", "knn/d", "knn/a", "knn/c"]


def test_followers_go_where_the_first_was(tmp_path):
    engine = Scripted(lambda order, number: Answer())
    one = controller(engine, tmp_path)
    one.submit([planned("a", 1, "x"), planned("b", 2, "x")])
    one.wait_for(name("a"))
    assert [(job.argument.task.dataset, job.near) for job in engine.jobs] == [("b", "machine 1")]


def test_when_the_first_fails_the_next_one_makes_the_features(tmp_path):
    engine = Scripted(lambda order, number: failed(order, number) if order.task.dataset == "a" else Answer())
    one = controller(engine, tmp_path)
    one.submit([planned("a", 1, "x"), planned("b", 2, "x"), planned("c", 3, "x")])
    assert one.wait_for(name("a")).failure is not None
    assert len(engine.jobs) == 1
    assert one.wait_for(name("b")).failure is None
    assert one.wait_for(name("c")).failure is None


def test_a_case_that_kills_its_worker_three_times_fails_alone_with_its_log(tmp_path):
    engine = Scripted(lambda order, number: DIED if order.task.dataset == "a" else Answer())
    one = controller(engine, tmp_path)
    one.submit([planned("a"), planned("b")])
    message = one.wait_for(name("a")).failure.message
    assert engine.tries["knn/a", ""] == 3
    assert "died 3 times" in message
    assert "killed by signal 9" in message
    assert "last line" in message
    assert one.wait_for(name("b")).failure is None


@pytest.mark.parametrize("loss", [DIED, LOST])
def test_a_case_whose_worker_is_lost_once_is_run_again(tmp_path, loss):
    engine = Scripted(lambda order, number: loss if number == 1 else Answer())
    one = controller(engine, tmp_path)
    one.submit([planned("a")])
    assert one.wait_for(name("a")).failure is None
    assert engine.tries["knn/a", ""] == 2


def test_lost_machines_are_not_the_case_s_doing(tmp_path):
    engine = Scripted(lambda order, number: LOST if number < MACHINE_LOSSES else Answer())
    one = controller(engine, tmp_path)
    one.submit([planned("a")])
    assert one.wait_for(name("a")).failure is None
    engine = Scripted(lambda order, number: LOST)
    one = controller(engine, tmp_path)
    one.submit([planned("a")])
    assert "lost 10 times" in one.wait_for(name("a")).failure.message


def grid(order: Order, number: int) -> Answer | Loss:
    """A case of three trials: it hands them over until they have run."""
    if order.trial:
        return Answer()
    return Answer(trials=("k1", "k2", "k3")) if number == 1 else Answer()


def test_trials_run_side_by_side_and_the_case_after_them(tmp_path):
    engine = Scripted(grid)
    one = controller(engine, tmp_path)
    one.submit([planned("a", hand_over=True)])
    one.wait_for(name("a"))
    assert engine.begun == [("knn/a", ""), ("knn/a", "k1"), ("knn/a", "k2"), ("knn/a", "k3"), ("knn/a", "")]
    assert engine.most == 3


def test_a_trial_that_fails_fails_its_case_once_the_others_have_ended(tmp_path):
    def answer(order: Order, number: int) -> Answer | Loss:
        return failed(order, number) if order.trial == "k2" else grid(order, number)

    engine = Scripted(answer)
    one = controller(engine, tmp_path)
    one.submit([planned("a", hand_over=True)])
    assert one.wait_for(name("a")).failure.message == "no data"
    assert ("knn/a", "k3") in engine.begun


def test_a_trial_s_deaths_are_counted_for_themselves(tmp_path):
    def answer(order: Order, number: int) -> Answer | Loss:
        return DIED if order.trial and number < 3 else grid(order, number)

    one = controller(Scripted(answer), tmp_path)
    one.submit([planned("a", hand_over=True)])
    assert one.wait_for(name("a")).failure is None


def test_a_failed_case_is_run_again_when_it_is_submitted_again_and_another_is_not(tmp_path):
    engine = Scripted(lambda order, number: failed(order, number) if number == 1 else Answer())
    one = controller(engine, tmp_path)
    for _ in range(3):
        one.submit([planned("a")])
        one.wait_for(name("a"))
    assert engine.tries["knn/a", ""] == 2


def test_a_machine_that_cannot_run_any_case_ends_it_all(tmp_path):
    engine = Scripted(lambda order, number: Answer(failure=Failure("unfit", "EngineError", "torch 1 here, 2 there")))
    one = controller(engine, tmp_path)
    one.submit([planned("a"), planned("b")])
    with pytest.raises(EngineError, match="torch 1 here, 2 there"):
        one.wait_for(name("a"))
    assert engine.closed
    assert not engine.jobs


def test_a_case_that_finds_a_shared_gpu_full_gets_one_to_itself(tmp_path):
    full = Answer(failure=Failure("case", "OutOfMemoryError", "CUDA out of memory"))
    engine = Scripted(lambda order, number: full if number == 1 else Answer())
    one = controller(engine, tmp_path)
    case = planned("a")
    one.submit([Planned(case.order, Needs(gpus=0.25))])
    assert one.wait_for(name("a")).failure is None
    assert [job.needs.gpus for job in engine.submitted] == [0.25, 1.0]


def test_with_a_whole_gpu_or_none_no_memory_is_a_failure(tmp_path):
    full = Answer(failure=Failure("case", "OutOfMemoryError", "CUDA out of memory"))
    one = controller(Scripted(lambda order, number: full), tmp_path)
    one.submit([Planned(planned("a").order, Needs(gpus=1.0)), Planned(planned("b").order, Needs())])
    assert one.wait_for(name("a")).failure is not None
    assert one.wait_for(name("b")).failure is not None


def test_every_machine_that_is_known_is_looked_at_before_anything_is_submitted(tmp_path):
    engine = Scripted(failed, places=["n1", "n2"])
    one = controller(engine, tmp_path)
    one.check([planned("a")])
    assert sum(engine.tries.values()) == 2


def test_closing_keeps_what_has_ended(tmp_path):
    record = read_records(BASELINE)[0]
    protocol, _, rest = record.task["id"].partition("/")
    case = Planned(Order(record.backbone["name"], Task(protocol, *rest.split("/", 1)), Settings()), Needs())
    one = controller(Scripted(lambda order, number: Answer(record.to_json(), b"samples")), tmp_path)
    one.submit([case])
    one.close()
    one.close()
    assert Run(tmp_path).record_path(record.case).exists()


def test_trials_whose_results_cannot_be_kept_are_not_handed_over_again(tmp_path):
    def answer(order: Order, number: int) -> Answer | Loss:
        return Answer(trials=("k1", "k2")) if order.hand_over else Answer()

    engine = Scripted(answer)
    one = controller(engine, tmp_path)
    one.submit([planned("a", hand_over=True)])
    assert one.wait_for(name("a")).failure is None
    assert engine.begun == [("knn/a", ""), ("knn/a", "k1"), ("knn/a", "k2"), ("knn/a", ""), ("knn/a", "")]


def test_a_second_grid_of_a_case_is_handed_over_too(tmp_path):
    grids = {1: Answer(trials=("k1", "k2")), 2: Answer(trials=("l1", "l2"))}
    engine = Scripted(lambda order, number: Answer() if order.trial else grids.get(number, Answer()))
    one = controller(engine, tmp_path)
    one.submit([planned("a", hand_over=True)])
    assert one.wait_for(name("a")).failure is None
    assert [trial for _, trial in engine.begun] == ["", "k1", "k2", "", "l1", "l2", ""]


def test_each_trial_that_finds_a_shared_gpu_full_gets_one_to_itself(tmp_path):
    full = Answer(failure=Failure("case", "OutOfMemoryError", "CUDA out of memory"))
    engine = Scripted(
        lambda order, number: full if order.trial in ("k1", "k2") and number == 1 else grid(order, number)
    )
    one = controller(engine, tmp_path)
    one.submit([Planned(planned("a", hand_over=True).order, Needs(gpus=0.5))])
    assert one.wait_for(name("a")).failure is None
    assert engine.tries["knn/a", "k1"] == engine.tries["knn/a", "k2"] == 2


def test_an_engine_that_fails_is_waited_for_no_longer(tmp_path):
    def broken(order: Order, number: int) -> Answer:
        raise ValueError("cannot pickle that")

    engine = Scripted(broken)
    one = controller(engine, tmp_path)
    one.submit([planned("a"), planned("b")])
    with pytest.raises(EngineError, match="cannot pickle that"):
        one.wait_for(name("a"))
    assert engine.closed
    with pytest.raises(EngineError, match="not on its way"):
        one.wait_for(name("b"))


def test_a_run_that_was_lost_is_submitted_to_no_more(tmp_path):
    def lost() -> None:
        if engine.begun:
            raise EngineError("it was taken over")

    engine = Scripted(lambda order, number: Answer(trials=("k1", "k2")))
    one = Controller(engine, Run(tmp_path), check_claim=lost)
    one.submit([planned("a", hand_over=True), planned("b")])
    with pytest.raises(EngineError, match="it was taken over"):
        one.wait_for(name("a"))
    # What came of the first one, and of what had ended by then, was followed by nothing.
    assert engine.closed and len(engine.begun) == 2 and len(engine.submitted) == 4
    with pytest.raises(EngineError, match="not on its way"):
        one.wait_for(name("b"))


def test_an_engine_that_is_gone_can_be_closed(tmp_path):
    def gone(order: Order, number: int) -> Answer:
        raise EngineError("the head is gone")

    engine = Scripted(gone)
    one = controller(engine, tmp_path)
    one.submit([planned("a"), planned("b")])
    one.close()
    assert engine.closed


def test_closing_begins_nothing(tmp_path):
    record = read_records(BASELINE)[0]
    protocol, _, rest = record.task["id"].partition("/")
    case = Planned(Order(record.backbone["name"], Task(protocol, *rest.split("/", 1)), Settings()), Needs(), 0.5, "x")
    engine = Scripted(lambda order, number: Answer(record.to_json(), b"samples"))
    one = controller(engine, tmp_path)
    one.submit([case, planned("a", 1, "x")])
    one.close()
    assert Run(tmp_path).record_path(record.case).exists()
    assert len(engine.submitted) == 1


def test_what_its_trials_say_is_told_of_the_case(tmp_path):
    def answer(order: Order, number: int) -> Answer | Loss:
        if order.trial == "k2":
            return Answer(
                failure=Failure("case", "DataError", "no data"), host="node 7", warnings=((UserWarning, "odd"),)
            )
        return Answer(warnings=((UserWarning, "even"),)) if order.trial else grid(order, number)

    one = controller(Scripted(answer), tmp_path)
    one.submit([planned("a", hand_over=True)])
    found = one.wait_for(name("a"))
    assert found.host == "node 7"
    assert found.warnings == ((UserWarning, "even"), (UserWarning, "odd"))
