"""Hand-made records."""

from __future__ import annotations

import pytest

from tests.results.conftest import MakeRecord, build


@pytest.fixture
def make_record() -> MakeRecord:
    return build
