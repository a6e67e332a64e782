"""The pytest plugin (entry point `pytest11`): options, markers, the matrix of cases, tables at the end.

Loading it imports neither torch nor timm: every pytest run in the environment pays for this module. A session without a test
that asks for a case must run as if the plugin were not there: nothing is read, checked or written for it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.errors import SslbenchError
from sslbench.plugin import before, claims, failures, markers, planning, timing
from sslbench.plugin.claims import sslbench_claim
from sslbench.plugin.command_line import check_alone, check_carried, check_paths
from sslbench.plugin.fixtures import sslbench_case, sslbench_features, sslbench_names, sslbench_ready, sslbench_record
from sslbench.plugin.gathering import RECORD, RUN, Gathering
from sslbench.plugin.ini import IniFile
from sslbench.plugin.options import FLAGS, add_options, is_configured
from sslbench.plugin.sharding import Sharding
from sslbench.plugin.state import CASE_RECORD, STATE, SessionState

if TYPE_CHECKING:
    from sslbench.tasks import Task

__all__ = [
    "sslbench_case",
    "sslbench_claim",
    "sslbench_features",
    "sslbench_names",
    "sslbench_ready",
    "sslbench_record",
]

_NO_CASE = "no case"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options."""
    add_options(parser, IniFile.add(parser, pluginmanager))
    planning.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Set the state up; options are read when a test asks for cases."""
    config.stash[STATE] = SessionState(config)
    markers.register_own(config)
    if is_configured(config):
        markers.register_common(config)
    timing.add_timer(config)
    config.pluginmanager.register(Sharding(_case), "sslbench-sharding")
    if config.getoption(planning.FLAG) is not None:
        config.pluginmanager.register(planning.Planning(config, _case), "sslbench-planning")
    if not hasattr(config, "workerinput"):
        check_paths(config, (*FLAGS, planning.FLAG))
        check_carried(config, FLAGS)
        check_alone(config)
        config.pluginmanager.register(Gathering(config), "sslbench-gathering")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Make the markers known that a module of cases may use."""
    markers.register_for_module(parent.config, module_path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item a case for every test that asks for `sslbench_case` and names its protocol by a marker.

    What is wrong is kept and told when all is collected, since a name may yet be registered.
    """
    if claims.FIXTURE in metafunc.fixturenames:
        claims.parametrize(metafunc)
    if "sslbench_names" not in metafunc.fixturenames:
        return
    state = metafunc.config.stash[STATE]
    params = []
    try:
        params = _params(metafunc, state)
    except (SslbenchError, pytest.UsageError) as error:
        state.problems.append(str(error))
    # Not an empty list, which an option of pytest's makes an error.
    metafunc.parametrize("sslbench_names", params or [pytest.param(_NO_CASE, id=_NO_CASE)], indirect=True)


def _params(metafunc: pytest.Metafunc, state: SessionState) -> list[Any]:
    from sslbench.tasks import case_id

    markers.register_common(metafunc.config)
    matrix = state.names.matrix
    cases = matrix.cases(markers.protocol_of(metafunc.definition))
    several = len({task.protocol for _, task in cases}) > 1
    params = []
    for backbone, task in cases:
        assert matrix.suite is not None
        marks = [getattr(pytest.mark, name) for name in matrix.suite.markers(backbone, task)]
        params.append(pytest.param((backbone, task), id=case_id(backbone, task, with_protocol=several), marks=marks))
    return params


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one backbone's cases together, so that it is loaded once; other items stay where they are.

    A test whose protocol has no case in this session is deselected.
    """
    claims.order(config, items)
    if not any(_param(item) is not None for item in items):
        return
    state = config.stash[STATE]
    state.problems += state.unknown_names()
    if state.problems:
        before.tell(config, state.problems)
    empty = [item for item in items if _param(item) == _NO_CASE]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
    order = {name: index for index, name in enumerate(dict.fromkeys(case[0] for case in map(_case, items) if case))}
    places = [index for index, item in enumerate(items) if _case(item)]
    cases = sorted((items[index] for index in places), key=lambda item: order[(_case(item) or ("",))[0]])
    for place, item in zip(places, cases, strict=True):
        items[place] = item


def _param(item: pytest.Item) -> Any:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("sslbench_names") if callspec is not None else None


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def _case(item: pytest.Item) -> tuple[str, Task] | None:
    param = _param(item)
    return param if isinstance(param, tuple) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Check what every case needs before the first; before xdist's worker says that it has collected."""
    config = session.config
    state = config.stash[STATE]
    cases = [case for case in map(_case, session.items) if case]
    # pytest comes here after an error as well.
    about = any(claims.param_of(item) is not None for item in session.items)
    nothing_runs = config.option.collectonly or config.getoption(planning.FLAG) is not None
    if not (cases or about) or state.problems or nothing_runs:
        return
    problems = before.check_setup(state, cases) if cases else []
    if about:
        problems += claims.problems(state, with_cases=bool(cases))
    if state.options.engine and not problems:
        # Who asks for a case or its features alone computes here.
        ready = [case for item in session.items if (case := _case(item)) and "sslbench_ready" in _fixtures(item)]
        problems += state.start_engine(ready) if ready else []
    if problems:
        before.tell(config, problems)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a `gpu` test of sslbench where there is no GPU; to other projects the marker may mean something else."""
    ours = _case(item) is not None or item.get_closest_marker(markers.OWN) is not None
    if ours and item.get_closest_marker("gpu") is not None:
        state = item.config.stash[STATE]
        if state.engine is None:
            markers.skip_without_gpu(state.options.settings.device)
        elif not state.engine.has_gpus:
            pytest.skip(f"needs a GPU; the engine {state.options.engine} has none, or --sslbench-device is cpu")


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_benchmark_group_stats(config: pytest.Config) -> Generator[None, Any, Any]:
    """Leave the cases out of pytest-benchmark's table (one round has no spread to show), except under -v.

    The timings stay in --benchmark-json and in the records.
    """
    groups = yield
    if config.get_verbosity() > 0:
        return groups
    return [group for group in ((name, timing.without_cases(members)) for name, members in groups) if group[1]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the record travel on the report, which xdist carries from the worker to the controller; shorten failures."""
    report = yield
    if (case := _case(item)) is not None:
        failures.shorten(item, call, report, f"{case[0]}|{case[1].id}")
    record = item.stash.get(CASE_RECORD, None)
    if report.when == "call" and record is not None:
        setattr(report, RECORD, record.to_json())
        setattr(report, RUN, item.config.stash[STATE].run_name)
    return report
