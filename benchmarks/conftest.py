"""Timings run when their file is named, not with the cases."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave test_speed.py out unless an argument names it."""
    named = any("test_speed" in str(argument) for argument in config.args)
    return True if collection_path.name == "test_speed.py" and not named else None
