"""Machines that cannot run any case: left out where an engine can do without them, and otherwise the end."""

from __future__ import annotations

import pytest

from sslbench.engine import unfit_machines
from sslbench.engine.base import Ended, Loss, Needs
from sslbench.engine.controller import Controller, Planned
from sslbench.engine.worker import Answer, Failure
from sslbench.errors import EngineError
from sslbench.results.runs import Run
from tests.engine.test_controller import Scripted, name, planned

OTHER = "torch 1 where pytest was started, 2 on {}"


class Machines(Scripted):
    """An engine that deals its jobs to places as they are when a job is submitted.

    unfit: how jobs end at some of the places, a text for a machine that says why it will not do; None for no end.
    """

    def __init__(self, places: list[str], unfit: dict[str, str | Loss | None]) -> None:
        super().__init__(lambda order, number: Answer(), places)
        self.unfit = unfit
        self.excluded: list[str] = []
        self.sent: list[tuple[str, str]] = []

    def places(self):
        return [place for place in self._places if place not in self.excluded]

    def exclude(self, place):
        self.excluded.append(place)

    def submit(self, job):
        places = self.places()
        self.sent.append((job.name, job.near if job.only else places[len(self.sent) % len(places)]))
        super().submit(job)

    def collect(self, seconds):
        where = dict(self.sent)
        ended = []
        for one in super().collect(seconds):
            said = self.unfit.get(where[one.name], "")
            if isinstance(said, Loss):
                ended.append(Ended(one.name, loss=said, place=where[one.name]))
            elif said is not None:
                answer = Answer(failure=Failure("unfit", "EngineError", said)) if said else one.answer
                ended.append(Ended(one.name, answer, place=where[one.name]))
        return ended


def controller(engine, tmp_path):
    told: list[tuple[str, str]] = []
    return Controller(engine, Run(tmp_path), warn=lambda place, why: told.append((place, why))), told


def test_cases_run_on_the_others_and_the_machine_is_told_once(tmp_path):
    engine = Machines(["n1", "n2", "n3"], {"n2": OTHER.format("n2")})
    one, told = controller(engine, tmp_path)
    cases = [planned(case) for case in "abcd"]
    one.check(cases)
    one.submit(cases)
    assert all(one.wait_for(case.name).failure is None for case in cases)
    assert told == [("n2", OTHER.format("n2"))]
    assert {where for job, where in engine.sent if job.startswith("tiny")} == {"n1", "n3"}


def test_where_none_is_sound_all_are_told_and_nothing_is_submitted(tmp_path):
    engine = Machines(["n1", "n2"], {place: OTHER.format(place) for place in ("n1", "n2")})
    one, told = controller(engine, tmp_path)
    with pytest.raises(EngineError) as raised:
        one.check([planned("a")])
    assert str(raised.value).split("\n") == [OTHER.format("n1"), OTHER.format("n2")]
    assert not told
    assert engine.closed
    assert len(engine.sent) == 2


def test_what_only_a_machine_could_run_that_is_left_out(tmp_path):
    class Gpu(Machines):
        def check(self, needs):
            if any(need.gpus for need in needs) and "n2" in self.excluded:
                raise EngineError("no machine has a GPU")

    one, _ = controller(Gpu(["n1", "n2"], {"n2": OTHER.format("n2")}), tmp_path)
    with pytest.raises(EngineError, match=f"{OTHER.format('n2')}\nwithout n2: no machine has a GPU"):
        one.check([Planned(planned("a").order, Needs(gpus=1.0))])


@pytest.mark.parametrize("how", [OTHER.format("n2"), Loss("unfit", OTHER.format("n2"))])
def test_one_that_joins_later_is_found_out_by_the_first_job_there(tmp_path, how):
    engine = Machines(["n1"], {})
    one, told = controller(engine, tmp_path)
    cases = [planned(case) for case in "abcd"]
    one.check(cases)
    engine._places.append("n2")
    engine.unfit["n2"] = how
    one.submit(cases)
    assert all(one.wait_for(case.name).failure is None for case in cases)
    # Two jobs were dealt to it before that was known.
    assert [where for _, where in engine.sent].count("n2") == 2
    assert told == [("n2", OTHER.format("n2"))]


class Unknown(Machines):
    """Its places are known once a job has been there; each job goes to the next one."""

    silent = False

    def places(self):
        return []

    def submit(self, job):
        self.sent.append((job.name, next(place for place in self._places if place not in self.excluded)))
        Scripted.submit(self, job)

    def check(self, needs):
        if self.silent or set(self.excluded) >= set(self._places):
            raise EngineError("no node is left")


def test_an_engine_that_does_not_know_its_places_says_whether_any_is_left(tmp_path):
    one, told = controller(Unknown(["n1", "n2"], {place: OTHER.format(place) for place in ("n1", "n2")}), tmp_path)
    one.submit([planned("a")])
    with pytest.raises(EngineError) as raised:
        one.wait_for(name("a"))
    texts = [OTHER.format("n1"), OTHER.format("n2"), "without n1, n2: no node is left"]
    assert str(raised.value).split("\n") == texts
    assert told == [("n1", OTHER.format("n1"))]


def test_what_is_wrong_with_all_does_not_go_through_all(tmp_path):
    places = [f"n{number}" for number in range(9)]
    engine = Unknown(places, {place: OTHER.format(place) for place in places})
    one, told = controller(engine, tmp_path)
    one.submit([planned("a")])
    with pytest.raises(EngineError, match="the first 3 machines that were tried will not do"):
        one.wait_for(name("a"))
    assert len(told) == 2
    assert len(engine.sent) == 3


def test_a_moments_silence_while_a_machine_is_left_out_does_not_end_a_session_that_runs(tmp_path):
    engine = Unknown(["n1", "n2"], {})
    one, told = controller(engine, tmp_path)
    one.submit([planned("a")])
    assert one.wait_for(name("a")).failure is None
    engine.silent = True
    engine.unfit["n1"] = OTHER.format("n1")
    one.submit([planned("b")])
    assert one.wait_for(name("b")).failure is None
    assert told == [("n1", OTHER.format("n1"))]


def test_answers_that_came_with_the_last_machines_end_are_kept(tmp_path):
    class Together(Machines):
        def collect(self, seconds):
            return [one for _ in range(2) for one in super(Together, self).collect(seconds)]

    engine = Together(["n1", "n2"], {"n1": OTHER.format("n1")})
    one, _ = controller(engine, tmp_path)
    one.submit([planned("a"), planned("b")])
    engine.excluded.append("n2")
    with pytest.raises(EngineError):
        one.wait_for(name("a"))
    assert one.wait_for(name("b")).failure is None


def test_one_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(unfit_machines, "_WAIT_SECONDS", 0.05)
    one, told = controller(Machines(["n1", "n2"], {"n2": None}), tmp_path)
    one.check([planned("a")])
    assert [place for place, why in told if why.startswith("look at n2: no answer within 0 s")] == ["n2"]


def test_one_whose_processes_die(tmp_path):
    engine = Machines(["n1", "n2"], {"n2": Loss("worker", "killed by signal 11", "last line\n")})
    one, told = controller(engine, tmp_path)
    one.check([planned("a")])
    assert told == [("n2", "look at n2: killed by signal 11; the end of its log:\n    last line")]
    one.submit([planned("b")])
    assert one.wait_for(name("b")).failure is None
