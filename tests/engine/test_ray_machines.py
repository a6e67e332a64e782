"""What is known of the machines of a Ray cluster, without a Ray."""

from __future__ import annotations

import sys
from types import SimpleNamespace

from sslbench.engine.ray_machines import Machines, place_of


def test_a_machine_that_has_just_come_can_be_left_out(monkeypatch):
    nodes = [{"NodeID": f"{number}" * 8, "NodeManagerHostname": "host", "Alive": True} for number in (1, 2)]
    shown = nodes[:1]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: shown))
    machines = Machines(grows=False)
    assert machines.alive() == shown
    shown = nodes
    machines.exclude(place_of(nodes[1]))
    assert machines.usable(0.0) == nodes[:1]
