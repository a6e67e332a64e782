"""The regression gate at the end of a session, when Holm can see every case."""

from __future__ import annotations

import pytest

from sslbench.errors import RecordError
from sslbench.plugin.before import read_baseline
from sslbench.plugin.state import SessionState


def run_gate(config: pytest.Config, state: SessionState) -> None:
    """Compare this session's records with the baseline and fail the cases that are significantly worse."""
    from sslbench.results.gate import GateConfig, gate

    options = state.options
    records = [state.records[case] for case in sorted(state.records)]
    try:
        results = gate(
            records,
            read_baseline(
                state, [record.backbone["name"] for record in records], {record.task["id"] for record in records}
            ),
            GateConfig(options.gate_level, options.gate_min_drop),
            options.baseline_backbone,
        )
    except RecordError as error:
        raise pytest.UsageError(str(error)) from error
    failed = [result for result in results if result.failed]
    if not results:
        raise pytest.UsageError(
            f"the regression gate compared nothing: {options.baseline} holds none of the cases that ran"
        )
    compared = [result for result in results if result.comparison is not None]
    worse, apart = sum(result.failed for result in compared), len(results) - len(compared)
    state.summary.append(
        f"regression gate: {len(compared)} of {len(records)} cases compared with {options.baseline}, "
        f"{worse} significantly worse (Holm, level {options.gate_level:g})"
        + (f"; {apart} could not be compared, which fails them" if apart else "")
    )
    for result in failed:
        _fail(config, state, state.nodes[result.case], f"regression gate: {result.case}: {result.message}")


def _fail(config: pytest.Config, state: SessionState, nodeid: str, message: str) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        if any(report.nodeid == nodeid for report in terminal.stats.get("failed", [])):
            # The test has failed by itself: one failure is enough.
            state.summary.append(message)
            return
        # The case has been counted as passed, before the other cases' p-values were known.
        passed = terminal.stats.get("passed", [])
        passed[:] = [report for report in passed if report.nodeid != nodeid]
    report = pytest.TestReport(
        nodeid=nodeid,
        location=(nodeid.partition("::")[0], None, nodeid.rpartition("::")[2]),
        keywords={},
        outcome="failed",
        longrepr=message,
        when="call",
    )
    config.hook.pytest_runtest_logreport(report=report)
