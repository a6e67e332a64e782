"""The machines of a Ray cluster: what they have, and which of them a job may run on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sslbench.engine.base import Job, Needs
from sslbench.errors import EngineError

# How long the list of machines counts; asking costs a message to the head.
_NODES_SECONDS = 5.0
# Ray's own label of each machine.
_ID_LABEL = "ray.io/node-id"


class Machines:
    """The machines of the cluster that this process is connected to. A place is a machine's name and which Ray on it.

    grows: whether the cluster adds machines as they are asked for.
    """

    def __init__(self, grows: bool) -> None:
        self._grows = grows
        self._known: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._excluded: dict[str, None] = {}

    def alive(self, seconds: float = _NODES_SECONDS) -> list[dict[str, Any]]:
        """Ray's list of machines that are there, not older than `seconds`."""
        import ray

        asked, nodes = self._known
        if time.monotonic() - asked > seconds or not nodes:
            nodes = ray.nodes()
            self._known = time.monotonic(), nodes
        return [node for node in nodes if node["Alive"]]

    def usable(self, seconds: float = _NODES_SECONDS) -> list[dict[str, Any]]:
        """Those of them that were not excluded."""
        return [node for node in self.alive(seconds) if node["NodeID"] not in self._excluded]

    def exclude(self, place: str) -> None:
        """Have what is scheduled from now on run elsewhere."""
        self._excluded |= {node["NodeID"]: None for node in self.alive(0.0) if place_of(node) == place}

    def check(self, needs: Sequence[Needs]) -> None:
        """Raise EngineError where no machine of the cluster could ever meet some of these; all may, of one that grows."""
        for need in dict.fromkeys(needs):
            if need.gpus > 1 and need.gpus != int(need.gpus):
                raise EngineError(f"Ray gives whole GPUs, or a fraction of one: gpus={need.gpus:g} is neither")
            if not self._grows and not any(_meets(node, need) for node in self.usable(0.0)):
                raise EngineError(
                    f"no machine of the Ray cluster could ever run a job of {describe_needs(need)}; it has {self.summary()}. Ask "
                    "for less, add a machine, or say --sslbench-engine-options grows=yes where the cluster adds machines as they "
                    "are asked for"
                )

    def unmet(self, needs: Iterable[Needs]) -> list[Needs]:
        """Those that no machine could meet that is there now; none of a cluster that grows."""
        if self._grows:
            return []
        usable = self.usable()
        return [need for need in needs if not any(_meets(node, need) for node in usable)]

    def summary(self) -> str:
        """What the machines have, for people."""
        return "; ".join(map(_has, self.usable())) or "none"

    @property
    def has_gpus(self) -> bool:
        """Whether any machine has a GPU, as far as Ray knows."""
        return any(node["Resources"].get("GPU", 0) > 0 for node in self.usable())

    def places(self) -> list[str]:
        """The machines that have cores to give; a head without any never runs a job."""
        return [place_of(node) for node in self.usable(0.0) if node["Resources"].get("CPU", 0) > 0]

    def has_left(self, place: str) -> bool:
        """Whether a place is not there any more."""
        return place not in map(place_of, self.alive(0.0))

    def node_of(self, place: str) -> str:
        """Ray's id of a place; of another Ray on the same machine where that one is gone; empty where there is none."""
        alive = self.alive()
        host = place.rpartition("/")[0]
        same = [node["NodeID"] for node in alive if place_of(node) == place]
        return next(iter(same + [node["NodeID"] for node in alive if node["NodeManagerHostname"] == host]), "")

    def scheduling(self, job: Job) -> dict[str, Any] | None:
        """Ray's options for where a job runs; None where its only place is gone."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = self.node_of(job.near) if job.near else ""
        if job.only:
            return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)} if node else None
        options: dict[str, Any] = {}
        if self._excluded:
            options["label_selector"] = {_ID_LABEL: f"!in({','.join(self._excluded)})"}
        if node and node not in self._excluded:
            # A wish is no queue: where the place is full, the job runs elsewhere at once. Ray waits without the last argument.
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
        return options


def place_of(node: Mapping[str, Any]) -> str:
    """A machine's name, and which Ray on it: there may be several."""
    return place_name(node["NodeManagerHostname"], node["NodeID"])


def place_name(host: str, node: str) -> str:
    """node: Ray's id."""
    return f"{host}/{node[:8]}"


def describe_needs(need: Needs) -> str:
    """Needs for people."""
    memory = f" and {need.memory / 1e9:.1f} GB" if need.memory else ""
    return f"{need.gpus:g} GPUs, {need.cpus:g} cores{memory}"


def _meets(node: Mapping[str, Any], need: Needs) -> bool:
    has = node["Resources"]
    asked = {"CPU": need.cpus, "GPU": need.gpus, "memory": need.memory}
    return all(has.get(name, 0) >= amount for name, amount in asked.items())


def _has(node: Mapping[str, Any]) -> str:
    has = node["Resources"]
    gpus = f"{has.get('GPU', 0):g} GPUs, " if has.get("GPU") else "no GPU, "
    return f"{place_of(node)}: {gpus}{has.get('CPU', 0):g} cores, {has.get('memory', 0) / 1e9:.1f} GB"
