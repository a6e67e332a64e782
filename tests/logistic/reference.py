"""The objective in float64, written another way, and its optimum by a dense Newton method."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def objective(
    x: np.ndarray | Tensor,
    y: np.ndarray | Tensor,
    coef: Tensor,
    intercept: Tensor,
    penalty: float,
    weights: object = None,
) -> Tensor:
    """Sum of weighted log-losses plus penalty / 2 ||coef||^2, float64 (differentiable in coef and intercept)."""
    logits = torch.as_tensor(x).double() @ coef.double().T + intercept.double()
    losses = torch.nn.functional.cross_entropy(logits, torch.as_tensor(y).long(), reduction="none")
    if weights is not None:
        losses = losses * torch.as_tensor(weights).double()
    return losses.sum() + penalty / 2 * coef.double().square().sum()


def binary_objective(
    x: np.ndarray | Tensor,
    positive: np.ndarray | Tensor,
    coef: Tensor,
    intercept: Tensor,
    penalty: float,
    weights: object = None,
) -> Tensor:
    """The same for one binary problem: coef (d,), intercept ()."""
    logits = torch.as_tensor(x).double() @ coef.double() + intercept.double()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.as_tensor(positive).double(), reduction="none"
    )
    if weights is not None:
        losses = losses * torch.as_tensor(weights).double()
    return losses.sum() + penalty / 2 * coef.double().square().sum()


def optimum(x: np.ndarray, y: np.ndarray, penalty: float, *, classes: int, weights: np.ndarray | None = None) -> float:
    """The least objective, by Newton's method on all k (d + 1) parameters with halved steps and a falling penalty."""
    n, d = x.shape
    inputs = np.hstack([x.astype(np.float64) - x.astype(np.float64).mean(0), np.ones((n, 1))])
    w = np.ones(n) if weights is None else weights.astype(np.float64)
    onehot = np.eye(classes)[y]
    theta = np.zeros((classes, d + 1))
    ridge = np.append(np.ones(d), 0.0)

    def value(parameters: np.ndarray, strength: float) -> float:
        logits = inputs @ parameters.T
        margins = logits - logits[np.arange(n), y][:, None]
        margins[np.arange(n), y] = -np.inf
        top = np.maximum(margins.max(1), 0)
        others = np.exp(margins - top[:, None]).sum(1)
        losses = np.where(top > 0, top + np.log(np.exp(-top) + others), np.log1p(others))
        return float(w @ losses + strength / 2 * (ridge * parameters**2).sum())

    for strength in penalty * 10.0 ** np.arange(max(0, int(np.ceil(np.log10(1e3 / penalty)))), -1, -1):
        for _ in range(100):
            logits = inputs @ theta.T
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            gradient = ((p - onehot) * w[:, None]).T @ inputs + strength * ridge * theta
            hessian = np.zeros((classes, d + 1, classes, d + 1))
            for a in range(classes):
                for b in range(classes):
                    curvature = w * p[:, a] * ((a == b) - p[:, b])
                    hessian[a, :, b, :] = (inputs * curvature[:, None]).T @ inputs
                hessian[a, :, a, :] += np.diag(strength * ridge)
            size = classes * (d + 1)
            flat = hessian.reshape(size, size) + 1e-12 * np.trace(hessian.reshape(size, size)) / size * np.eye(size)
            step = -np.linalg.solve(flat, gradient.ravel()).reshape(theta.shape)
            decrement = -float((step * gradient).sum())
            before, length = value(theta, strength), 1.0
            while value(theta + length * step, strength) > before and length > 1e-8:
                length /= 2
            if length <= 1e-8:
                break
            theta = theta + length * step
            if decrement < 1e-11 * before:
                break
    return value(theta, penalty)
