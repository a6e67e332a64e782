"""Hooks of the process that gathers: the controller under xdist, else the only one."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.errors import CacheWarning, SslbenchError, StoreError
from sslbench.names import printable
from sslbench.plugin.before import raise_told
from sslbench.plugin.state import STATE

if TYPE_CHECKING:
    from sslbench.results.shared_run import SharedRun

RECORD, RUN = "sslbench_record", "sslbench_run"


class Gathering:
    """Takes in the records that travel on the reports; judges, writes and prints them when all are in."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.state = config.stash[STATE]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """End the session when the process that collected has found a problem."""
        raise_told(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Keep one backbone's cases on one worker, if there are enough backbones."""
        from sslbench.plugin.distribution import keep_backbones_together

        keep_backbones_together(self.config, ids)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take in the record of a finished case."""
        data = getattr(report, RECORD, None)
        if data is None:
            return
        from sslbench.results.record import Record

        record = Record.from_json(data)
        self.state.run_name = getattr(report, RUN)
        self.state.records[record.case] = record
        self.state.nodes[record.case] = report.nodeid
        if (shared := self._shared_run()) is not None:
            shared.push(record)

    def _shared_run(self) -> SharedRun | None:
        from sslbench.results.shared_run import SharedRun

        return self.state.run if isinstance(self.state.run, SharedRun) else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Run the gate once every case is in."""
        try:
            result = yield
        except pytest.exit.Exception:
            # By that alone a session ends out of a test; it is told like what is wrong before the first one.
            if self.state.lost:
                raise pytest.UsageError(self.state.lost) from None
            raise
        if self.state.records and self.state.options.baseline is not None:
            from sslbench.plugin.regression import run_gate

            run_gate(self.config, self.state)
        return result

    def pytest_sessionfinish(self) -> None:
        """Write the tables of the run, and the baseline that was asked for."""
        state = self.state
        try:
            state.close_engine()
        except SslbenchError as error:
            # What it may have left behind is told below the table, which is written all the same.
            state.summary.append(str(error))
        if not state.records:
            # Not for the ini file's: it stands there for other sessions too.
            target = self.config.getoption("--sslbench-save-baseline")
            if target and not self.config.option.collectonly:
                state.summary.append(f"no case ran: {target} was not written")
            return
        from sslbench.report.samples import Look
        from sslbench.report.write import write_report
        from sslbench.results.runs import write_baseline

        if state.options.save_baseline is not None:
            write_baseline(list(state.records.values()), state.options.save_baseline)
            state.summary.append(f"baseline written: {state.options.save_baseline}")
        # Told below the table: as warnings they would end the session here where warnings are errors.
        shared = self._shared_run()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", CacheWarning)
            if shared is not None:
                # What other machines have shared meanwhile belongs into the tables.
                with contextlib.suppress(StoreError):
                    state.summary += shared.pull()
            records = state.run.records()
        state.summary += [str(warning.message) for warning in told]
        # Data sets are loaded again for pictures, which nobody shall wait for unasked, nor find in a page that is passed on.
        look = Look(data_dir=state.options.settings.data_dir) if state.options.pictures else None
        write_report(records, state.run.directory, look=look)
        if shared is not None:
            state.summary += shared.finish()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table and the ranking of this session's cases."""
        state = self.state
        if state.records:
            from sslbench.results.ranks import ranking, ranking_lines
            from sslbench.results.tables import terminal_table

            terminalreporter.section(state.title)
            width = terminalreporter._tw.fullwidth
            records = list(state.records.values())
            for line in terminal_table(records, width):
                terminalreporter.write_line(printable(line))
            if self.config.get_verbosity() >= 0:
                for line in ranking_lines(ranking(records)):
                    terminalreporter.write_line(printable(line))
                shared = self._shared_run()
                also = f" and {shared.store.url}" if shared is not None else ""
                terminalreporter.write_line(printable(f"records, tables and report: {state.run.directory}{also}"))
        for line in state.summary:
            terminalreporter.write_line(line)
