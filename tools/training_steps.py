"""What the comparisons of whole training steps with bare ones share: the parts that are timed, and the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sslbench.datasets import Images, Targets
from sslbench.environment import cpu_model
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.protocols.base import Part
from sslbench.training.loop import Learner, Plan, Step, train


def part_of(images: Images, targets: Targets, folder: Path, device: str = "cpu") -> Part:
    """A split of which pictures are asked for at their own size alone."""
    return Part(
        images, targets, features=None, unreadable=lambda rows: None, shown=None, maps=None,
        originals=lambda side: open_originals(
            images, side, extraction="fast", pictures=Pictures(folder, 1 << 33), device=device
        ),
    )  # type: ignore[arg-type]  # fmt: skip


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes, until a GPU has done what it was given."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def rates(
    learner: Learner, batch: int, steps: int, timer: Callable[[Callable[[], object]], float] = seconds
) -> dict[str, float]:
    """Pictures a second of each part."""
    return {what: batch * steps / timer(part) for what, part in parts(learner, steps).items()}


def rounds(learner: Learner, batch: int, steps: int, repeats: int) -> dict[str, list[float]]:
    """Pictures a second of each part, in each round; a first step of each is not counted."""
    found: dict[str, list[float]] = {}
    rates(learner, batch, 1)
    for _ in range(repeats):
        for what, value in rates(learner, batch, steps).items():
            found.setdefault(what, []).append(value)
    return found


def print_table(found: dict[str, list[float]], told: str) -> None:
    """told: what was run; processor, threads and torch are added."""
    print(f"{told}; {cpu_model()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| what | pictures/s, median (least to most) |\n| --- | ---: |")
    for what, values in found.items():
        print(f"| {what} | {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}) |")
    ratios = [bare / whole for bare, whole in zip(found["bare step"], found["whole step"], strict=True)]
    print(
        f"| time of a whole step / bare step | {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
    )


def parts(learner: Learner, steps: int) -> dict[str, Callable[[], None]]:
    """What is compared: each does so many steps, or what belongs to them, when it is called."""
    return {
        "whole step": partial(_whole_steps, learner, steps),
        "bare step": _bare_steps(learner, steps),
        "batches alone": partial(_batches_alone, learner, steps),
    }


def _whole_steps(learner: Learner, steps: int) -> None:
    """As a case has them, but that nothing is kept."""
    plan = Plan(steps, min(10, steps))
    train(learner, plan, schedule=lambda progress: 1.0, begun_with={}, bfloat16=False, advance=lambda *_: None)


def _bare_steps(learner: Learner, steps: int) -> Callable[[], None]:
    """The same steps on batches that are there already: those that `_whole_steps` draws."""
    batches: list[Any] = [learner.batch(Step(number, 0.0, torch.Generator())) for number in range(steps)]
    learner.model.train()

    def run() -> None:
        for batch in batches:
            learner.optimiser.zero_grad()
            learner.loss(batch).backward()  # type: ignore[no-untyped-call]
            learner.optimiser.step()

    return run


def _batches_alone(learner: Learner, steps: int) -> None:
    """Drawn, resized, padded, normalised, with what is true of them."""
    for number in range(steps):
        learner.batch(Step(number, 0.0, torch.Generator()))
