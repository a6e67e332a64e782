"""What is checked between collecting and the first case, by the process that has the items.

Under xdist that is every worker. Nothing but a report that has not passed travels from there to the controller before tests
run; so a problem becomes a failed collection report with an attribute of its own, on which the process that gathers ends the
session. Without xdist both are one process, and the way is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from sslbench.errors import RecordError, SslbenchError
from sslbench.plugin.state import SessionState

if TYPE_CHECKING:
    from sslbench.results.record import Record
    from sslbench.tasks import Task

_ATTRIBUTE = "sslbench_problem"


def tell(config: pytest.Config, problems: Sequence[str]) -> None:
    """End the session with these messages, a usage error, before any test runs."""
    text = "\n".join(dict.fromkeys(problems))
    report = pytest.CollectReport(nodeid="", outcome="failed", longrepr=text, result=[])
    setattr(report, _ATTRIBUTE, text)
    config.hook.pytest_collectreport(report=report)


def raise_told(report: pytest.CollectReport) -> None:
    """Raise pytest.UsageError for a report of `tell`."""
    text = getattr(report, _ATTRIBUTE, None)
    if text is not None:
        raise pytest.UsageError(text)


def check_setup(state: SessionState, cases: Sequence[tuple[str, Task]]) -> list[str]:
    """What would stop these cases later: directories, the baseline, a device that was named. Empty if nothing would."""
    from sslbench.features.cache import FeatureCache
    from sslbench.features.device import resolve_device
    from sslbench.results.runs import check_target
    from sslbench.results.shared_run import SharedRun
    from sslbench.store.shared import shared_files

    options = state.options
    try:
        state.run.check_writable()
        FeatureCache(options.settings.cache_dir).check_writable()
        if options.settings.shared_cache:
            shared_files(options.settings.shared_cache).check()
        if isinstance(state.run, SharedRun):
            state.summary += state.run.begin()
        if options.save_baseline is not None:
            check_target(options.save_baseline)
        if options.baseline is not None:
            tasks = {task.id for _, task in cases}
            read_baseline(state, [backbone for backbone, _ in cases], tasks)
        # With an engine it is another machine's.
        if options.settings.device != "auto" and not options.engine:
            resolve_device(options.settings.device)
    except (SslbenchError, pytest.UsageError) as error:
        return [str(error)]
    return []


def read_baseline(state: SessionState, backbones: Sequence[str], tasks: set[str]) -> list[Record]:
    """The baseline's records; pytest.UsageError when it cannot be read or shares no task with these."""
    from sslbench.results.gate import GateConfig, baseline_name
    from sslbench.results.references import read_records

    options = state.options
    assert options.baseline is not None
    try:
        GateConfig(options.gate_level, options.gate_min_drop)
        baseline = read_records(options.baseline)
        known = {record.task["id"] for record in baseline}
        if not known & tasks:
            raise RecordError(
                f"the baseline {options.baseline} has none of this run's tasks; it has "
                f"{', '.join(sorted(known)) or 'no record'}"
            )
        for backbone in dict.fromkeys(backbones):
            baseline_name(backbone, {record.backbone["name"] for record in baseline}, options.baseline_backbone)
    except (RecordError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    return baseline
