"""Clusters of this machine for the tests of engines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ray_cluster() -> Iterator[Callable[..., Any]]:
    """Makes a cluster: the cores of each of its machines, and environment variables of its workers."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    import ray

    made: list[Any] = []

    def make(*cores: int, **variables: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
            # Workers import what this process imports.
            patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
            for name, value in variables.items():
                patch.setenv(name, value)
            small = {"object_store_memory": 100 << 20}
            cluster = cluster_utils.Cluster(
                initialize_head=True, head_node_args={"num_cpus": cores[0], "include_dashboard": False, **small}
            )
            made.append(cluster)
            for count in cores[1:]:
                cluster.add_node(num_cpus=count, **small)
        return cluster

    yield make
    ray.shutdown()
    for cluster in made:
        cluster.shutdown()
