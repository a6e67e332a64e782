"""The two ways a path is solved."""

from __future__ import annotations

import pytest

from sslbench.logistic import solve


@pytest.fixture(params=["by-size", "directions"])
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As the size has it, which for most problems here is Newton's method on all weights, or always by directions."""
    if request.param == "directions":
        monkeypatch.setattr(solve, "is_small", lambda rows, loss: False)
    name: str = request.param
    return name
