"""Tests on clusters and servers of this machine, by several processes: `tox -e engines` runs them, with what they want."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# Elsewhere they are not collected, rather than skipped one by one.
collect_ignore_glob = [] if all(map(find_spec, ("ray", "submitit", "moto", "s3fs"))) else ["test_*.py"]


@pytest.fixture(autouse=True, scope="session")
def _no_worker_of_xdist() -> Iterator[None]:
    """Sessions that these tests start are none."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
            patch.delenv(name)
        yield
