"""A training that was interrupted, in whatever way, ends with the bits of an undisturbed one."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sslbench.errors import CacheWarning, DivergedError, TrainingError
from sslbench.training import loop
from sslbench.training.loop import Plan, train
from sslbench.training.schedules import cosine
from tests.training import toy
from tests.training.toy import PLAN, Toy


class Interrupted(Exception):
    pass


def interrupted(folder: Path, at: int, plan: Plan = PLAN) -> Toy:
    """A toy whose training ends before step `at`."""

    def stop(number: int) -> None:
        if number == at:
            raise Interrupted

    broken = Toy()
    broken.before = stop
    with pytest.raises(Interrupted):
        broken.run(folder, plan)
    return broken


def undisturbed(plan: Plan = PLAN) -> tuple[Toy, list[float]]:
    whole = Toy()
    return whole, [line["loss"] for line in whole.run(None, plan)]


def assert_same(resumed: Toy, whole: Toy) -> None:
    assert resumed.tensors().keys() == whole.tensors().keys()
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name


@pytest.mark.parametrize("group", [1, 4])
def test_a_resumed_training_equals_an_undisturbed_one(group: int, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, reseed_every=group)
    whole, losses = undisturbed(plan)
    at = random.randrange(PLAN.checkpoint_every, PLAN.steps)
    interrupted(tmp_path, at, plan)
    torch.manual_seed(at)  # what else the process does with the global generator does not matter
    resumed = Toy()
    log = resumed.run(tmp_path, plan)
    assert_same(resumed, whole)
    assert [line["loss"] for line in log] == losses
    # It went on, and from the last checkpoint.
    assert resumed.steps[0].number == at // PLAN.checkpoint_every * PLAN.checkpoint_every


def test_a_training_interrupted_at_every_checkpoint_equals_an_undisturbed_one(tmp_path: Path) -> None:
    for at in range(5, PLAN.steps, PLAN.checkpoint_every):
        interrupted(tmp_path, at)
    resumed = Toy()
    resumed.run(tmp_path)
    assert_same(resumed, undisturbed()[0])


def test_a_killed_process_leaves_a_training_that_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", toy.__name__, str(tmp_path), "14"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    resumed = Toy()
    resumed.run(tmp_path)
    assert resumed.steps[0].number == 12
    assert_same(resumed, undisturbed()[0])


def test_an_interrupt_while_the_state_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path, 9)
    before = (tmp_path / "state.pt").read_bytes()

    def cut_short(parts: object, path: Path) -> None:
        path.write_bytes(b"PK half of it")
        raise KeyboardInterrupt

    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(torch, "save", cut_short)
            Toy().run(tmp_path)
        assert (tmp_path / "state.pt").read_bytes() == before
        assert len(list(tmp_path.iterdir())) <= 3
    resumed = Toy()
    resumed.run(tmp_path)
    assert_same(resumed, undisturbed()[0])


def test_one_state_and_one_log_whatever_the_number_of_checkpoints(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    watched = Toy()
    watched.before = lambda number: seen.append({path.name for path in tmp_path.iterdir()})
    log = watched.run(tmp_path)
    assert set().union(*seen[PLAN.checkpoint_every :]) == {"state.pt", "log.jsonl"}
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == log and [line["step"] for line in lines] == [4, 8, 12, 16, 20, 22]


def test_a_full_disk_is_told_and_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(parts: object, path: Path) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file: no space")

    monkeypatch.setattr(torch, "save", full)
    tried = Toy()
    with pytest.warns(
        CacheWarning, match="could not store the state of the training in .*perhaps since the disk is full"
    ):
        assert len(tried.run(tmp_path)) == 6
    assert_same(tried, undisturbed()[0])


def test_a_finished_training_only_tells_its_log(tmp_path: Path) -> None:
    first = Toy().run(tmp_path)
    again = Toy()
    assert again.run(tmp_path) == first
    assert again.steps == []
    assert_same(again, undisturbed()[0])


def refused(folder: Path, task: Toy | None = None, plan: Plan = PLAN, **begun_with: object) -> str:
    task = task or Toy()
    before = {name: tensor.clone() for name, tensor in task.tensors().items()}
    with pytest.raises(TrainingError) as caught:
        task.run(folder, plan, {"task": "toy", **begun_with})
    assert task.steps == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.tensors().items())
    assert str(folder / "state.pt") in str(caught.value) and "remove it to start again" in str(caught.value)
    return str(caught.value)


def test_a_state_of_something_else_is_refused_with_what_differs(tmp_path: Path) -> None:
    interrupted(tmp_path, 9)
    assert "was begun with case None, not 'other'. Go on" in refused(tmp_path, case="other")
    assert "was begun with rate None, not 0.1. Go on" in refused(tmp_path, rate=0.1)
    assert "was begun with seed 5, not 6. Go on" in refused(tmp_path, plan=dataclasses.replace(PLAN, seed=6))
    told = refused(tmp_path, plan=dataclasses.replace(PLAN, steps=24, reseed_every=2))
    assert "was begun with reseed_every 1, not 2; steps 22, not 24. Go on" in told
    adam = Toy()
    adam.optimiser = torch.optim.AdamW(adam.model.parameters())
    assert "was begun with optimiser 'SGD', not 'AdamW'. Go on" in refused(tmp_path, adam)


def test_a_state_of_another_network_or_of_other_groups_is_refused(tmp_path: Path) -> None:
    interrupted(tmp_path, 9)
    wide = Toy()
    wide.model.layers[0] = torch.nn.Linear(7, 16)
    assert "holds the tensors of another network" in refused(tmp_path, wide)
    halves = Toy()
    halves.optimiser = torch.optim.SGD([{"params": [p]} for p in halves.model.parameters()], 0.1, momentum=0.9)
    assert "holds the state of another optimiser (" in refused(tmp_path, halves)


OF_TODAY = {"format": "sslbench-training-1", "begun_with": {}, "step": 4, "tensors": {}, "optimiser": {}, "log": []}


@pytest.mark.parametrize(
    "found",
    [
        [1],
        {"begun_with": {}, "tensors": {}, "optimiser": {}, "log": []},  # before steps were counted
        {**OF_TODAY, "format": "sslbench-training-2"},
        {**OF_TODAY, "step": "4"},
    ],
)
def test_a_state_of_another_format_is_refused(found: object, tmp_path: Path) -> None:
    torch.save(found, tmp_path / "state.pt")
    assert "is not the state of a training by this version" in refused(tmp_path)


def test_a_state_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 cut short")
    assert "is not the state of a training (" in refused(tmp_path)


def test_a_loss_that_is_not_finite_is_told_with_its_step_and_never_stored(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="the loss of step 11 is nan") as caught:
        Toy(poison=10).run(tmp_path)
    assert caught.value.step == 11
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 8
    travelled = pickle.loads(pickle.dumps(caught.value))
    assert travelled.step == 11 and str(travelled) == str(caught.value)


def test_weights_that_are_not_finite_after_the_last_step_are_told() -> None:
    torch.manual_seed(0)
    wild = Toy()
    last = wild.optimiser.step

    def step() -> None:
        last()
        if wild.steps[-1].number == PLAN.steps - 1:
            with torch.no_grad():
                wild.model.layers[4].bias[0] = float("inf")

    wild.optimiser.step = step
    with pytest.raises(DivergedError, match="a weight is not finite after step 22") as caught:
        wild.run(None)
    assert caught.value.step == 22


def test_rates_follow_the_schedule_from_each_groups_own_base() -> None:
    task = Toy()
    body, head = list(task.model.layers[0].parameters()), list(task.model.layers[4].parameters())
    task.optimiser = torch.optim.SGD([{"params": body, "lr": 0.01}, {"params": head, "lr": 0.5}])
    rates = []

    def loss(batch: tuple) -> torch.Tensor:
        rates.append([group["lr"] for group in task.optimiser.param_groups])
        return Toy.loss(task, batch)

    task.loss = loss
    train(task, Plan(10, 10), schedule=cosine, begun_with={})
    expected = [[base * cosine(number / 10) for base in (0.01, 0.5)] for number in range(10)]
    torch.testing.assert_close(torch.tensor(rates), torch.tensor(expected))


def test_every_step_draws_from_its_own_seed_and_every_group_from_its_own() -> None:
    def draws(plan: Plan) -> list[float]:
        task, drawn = Toy(), []
        task.batch = lambda step: (
            drawn.append(torch.rand((), generator=step.generator).item()),
            Toy.batch(task, step),
        )[1]
        task.run(None, plan)
        return drawn

    steps = draws(Plan(8, 8, seed=5))
    assert len(set(steps)) == 8 and steps == draws(Plan(8, 2, seed=5))
    assert steps[0] == torch.rand((), generator=torch.Generator().manual_seed(5 * 100_003 + 1)).item()
    assert steps[3] == torch.rand((), generator=torch.Generator().manual_seed(5 * 100_003 + 4)).item()
    groups = draws(Plan(8, 8, seed=5, reseed_every=4))
    assert groups[0] == steps[0] and groups[4] == steps[1] and groups[1] != steps[1]


def test_the_log_is_what_the_caller_makes_of_it_and_the_model_trains_on_after_being_looked_at() -> None:
    task, said, modes = Toy(), [], []
    task.before = lambda number: modes.append(task.model.training)

    def observe(line: loop.Line) -> loop.Line:
        task.model.eval()
        return {"epoch": line["step"] // 4, "loss": line["loss"]}

    log = train(task, PLAN, schedule=cosine, begun_with={}, observe=observe, say=said.append)
    assert [line["epoch"] for line in log] == [1, 2, 3, 4, 5, 5]
    assert said[0] == f"epoch 1  loss {log[0]['loss']:.5g}"
    assert all(modes)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_for_terminals(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    Toy().run(None)
    assert ("/22" in stream.getvalue()) == terminal


def test_cudnn_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.backends import cudnn

    monkeypatch.setattr(cudnn, "benchmark", True)
    task, found = Toy(), set()
    task.before = lambda number: found.add((cudnn.deterministic, cudnn.benchmark))
    task.run(None)
    assert found == {(True, False)}
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0; expected a positive multiple"),
        ({"reseed_every": 3}, r"checkpoint_every is 4; expected a positive multiple of reseed_every \(3\)"),
        ({"reseed_every": 0}, "reseed_every is 0; expected at least 1"),
        ({"steps": 200_000}, "reseed_every is 1; expected at least 1, and so many that"),
        ({"seed": -1}, "seed is -1; expected not a negative number"),
    ],
)
def test_a_plan_of_nothing(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(TrainingError, match=f"^{message}"):
        dataclasses.replace(PLAN, **numbers)


def test_progress_is_what_the_zoo_was_trained_with() -> None:
    for epochs, steps in ((24, 156), (7, 11)):
        plan = Plan(epochs * steps, steps, reseed_every=steps)
        for number in range(plan.steps):
            epoch, step = divmod(number, steps)
            assert plan.progress(number) == epoch / epochs + step / (steps * epochs)
    assert Plan(3, 3).progress(2) == 2 / 3


def test_a_training_on_the_cpu_opens_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*arguments: object) -> torch.Tensor:
        raise AssertionError("a GPU was opened")

    task = Toy()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("get_rng_state", "manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, opened)
    assert len(train(task, Plan(2, 1), schedule=cosine, begun_with={})) == 2


def test_a_training_on_a_gpu_draws_from_its_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    states, seeds, current = list[object](), list[tuple[object, int]](), list[object]()

    @contextlib.contextmanager
    def on(device: object) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: seeds.append((current[-1], seed)))
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states.append(device))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.append(device))
    second = torch.device("cuda", 1)
    with loop._repeatable(second):
        loop._seed(7, second)
        drawn = torch.rand(1)
    assert states == [second, second] and seeds == [(second, 7)]
    assert torch.equal(drawn, torch.rand(1, generator=torch.Generator().manual_seed(7)))
