"""The two ways a path is solved."""

from __future__ import annotations

import pytest

from sslbench.probes import solve


@pytest.fixture(params=["by-size", "directions"])
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As the size has it, which is Newton's method on all weights for most of the small problems here, or by directions always."""
    if request.param == "directions":
        monkeypatch.setattr(solve, "is_small", lambda rows, loss: False)
    name: str = request.param
    return name
