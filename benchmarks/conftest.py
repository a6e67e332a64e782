"""Timings run when their file is named, and claims when they are asked for; neither with the cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.plugin.claims import wanted


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave test_speed.py and test_claims.py out unless something names them."""
    if collection_path.name == "test_claims.py":
        return None if wanted(config, collection_path) else True
    named = any("test_speed" in str(argument) for argument in config.args)
    return True if collection_path.name == "test_speed.py" and not named else None
