"""Registered sets, and one thread: beside other programs tiny steps on several wait for each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.conftest import Registries
from tests.protocols import dense, detecting
from tests.protocols.tuning import Sets


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tuned(registries: Registries) -> Sets:
    return Sets()


@pytest.fixture
def boxed(registries: Registries) -> detecting.Sets:
    return detecting.Sets()


@pytest.fixture
def mapped(registries: Registries) -> dense.Sets:
    return dense.Sets()
