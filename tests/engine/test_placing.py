"""Which cases hand their grids over."""

from __future__ import annotations

import pytest

from sslbench.config import Settings
from sslbench.engine.engines.local import ENGINE
from sslbench.engine.placing import place
from sslbench.engine.settings import read_engine_settings
from sslbench.engine.worker import Order
from sslbench.tasks import parse_task

TASKS = [parse_task(name) for name in ("knn/digits", "finetune/digits")]


@pytest.mark.parametrize(
    ("shared", "url", "handed"), [("yes", "", True), ("no", "", False), ("no", "s3://bucket/cache", True)]
)
def test_a_grid_is_handed_over_where_its_results_can_be_told_to_others(shared: str, url: str, handed: bool) -> None:
    template = Order("", TASKS[0], Settings(shared_cache=url))
    settings = read_engine_settings(ENGINE, [f"shared={shared}"])
    knn, tuned = place([("zoo:simclr", task) for task in TASKS], template, settings, gpus=False)
    assert (knn.order.hand_over, tuned.order.hand_over) == (False, handed)
