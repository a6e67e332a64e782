"""How far from the optimum a point can be: Fenchel duality.

For residuals A = Y - P, with any probabilities P whose residuals add to zero over the samples in every row, weak duality gives

    F* >= D(A) = sum_i w_i entropy(P_i) - ||sum_i w_i A_i x_i^T||^2 / (2 penalty),

the constraint being that of the free intercept. With the P of a point (W, b) itself, F - D is ||gradient||^2 / (2 penalty).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.logistic.losses import Loss
from sslbench.logistic.objective import Model, Point

# Objectives are float64 sums of float32 terms, each good to a few units in the last place.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Dual:
    """A feasible dual point.

    residual: (G, r, n). products: sum_i w_i A_i x_i^T, (G, r d). imbalance: float64 (G, r), what float32 left of the sums
    over the samples.
    """

    residual: Tensor
    products: Tensor
    imbalance: Tensor


def own_dual(model: Model, penalty: float, point: Point) -> tuple[Dual, Tensor, Tensor]:
    """The point's own dual, the bound float64 (G,) on F - F* it gives, and the gradient (G r, d).

    Costs one product with the features.
    """
    residual, moved = balanced(model.loss, point.residual)
    weighted = model.loss.weigh(residual)
    imbalance = weighted.sum(2, dtype=torch.float64)
    products = model.rows.adjoint(weighted.reshape(-1, model.rows.n)).view(model.loss.groups, -1)
    gradient = penalty * model.weights(point).view_as(products) - products
    bound = gradient.double().square().sum(1) / (2 * penalty) + moved + charge(imbalance, point.intercept)
    return Dual(residual, products, imbalance), bound, gradient.view(-1, model.rows.d)


def combined_bound(model: Model, penalty: float, point: Point, duals: list[Dual]) -> Tensor:
    """The bound float64 (G,) on F - F* from a combination of duals of other penalties. Costs no product.

    Residuals shrink about in proportion to the penalty and the feasible ones form a convex set that holds zero; the weights are
    those that bring the products closest to penalty * W, where they are at the optimum.
    """
    target = penalty * model.weights(point).view(model.loss.groups, -1).double()
    basis = torch.stack([dual.products.double() for dual in duals], 1)
    gram = torch.bmm(basis, basis.transpose(1, 2))
    gram.diagonal(dim1=1, dim2=2).mul_(1 + 1e-12).add_(1e-300)
    share = torch.linalg.solve(gram, torch.bmm(basis, target[..., None])[..., 0]).clamp_min(0)
    share = share[..., None].float()
    residual = sum((share[:, j, :, None] * dual.residual for j, dual in enumerate(duals)), torch.zeros(()))
    # Scaled down where a probability would fall below zero; the largest entry is the one at a target.
    excess = residual.abs().amax((1, 2)).clamp_min(1).double()
    products = torch.bmm(share.double().transpose(1, 2), basis)[:, 0] / excess[:, None]
    imbalance = sum((share[:, j].double() * dual.imbalance for j, dual in enumerate(duals)), torch.zeros(()))
    entropy = model.loss.entropy(residual / excess[:, None, None].float())
    return point.value - entropy + products.square().sum(1) / (2 * penalty) + charge(imbalance, point.intercept)


def relative(bound: Tensor, value: Tensor) -> Tensor:
    """The bound as an upper estimate of (F - F*) / F*, float64 (G,): F* >= F - bound, and if that is not positive, infinity."""
    least = value - bound
    return torch.where(least > 0, bound.clamp_min(0) / least.clamp_min(1e-300), torch.inf) + ROUNDING


def balanced(loss: Loss, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals whose weighted sums over the samples vanish, and the bound's increase, float64 (G,).

    Newton's method in the intercepts, linearised in the probabilities, which stay positive since the steps are small.
    The increase is the divergence of the new probabilities from the point's.
    """
    hessian = loss.intercept_hessian(residual)
    increase = torch.zeros(loss.groups, dtype=torch.float64, device=residual.device)
    for _ in range(2):
        surplus = loss.weigh(residual).sum(2, dtype=torch.float64)
        shift = torch.linalg.solve(hessian, surplus).clamp(-0.25, 0.25)
        increase += (shift * surplus).sum(1)
        change = loss.relative(shift.float()[..., None].expand_as(residual))
        residual = residual - loss.curve(loss.curvature(residual), change[:, None])[:, 0]
    return residual, increase.abs()


def charge(imbalance: Tensor, intercept: Tensor) -> Tensor:
    """What an imbalance can add to the bound: it multiplies the intercepts, up to the constant that changes nothing."""
    intercept = intercept.double()
    centred = intercept - intercept.mean(1, keepdim=True) if intercept.shape[1] > 1 else intercept
    return imbalance.abs().sum(1) * centred.abs().amax(1)
