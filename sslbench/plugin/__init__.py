"""The pytest plugin (entry point `pytest11`): options, markers, the matrix of cases, tables at the end.

Loading it imports neither torch nor timm: every pytest run in the environment pays for this module.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from sslbench.errors import SslbenchError
from sslbench.names import printable
from sslbench.plugin.fixtures import sslbench_case, sslbench_features, sslbench_record
from sslbench.plugin.options import add_options, read_options
from sslbench.plugin.state import CASE_RECORD, STATE, SessionState
from sslbench.tasks import case_id, suite

__all__ = ["sslbench_case", "sslbench_features", "sslbench_record"]

MARKERS = {
    "sslbench(protocol)": "parametrise this test over the session's cases of a protocol (a name or glob)",
    "linear": "linear probe",
    "knn": "nearest-neighbour probe",
    "fewshot": "few-shot recognition",
    "finetune": "fine-tuning of the whole network",
    "detection": "object detection",
    "dense": "dense prediction: segmentation, surface normals",
    "analysis": "analyses of features: calibration, inversion, attention",
    "slow": "left out of a quick run, for its own time or that of its pictures; for nightly runs",
    "gpu": "needs a usable GPU; skipped with a reason where there is none",
    "download": "needs the network or data that must be fetched",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers and read the options once."""
    for name, text in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    options = read_options(config)
    if getattr(config.option, "numprocesses", None):
        _check_carried(config)
    if options.settings.offline:
        # huggingface_hub reads the variable when it is first imported.
        os.environ["HF_HUB_OFFLINE"] = "1"
    config.stash[STATE] = SessionState(options)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Controller(config), "sslbench-controller")


def _check_carried(config: pytest.Config) -> None:
    """xdist hands the command line to its workers as UTF-8, and ends in an internal error where that cannot be."""
    odd = [text for text in map(str, config.invocation_params.args) if printable(text) != text]
    if odd:
        raise pytest.UsageError(
            f"pytest-xdist cannot hand on {printable(odd[0])}, which is not UTF-8: rename the folder, name it through a link, "
            "or run without -n"
        )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Answer unknown names and an unusable baseline before anything runs."""
    from sslbench.plugin.regression import read_baseline

    state = session.config.stash[STATE]
    if not state.options.explicit:
        return
    _matrix(state)
    if state.options.baseline is not None:
        read_baseline(state)


def _matrix(state: SessionState) -> None:
    try:
        _ = state.backbones, state.tasks
    except SslbenchError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item a case for every test that asks for `sslbench_case` and names its protocol by a marker."""
    if "sslbench_case" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("sslbench")
    if marker is None:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: mark it @pytest.mark.sslbench(protocol=...)")
    protocol = marker.kwargs["protocol"] if "protocol" in marker.kwargs else marker.args[0]
    state = metafunc.config.stash[STATE]
    _matrix(state)
    params = []
    cases = state.cases(protocol)
    several = len({task.protocol for _, task in cases}) > 1
    for backbone, task in cases:
        marks = [getattr(pytest.mark, name) for name in suite(state.options.suite).markers(backbone, task)]
        params.append(pytest.param((backbone, task), id=case_id(backbone, task, with_protocol=several), marks=marks))
    metafunc.parametrize("sslbench_case", params, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one backbone's cases together, so that it is loaded once; other items stay where they are.

    A test whose protocol has no case in this session is deselected.
    """
    empty = [item for item in items if _has_no_case(item)]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
    order = {name: index for index, name in enumerate(_collected_backbones(items))}
    places = [index for index, item in enumerate(items) if _backbone(item) is not None]
    cases = sorted((items[index] for index in places), key=lambda item: order[str(_backbone(item))])
    for place, item in zip(places, cases, strict=True):
        items[place] = item


def _param(item: pytest.Item) -> Any:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("sslbench_case") if callspec is not None else None


def _has_no_case(item: pytest.Item) -> bool:
    # pytest gives a test with an empty list of parameters one item with a placeholder.
    param = _param(item)
    return param is not None and not isinstance(param, tuple)


def _backbone(item: pytest.Item) -> str | None:
    param = _param(item)
    return param[0] if param is not None else None


def _collected_backbones(items: list[pytest.Item]) -> list[str]:
    return list(dict.fromkeys(name for item in items if (name := _backbone(item)) is not None))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep one backbone's cases on one worker when there are at least as many backbones as workers.

    With fewer backbones that would leave workers idle; then xdist's own `load` spreads the cases, and the cache's lock
    keeps features from being extracted twice. A `--dist` other than `load` is left alone.
    """
    state = config.stash[STATE]
    if config.getvalue("dist") != "load":
        return None
    _matrix(state)
    if len(state.backbones) < len(config.getvalue("tx")):
        return None
    from sslbench.plugin.distribution import BackboneScheduling

    return BackboneScheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a `gpu` test where no GPU can be used, tried by an allocation."""
    if item.get_closest_marker("gpu") is None:
        return
    from sslbench.errors import DeviceError
    from sslbench.features.device import resolve_device

    state = item.config.stash[STATE]
    device = state.options.settings.device
    try:
        usable = device != "cpu" and resolve_device(device) != "cpu"
    except DeviceError as error:
        pytest.skip(f"needs a usable GPU; {error}")
    if not usable:
        pytest.skip("needs a usable GPU; none could be allocated on, or --sslbench-device is cpu")


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_benchmark_group_stats(config: pytest.Config) -> Generator[None, Any, Any]:
    """Leave the cases out of pytest-benchmark's table (one round has no spread to show), except under -v.

    The timings stay in --benchmark-json and in the records.
    """
    groups = yield
    if config.get_verbosity() > 0:
        return groups
    return [(name, group) for name, group in groups if not str(name).startswith("sslbench ")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the record travel on the report, which xdist carries from the worker to the controller."""
    report = yield
    record = item.stash.get(CASE_RECORD, None)
    if report.when == "call" and record is not None:
        report.sslbench_record = record.to_json()  # type: ignore[attr-defined]
    return report


class _Controller:
    """Hooks of the process that gathers: the controller under xdist, else the only one."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.state = config.stash[STATE]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take in the record of a finished case."""
        data = getattr(report, "sslbench_record", None)
        if data is None:
            return
        from sslbench.results.record import Record

        record = Record.from_json(data)
        self.state.records[record.case] = record
        self.state.nodes[record.case] = report.nodeid

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Check what every case needs before the first, and run the gate once every case is in."""
        distributed = self.config.getoption("numprocesses", None)
        if distributed or any(_backbone(item) is not None for item in session.items):
            self._check_ground(bool(distributed))
        result = yield
        if self.state.options.baseline is not None and self.state.records:
            from sslbench.plugin.regression import run_gate

            run_gate(self.config, self.state)
        return result

    def _check_ground(self, distributed: bool) -> None:
        if self.config.option.collectonly or (distributed and not self.state.options.explicit):
            return
        from sslbench.features.cache import FeatureCache
        from sslbench.results.runs import check_target

        settings = self.state.options.settings
        try:
            self.state.run.check_writable()
            FeatureCache(settings.cache_dir).check_writable()
            if self.state.options.save_baseline is not None:
                check_target(self.state.options.save_baseline)
            if settings.device != "auto":
                from sslbench.features.device import resolve_device

                resolve_device(settings.device)
        except SslbenchError as error:
            raise pytest.UsageError(str(error)) from error

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the tables of the run, and the baseline that was asked for."""
        state = self.state
        if not state.records:
            if state.options.save_baseline is not None and not self.config.option.collectonly:
                state.summary.append(f"no case ran: {state.options.save_baseline} was not written")
            return
        from sslbench.results.report import write_report
        from sslbench.results.runs import write_baseline

        write_report(state.run.records(), state.run.directory)
        if state.options.save_baseline is not None:
            write_baseline(list(state.records.values()), state.options.save_baseline)
            state.summary.append(f"baseline written: {state.options.save_baseline}")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table and the ranking of this session's cases."""
        state = self.state
        if state.records:
            from sslbench.results.ranks import ranking, ranking_lines
            from sslbench.results.tables import terminal_table

            terminalreporter.section(f"sslbench {state.options.suite}")
            width = terminalreporter._tw.fullwidth
            records = list(state.records.values())
            for line in terminal_table(records, width):
                terminalreporter.write_line(line)
            if self.config.get_verbosity() >= 0:
                for line in ranking_lines(ranking(records)):
                    terminalreporter.write_line(line)
                terminalreporter.write_line(f"records, tables and report: {state.run.directory}")
        for line in state.summary:
            terminalreporter.write_line(line)
