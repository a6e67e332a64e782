"""Schedules against torch's own."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, PolynomialLR, SequentialLR

from sslbench.training.schedules import cosine, poly, warmup_cosine

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


def test_poly_has_the_studys_rates() -> None:
    """Golden values of 13,500 steps from 0.02: the first two, half of it, the last; set after a step, all come one later."""
    steps = 13_500
    wanted = {0: 0.02, 1: 0.01999867, 6750: 0.01071773, 13_499: 3.83e-6}
    for step, rate in wanted.items():
        assert 0.02 * poly(step / steps, steps=steps, power=0.9) == pytest.approx(rate, rel=1e-3, abs=5e-9)
        if step + 1 < steps:
            assert 0.02 * poly((step + 1) / steps, steps=steps, power=0.9, lag=1) == pytest.approx(
                rate, rel=1e-3, abs=5e-9
            )
    assert 0.02 * poly(0.0, steps=steps, power=0.9, lag=1) == 0.02


def test_poly_is_torchs(optimiser: torch.optim.Optimizer) -> None:
    expected = rates(PolynomialLR(optimiser, STEPS, power=0.9))
    found = [poly(step / STEPS, steps=STEPS, power=0.9) for step in range(STEPS)]
    assert found == pytest.approx(expected, abs=1e-12)
    warm = [poly(step / STEPS, steps=STEPS, power=0.9, warmup=4) for step in range(STEPS)]
    assert warm == pytest.approx([min(1, (step + 1) / 4) * rate for step, rate in enumerate(expected)], abs=1e-12)
