"""Several processes on one device: two cases side by side, and a grid's trials that two processes share with one cache."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from compare_extraction import make_pictures, source_of
from compare_training import learner_of

from gpu_checks.bench import Bench, Found
from gpu_checks.process import Process
from gpu_checks.steps import SMALL
from sslbench.config import Settings
from sslbench.runner import Case, Runner
from sslbench.tasks import expand_tasks
from sslbench.training.loop import Plan, train
from sslbench.training.trial_result import TrialResult
from sslbench.training.trials import Trials

CASES = (("zoo:simclr", "linear/world-texture"), ("zoo:mae", "linear/digits"))
SMALL_CASES = (("pixels", "knn/digits"), ("pixels", "linear/digits"))
RATES = (0.01, 0.001)


@contextmanager
def _processes(device: str) -> Iterator[tuple[Process, Process]]:
    both = Process(device), Process(device)
    try:
        for each in both:
            # What a process needs before it can begin is not counted.
            each.ask(partial(_ready, device))
        for each in both:
            each.answer()
        yield both
    finally:
        for each in both:
            each.end()


def _ready(device: str) -> None:
    torch.ones(8, 8, device=device).matmul(torch.ones(8, 8, device=device)).sum().item()


def sharing(bench: Bench, found: Found) -> None:
    """Two cases, each alone and then side by side, on a half of the memory each."""
    cases = SMALL_CASES if bench.small else CASES
    with tempfile.TemporaryDirectory() as below, _processes(bench.device) as both:

        def work(place: int, when: str) -> Callable[[], Mapping[str, Any]]:
            return partial(run_case, *cases[place], Path(below) / f"{when}{place}", bench.device)

        alone = []
        for place, process in enumerate(both):
            for when in ("warm", "alone"):
                process.ask(work(place, when))
                answer = process.answer()
            alone.append(answer)
        start = time.perf_counter()
        for place, process in enumerate(both):
            process.ask(work(place, "beside"))
        beside = [process.answer() for process in both]
        took = time.perf_counter() - start
    for (backbone, task), one, other in zip(cases, alone, beside, strict=True):
        name = f"{backbone} {task}"
        found.row(f"{name}: alone", "s", [one[1]])
        found.row(f"{name}: beside the other", "s", [other[1]])
        if other[2]:
            found.row(f"{name}: peak memory", "GiB", [other[2] / 2**30])
        found.expect(one[0] == other[0], f"{name}: {other[0]} beside the other, {one[0]} alone")
    found.row("one after the other / side by side", "x", [sum(answer[1] for answer in alone) / took])


def run_case(backbone: str, task: str, cache: Path, device: str) -> Mapping[str, Any]:
    """The scores of a case that nothing is kept of."""
    runner = Runner(Settings(cache_dir=cache, device=device))
    record = runner.prepare(Case(backbone, expand_tasks((task,), "embedded")[0])).execute()
    return record.scores


def trials(bench: Bench, found: Found) -> None:
    """A grid of two trainings: in one process, and in two that share its folder and its pictures."""
    steps, batch = (2, 8) if bench.small else (40, 64)
    name = SMALL if bench.small else "random-init:resnet50"
    with tempfile.TemporaryDirectory() as text, _processes(bench.device) as both:
        below = Path(text)
        files = make_pictures(below, 2 * batch, *((96, 72) if bench.small else (500, 375)))
        grid = partial(run_grid, name, files, steps, batch, bench.device)
        serial, parallel = partial(grid, below / "serial"), partial(grid, below / "shared")
        both[0].ask(serial)
        expected, seconds, _ = both[0].answer()
        start = time.perf_counter()
        for process in both:
            process.ask(parallel)
        (ours, _, peak), (theirs, _, _) = (process.answer() for process in both)
        took = time.perf_counter() - start
        begun = (below / "shared" / "begun.txt").read_text().split()
    found.row("both trainings in one process", "s", [seconds])
    found.row("in two", "s", [took])
    found.row("one / two processes", "x", [seconds / took])
    found.row("processes that trained", "1", [len(set(begun))])
    if peak:
        found.row("peak memory of one process", "GiB", [peak / 2**30])
    found.expect(len(begun) == len(RATES), f"{len(begun)} trainings were begun for a grid of {len(RATES)}")
    found.expect(ours == theirs, "the two processes have other results")
    found.expect(ours == expected, f"two processes give {ours}, one {expected}")


def run_grid(name: str, files: list[Path], steps: int, batch: int, device: str, folder: Path) -> list[Any]:
    """Values of each trial, and the sums of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    one = partial(_train, name, files, steps, batch, device, folder)
    grid = [{"rate": rate, "steps": steps} for rate in RATES]
    results = Trials(folder / "trials", {"case": name}).map(one, grid, stage="search")
    return [(result.values, float(result.tensors["sums"].sum())) for result in results]


def _train(
    name: str, files: list[Path], steps: int, batch: int, device: str, folder: Path, hyperparameters: Any, state: Any
) -> TrialResult:
    with (folder / "begun.txt").open("a") as log:
        log.write(f"{os.getpid()}\n")
    learner = learner_of(name, source_of(files), device, folder / "pictures", batch=batch)
    rate = hyperparameters["rate"]
    log = train(
        learner,
        Plan(steps, steps),
        schedule=lambda progress: rate / RATES[0],
        begun_with={},
        folder=state,
        bfloat16=False,
    )
    sums = torch.stack([each.detach().double().sum() for each in learner.model.parameters()])
    return TrialResult({"loss": log[-1]["loss"]}, {"sums": sums.cpu()})
