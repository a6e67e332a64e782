"""Losses, residuals and curvature against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslbench.logistic.losses import BinaryLoss, Loss, SoftmaxLoss

N = 30


def softmax(weights: Tensor | None) -> tuple[Loss, Tensor, Tensor]:
    """The loss, logits (1, 4, n), and the plain loss of leaf logits."""
    target = torch.arange(N) % 4
    logits = 3 * torch.randn(1, 4, N, generator=torch.Generator().manual_seed(0))
    leaf = logits.double().requires_grad_()
    losses = torch.nn.functional.cross_entropy(leaf[0].T, target, reduction="none")
    value = (losses if weights is None else losses * weights).sum()
    value.backward()
    assert leaf.grad is not None
    return SoftmaxLoss(target, 4, weights), value.detach()[None], leaf.grad


def binary(weights: Tensor | None) -> tuple[Loss, Tensor, Tensor]:
    positive = torch.stack([torch.arange(N) % 2 == 0, torch.arange(N) % 3 == 0])
    leaf = (3 * torch.randn(2, 1, N, generator=torch.Generator().manual_seed(0))).double().requires_grad_()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(leaf[:, 0], positive.double(), reduction="none")
    value = (losses if weights is None else losses * weights).sum(1)
    value.sum().backward()
    assert leaf.grad is not None
    return BinaryLoss(positive, None if weights is None else weights.expand(2, -1)), value.detach(), leaf.grad


@pytest.mark.parametrize("weights", [None, torch.linspace(0, 2, N)], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", [softmax, binary])
def test_value_and_gradient(kind: object, weights: Tensor | None) -> None:
    loss, value, gradient = kind(weights)  # type: ignore[operator]
    logits = 3 * torch.randn(loss.groups, loss.rows, N, generator=torch.Generator().manual_seed(0))
    ours, residual = loss.evaluate(loss.relative(logits))
    torch.testing.assert_close(ours, value, rtol=1e-6, atol=0)
    torch.testing.assert_close(-loss.weigh(residual).double(), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [softmax, binary])
def test_curvature_is_the_derivative_of_the_gradient(kind: object) -> None:
    loss, _, _ = kind(None)  # type: ignore[operator]
    generator = torch.Generator().manual_seed(1)
    logits, change = (torch.randn(loss.groups, loss.rows, N, generator=generator) for _ in range(2))
    residual = loss.evaluate(loss.relative(logits))[1]
    curved = loss.curve(loss.curvature(residual), loss.relative(change)[:, None])[:, 0]
    step = 1e-2
    ahead, behind = (loss.evaluate(loss.relative(logits + sign * step * change))[1] for sign in (1, -1))
    torch.testing.assert_close(curved, (behind - ahead) / (2 * step), rtol=1e-2, atol=1e-4)


def test_separated_samples_keep_their_tiny_residuals() -> None:
    loss = SoftmaxLoss(torch.tensor([0, 1]), 2, None)
    logits = torch.tensor([[[40.0, 0.0], [0.0, 40.0]]])
    value, residual = loss.evaluate(loss.relative(logits))
    expected = float(torch.tensor(-40.0, dtype=torch.float64).exp())
    assert value.item() == pytest.approx(2 * expected, rel=1e-5)
    assert residual[0, :, 0].tolist() == pytest.approx([expected, -expected], rel=1e-5)
