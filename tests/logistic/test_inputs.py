"""One clear error for each kind of bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sslbench.errors import DataError, FeatureError
from sslbench.logistic import Start, binary_path, softmax_path

from .problems import gaussian

X, Y = gaussian(n=40, d=5)
MULTI = (np.arange(80).reshape(40, 2) % 3 == 0).astype(int)


def test_nan_names_the_first_bad_row() -> None:
    x = X.copy()
    x[7, 1] = np.nan
    x[30, 0] = np.inf
    with pytest.raises(FeatureError, match="row 7"):
        softmax_path(x, Y, [1.0])
    with pytest.raises(FeatureError, match="row 7"):
        binary_path(x, MULTI, [1.0])
    path = softmax_path(X, Y, [1.0])
    with pytest.raises(DataError, match="expected 5 columns"):
        next(path.decision(X[:, :4]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[:, 0]}, r"shape \(n, d\)"),
        ({"x": X.astype(int)}, "floats"),
        ({"x": X.tolist()}, "got list"),
        ({"x": X[:0]}, r"n, d >= 1"),
        ({"y": Y[:-1]}, r"shape \(40,\)"),
        ({"y": Y.astype(float)}, "integers"),
        ({"y": Y - 1}, "got -1"),
        ({"num_classes": 3}, "from 0 to 2"),
        ({"y": np.zeros(40, int)}, "two classes"),
        ({"sample_weight": (Y == 0).astype(float)}, "two classes"),
        ({"sample_weight": np.ones(39)}, "sample_weight"),
        ({"sample_weight": -np.ones(40)}, "not negative"),
        ({"lambdas": []}, "lambdas"),
        ({"lambdas": [1.0, 0.0]}, "positive"),
        ({"lambdas": [1.0, -1.0]}, "positive"),
        ({"lambdas": [np.nan]}, "positive"),
        ({"lambdas": [[1.0]]}, "one dimension"),
        ({"tol": 1e-9}, "tol"),
        ({"tol": 1.0}, "tol"),
        ({"start": Start(torch.zeros(4, 4), torch.zeros(4), 1.0)}, "start"),
    ],
)
def test_softmax(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        softmax_path(**{"x": X, "y": Y, "lambdas": [1.0], **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": MULTI[:, 0]}, "expected 1, 0 or -1"),
        ({"y": 2 * MULTI}, "expected 1, 0 or -1"),
        ({"y": MULTI[:-1]}, "one row for each row"),
        ({"y": 0 * MULTI}, "positive sample"),
        ({"y": 0 * MULTI + 1}, "negative sample"),
        ({"sample_weight": 1.0 - MULTI}, "positive sample"),
        ({"sample_weight": np.ones((40, 3))}, r"\(40, 2\)"),
        ({"sample_weight": np.ones((2, 40))}, r"\(n, r\)|\(40, r\)"),
    ],
)
def test_binary(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        binary_path(**{"x": X, "y": MULTI, "lambdas": [1.0], **arguments})
