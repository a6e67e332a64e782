"""Fixtures that hand a benchmark test its case, its features on the device, and the way to a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.errors import SslbenchError
from sslbench.names import printable
from sslbench.plugin.state import CASE_RECORD, STATE, SessionState

if TYPE_CHECKING:
    from sslbench.results.record import Record
    from sslbench.runner import CaseFeatures, PreparedCase


@pytest.fixture
def sslbench_case(request: pytest.FixtureRequest) -> PreparedCase:
    """The case of this test: backbone loaded, dataset's targets known, no image read yet."""
    # Not at the top: the runner imports torch, which collection must not.
    from sslbench.runner import Case

    backbone, task = request.param
    state = request.config.stash[STATE]
    try:
        return state.runner.prepare(Case(backbone, task))
    except SslbenchError as error:
        told = _told(error)
    # Outside the except block: pytest would print the error once more as the cause.
    pytest.fail(told, pytrace=False)


def _told(error: SslbenchError) -> str:
    # xdist carries UTF-8 alone.
    return printable(f"{type(error).__name__}: {error}")


@pytest.fixture
def sslbench_features(sslbench_case: PreparedCase) -> CaseFeatures:
    """The features of the case, on the device; a split is extracted or read from the cache when first asked for."""
    return sslbench_case.features


@pytest.fixture
def sslbench_record(request: pytest.FixtureRequest, sslbench_case: PreparedCase) -> Iterator[Record]:
    """The record of the case: resumed when one with the same ingredients exists, otherwise run now.

    A run is timed through pytest-benchmark, one round, with the scores in `extra_info`. The main score goes to JUnit
    XML as a property.
    """
    state = request.config.stash[STATE]
    record = _resumed(state, sslbench_case)
    if record is None:
        record = _timed(request, sslbench_case)
    request.node.stash[CASE_RECORD] = record
    # What record_property does, without its warning in every case under the default xunit2 family.
    request.node.user_properties.append((f"sslbench_{record.main_score}", record.main.value))
    yield record


def _resumed(state: SessionState, case: PreparedCase) -> Record | None:
    if state.options.rerun == "all":
        return None
    try:
        record = case.resume()
    except SslbenchError:
        # A network that cannot be run; the run meets it again, and tells.
        return None
    if record is not None and state.options.rerun == "failed" and record.verdict == "below":
        return None
    return record


def _timed(request: pytest.FixtureRequest, case: PreparedCase) -> Record:
    benchmark: Any = request.getfixturevalue("benchmark")
    benchmark.group = f"sslbench {case.case.task.protocol}"
    try:
        record: Record = benchmark.pedantic(case.execute, rounds=1, iterations=1)
        benchmark.extra_info.update({name: score["value"] for name, score in record.scores.items()})
        return record
    except SslbenchError as error:
        told = f"{printable(case.case.name)}: {_told(error)}"
    pytest.fail(told, pytrace=False)
