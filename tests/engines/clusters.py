"""Clusters of several Rays on this machine, and the engine on them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from sslbench.engine.base import Ended, engine_spec
from sslbench.engine.engines.ray import RayEngine

ROOT = Path(__file__).parents[2]
# A hundred megabytes for objects on each machine.
SMALL = {"object_store_memory": 100 << 20}


def make_cluster(*cores: int, **variables: str) -> Any:
    """A cluster with so many cores on each of its machines; variables: of its workers' environment."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers import what this process imports.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        for name, value in variables.items():
            patch.setenv(name, value)
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": cores[0], "include_dashboard": False, **SMALL}
        )
        for count in cores[1:]:
            cluster.add_node(num_cpus=count, **SMALL)
    return cluster


def start(folder: Path, **options: Any) -> RayEngine:
    """The engine with its defaults but for `options`."""
    spec = engine_spec("ray")
    engine = spec.start({name: option.default for name, option in spec.options.items()} | options, folder)
    assert isinstance(engine, RayEngine)
    # A job that died before it was up could not have said where it was.
    ray.get(engine._board.remote.all.remote(), timeout=240)
    return engine


def drain(engine: RayEngine, count: int, seconds: float = 240.0) -> dict[str, Ended]:
    """The ends of so many jobs, by name."""
    ended: dict[str, Ended] = {}
    until = time.monotonic() + seconds
    while len(ended) < count and time.monotonic() < until:
        ended |= {one.name: one for one in engine.collect(1.0)}
    assert len(ended) == count
    return ended
