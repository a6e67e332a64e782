"""Schedules against torch's own."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, SequentialLR

from sslbench.training.schedules import cosine, warmup_cosine

STEPS = 40


def rates(scheduler: LRScheduler) -> list[float]:
    """The rate of each step."""
    found = []
    for _ in range(STEPS):
        found.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return found


@pytest.fixture
def optimiser() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def test_cosine_is_torchs(optimiser: torch.optim.Optimizer) -> None:
    expected = rates(CosineAnnealingLR(optimiser, STEPS))
    assert [cosine(step / STEPS) for step in range(STEPS)] == pytest.approx(expected, abs=1e-12)
    assert cosine(1.0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("warm", [1, 10])
def test_warm_up_and_cosine_are_torchs(warm: int, optimiser: torch.optim.Optimizer) -> None:
    line = LambdaLR(optimiser, lambda step: step / warm)
    expected = rates(SequentialLR(optimiser, [line, CosineAnnealingLR(optimiser, STEPS - warm)], [warm]))
    found = [warmup_cosine(step / STEPS, warm / STEPS) for step in range(STEPS)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_without_warm_up_it_is_cosine() -> None:
    for step in range(STEPS + 1):
        assert warmup_cosine(step / STEPS, 0.0) == cosine(step / STEPS)
