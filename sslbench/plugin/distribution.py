"""How cases are spread over xdist workers: one backbone's cases stay together where there are enough backbones."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from sslbench.plugin.state import STATE
from sslbench.tasks import case_id


class BackboneScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out one backbone's cases as a unit, so that one worker loads it; every other test is its own unit."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        state = config.stash[STATE]
        self._backbone = {
            case_id(backbone, task, with_protocol=with_protocol): backbone
            for backbone in state.backbones
            for task in state.tasks
            for with_protocol in (False, True)
        }

    def _split_scope(self, nodeid: str) -> str:
        case = nodeid.partition("[")[2].removesuffix("]")
        return self._backbone.get(case, nodeid)
