"""The parts of the path solver against plain linear algebra in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sslbench.logistic import newton
from sslbench.logistic import products as products_module
from sslbench.logistic.certificate import own_dual
from sslbench.logistic.features import Source
from sslbench.logistic.losses import BinaryLoss, Loss, SoftmaxLoss
from sslbench.logistic.newton import Newton, Preconditioner
from sslbench.logistic.objective import Model
from sslbench.logistic.principal import SIZE, Head, leading_directions
from sslbench.logistic.products import Rows
from sslbench.logistic.result import Work


def decaying(n: int, d: int, seed: int = 0) -> Tensor:
    """Features (n, d) whose variances fall by directions at random, off the origin."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator))[0]
    return torch.randn(n, d, generator=generator) * torch.arange(1, d + 1) ** -0.7 @ rotation + 3


def rows_of(x: Tensor) -> Rows:
    return Rows(Source(x), x.device, Work(), resident_bytes=1 << 30)


@pytest.mark.parametrize("wide", [True, False], ids=["avx512", "other"])
@pytest.mark.parametrize("columns", [1, 10, 60])
@pytest.mark.parametrize("n", [40, 2_600])
def test_narrow_products_in_every_form(n: int, columns: int, wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products_module, "_WIDE_VECTORS", wide)
    generator = torch.Generator().manual_seed(n + columns)
    x, weights, residual = (
        torch.randn(*shape, generator=generator) for shape in ((n, 70), (columns, 70), (columns, n))
    )
    logits, products = torch.full((columns, n + 5), torch.nan), torch.ones(columns, 70)
    products_module.narrow_forward(weights, x, logits[:, 5:])
    products_module.narrow_add_adjoint(residual, x, products)
    np.testing.assert_allclose(logits[:, 5:], weights.double() @ x.double().T, atol=1e-4)
    np.testing.assert_allclose(products, 1 + residual.double() @ x.double(), atol=1e-3)


def test_leading_directions_hold_almost_the_variance_of_the_principal_ones() -> None:
    rows = rows_of(decaying(1_500, 120))
    vectors, variances = leading_directions(rows, 20)
    assert rows.resident is not None
    centred = rows.resident.double().numpy()
    best = np.linalg.svd(centred, compute_uv=False)[:20] ** 2 / len(centred)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(20), atol=1e-5)
    np.testing.assert_allclose(variances, ((centred @ vectors.double().numpy().T) ** 2).mean(0), rtol=1e-4)
    assert variances.sum() > 0.98 * best.sum()
    assert (variances.diff() <= 0).all()


@pytest.mark.parametrize("d", [SIZE // 2, SIZE + 30, 600])
def test_the_tails_newton_step_divides_by_its_covariance_model(d: int) -> None:
    rows = rows_of(decaying(2_000, d))
    head = Head(rows)
    tail = head.tail
    vectors, variances = tail._vectors.double(), tail._variances.double()
    assert len(vectors) == min(max(d - SIZE, 0), 2_000 // 32)
    if d == 600:
        assert rows.resident is not None
        centred, known = rows.resident.double(), torch.cat([head.vectors.double(), vectors])
        left = centred - centred @ known.T @ known
        assert tail._elsewhere == pytest.approx(float(left.square().sum()) / len(left) / (d - len(known)), rel=0.25)
    covariance = vectors.T @ torch.diag(variances - tail._elsewhere) @ vectors + tail._elsewhere * torch.eye(d)
    gradient, weight = (
        torch.randn(3, d, generator=torch.Generator().manual_seed(1)),
        torch.tensor([[0.0], [5.0], [700.0]]),
    )
    got = tail.newton(gradient, weight, 0.1)
    for row, direction, own in zip(gradient, got, weight, strict=True):
        expected = torch.linalg.solve(own.double() * covariance + 0.1 * torch.eye(d), row.double())
        np.testing.assert_allclose(direction, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))


def example(n: int, *, binary: bool = False) -> tuple[Model, Loss]:
    """A model of 24 features and 5 classes, or 3 binary problems of which one has few positives."""
    x = decaying(n, 24)
    target = (x[:, :5] + 2 * torch.randn(n, 5, generator=torch.Generator().manual_seed(2))).argmax(1)
    loss = (
        BinaryLoss(torch.stack([target == 0, target == 1, x[:, 3] > x[:, 3].quantile(0.97)]), None)
        if binary
        else SoftmaxLoss(target, 5, None)
    )
    return Model(rows_of(x), loss, capacity=4), loss


@pytest.mark.parametrize("binary", [False, True], ids=["softmax", "binary"])
@pytest.mark.parametrize("n", [500, 8 * newton._SAMPLES])
def test_the_preconditioner_inverts_each_rows_own_hessian(n: int, binary: bool) -> None:
    model, loss = example(n, binary=binary)
    size, penalty = model.head.size, 0.3
    head = torch.randn(loss.groups, loss.rows, size, generator=torch.Generator().manual_seed(3)) / 4
    point = model.point(penalty, torch.zeros(loss.groups, 0), head, loss.prior)
    inverse = Preconditioner(model, penalty, point.residual)
    ones = torch.ones(1, n)
    features = torch.cat([model.head.features, ones]).double()
    weights = loss.diagonal(point.residual).double().view(-1, n)
    units = torch.eye(size + 1).expand(loss.groups, loss.rows, -1, -1)
    images = torch.stack([inverse(units[..., i, :]) for i in range(size + 1)], -1).view(-1, size + 1, size + 1)
    for weight, image in zip(weights, images.double(), strict=True):
        hessian = (features * weight) @ features.T + penalty * torch.diag(torch.tensor([1.0] * size + [0.0])).double()
        spectrum = torch.linalg.eigvals(image @ hessian).real
        if n >= 8 * newton._SAMPLES:
            assert 0.6 < float(spectrum.min()) < float(spectrum.max()) < 1.6
        else:
            np.testing.assert_allclose(image, torch.diag(1 / hessian.diagonal()), rtol=1e-4)


@pytest.mark.parametrize("binary", [False, True], ids=["softmax", "binary"])
def test_intercepts_are_settled_where_the_penalty_hides_all_else(binary: bool) -> None:
    """At such a penalty no gradient in the weights is large enough to matter, and what is left adds to the gap."""
    model, loss = example(600, binary=binary)
    shifted = loss.prior + torch.linspace(0, 0.5, loss.groups * loss.rows).view_as(loss.prior) + 0.2
    point = model.point(1e7, torch.zeros(loss.groups, 0), torch.zeros(loss.groups, loss.rows, model.head.size), shifted)
    allowed = 1e-5 * point.value
    assert (own_dual(model, 1e7, point)[1] > 20 * allowed).any()
    settled = Newton(model).settle(1e7, point, allowed)
    assert (own_dual(model, 1e7, settled)[1] < 3 * allowed).all()


@pytest.mark.parametrize("binary", [False, True], ids=["softmax", "binary"])
def test_no_residual_is_subnormal(binary: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    target = torch.arange(400) % 3
    loss: Loss = BinaryLoss((target == 0)[None], None) if binary else SoftmaxLoss(target, 3, None)
    logits = 40 * torch.randn(1, loss.rows, 400, generator=generator)
    value, residual = loss.evaluate(loss.relative(logits))
    size = residual.abs()
    assert (size == 0).any()
    assert size[size > 0].min() > 1e-31
    exact = logits[0].double()
    sign = torch.where(target == 0, 1.0, -1.0)
    losses = torch.log1p((-sign * exact[0]).exp()) if binary else exact.logsumexp(0) - exact.gather(0, target[None])[0]
    assert float(value) == pytest.approx(float(losses.sum()), rel=1e-5)
