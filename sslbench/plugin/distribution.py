"""How cases are spread over xdist workers: one backbone's cases stay together where there are enough backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScheduling, LoadScopeScheduling

from sslbench.errors import SslbenchError
from sslbench.names import is_glob
from sslbench.plugin.state import STATE, SessionState


class BackboneScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out one backbone's cases as a unit, so that one worker loads it; every other test is its own unit.

    log: xdist's own, which is silent but under --debug. backbones: of the cases, by the part of their node ids in brackets.
    """

    def __init__(self, config: pytest.Config, log: Any, backbones: Mapping[str, str]) -> None:
        super().__init__(config, log)
        self._backbone = backbones

    def _split_scope(self, nodeid: str) -> str:
        return self._backbone.get(_bracketed(nodeid), nodeid)


def keep_backbones_together(config: pytest.Config, ids: Sequence[str]) -> None:
    """Exchange xdist's scheduler when the first worker has collected cases of at least as many backbones as workers.

    With fewer backbones that would leave workers idle; then xdist's own `load` spreads the cases, and the cache's lock
    keeps features from being extracted twice. Another `--dist`, another plugin's scheduler and a session without cases are
    left alone, which is why this waits for the collection.
    """
    session: Any = config.pluginmanager.get_plugin("dsession")
    if type(session.sched) is not LoadScheduling or session.sched.node2collection:
        return
    backbones = _backbones_of(ids, config.stash[STATE])
    if len(set(backbones.values())) < session.sched.numnodes:
        return
    scheduler = BackboneScheduling(config, session.log, backbones)
    for node in session.sched.nodes:
        scheduler.add_node(node)
    session.sched = scheduler


def _backbones_of(ids: Sequence[str], state: SessionState) -> dict[str, str]:
    """The backbone of each case among the tests, by the bracketed part of its id.

    The controller collects nothing, so that it may not know every name that a worker knows: a backbone that is named counts
    as known, and cases of an unknown dataset are spread like other tests.
    """
    from sslbench.tasks import case_id, expand_tasks

    bracketed = {_bracketed(nodeid) for nodeid in ids}
    try:
        options = state.options
        tasks = expand_tasks(options.tasks, options.suite)
        endings = tuple(case_id("", task) for task in tasks)
        # To work out names may take importing timm, which only cases are worth.
        if not any(case.endswith(endings) for case in bracketed):
            return {}
        named = [name for name in options.backbones or () if not is_glob(name.partition("?")[0])]
        backbones = dict.fromkeys([*named, *state.names.matrix.backbones])
    except (SslbenchError, pytest.UsageError):
        # A worker says what is wrong, if it has cases.
        return {}
    cases = {
        case_id(backbone, task, with_protocol=with_protocol): backbone
        for backbone in backbones
        for task in tasks
        for with_protocol in (False, True)
    }
    return {case: cases[case] for case in bracketed & cases.keys()}


def _bracketed(nodeid: str) -> str:
    return nodeid.partition("[")[2].removesuffix("]")
