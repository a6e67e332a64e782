"""Fixtures that hand a benchmark test its case, its features on the device, and the way to a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sslbench.errors import NotInstalledError, SslbenchError
from sslbench.plugin.state import CASE_RECORD, STATE, SessionState

if TYPE_CHECKING:
    from sslbench.material import CaseMaterial
    from sslbench.plugin.timing import Timer
    from sslbench.results.record import Record
    from sslbench.runner import PreparedCase


@pytest.fixture
def sslbench_case(request: pytest.FixtureRequest) -> PreparedCase:
    """The case of this test: backbone loaded, dataset's targets known, no image read yet."""
    # Not at the top: the runner imports torch, which collection must not.
    from sslbench.runner import Case

    backbone, task = request.param
    state = request.config.stash[STATE]
    try:
        return state.runner.prepare(Case(backbone, task))
    except NotInstalledError as error:
        # Whoever names it wants it; the suite's own list goes on without.
        if backbone in (state.options.backbones or ()):
            raise
        pytest.skip(str(error))
    except SystemExit as error:
        # A factory that reads its own command line, for one; pytest would set no further case up after it.
        raise RuntimeError(f"sys.exit({error.code!r}) was called").with_traceback(error.__traceback__) from None


@pytest.fixture
def sslbench_features(sslbench_case: PreparedCase) -> CaseMaterial:
    """The features of the case, on the device; a split is extracted or read from the cache when first asked for."""
    return sslbench_case.material


@pytest.fixture
def sslbench_record(request: pytest.FixtureRequest, sslbench_case: PreparedCase, sslbench_timer: Timer) -> Record:
    """The record of the case: resumed when one with the same ingredients exists, otherwise run now.

    A run is timed through pytest-benchmark, if it is there. The main score goes to JUnit XML as a property.
    """
    resumed = _resumed(request.config.stash[STATE], sslbench_case)
    protocol = sslbench_case.case.task.protocol
    record = sslbench_timer(
        sslbench_case.execute if resumed is None else lambda: resumed, protocol, timed=resumed is None
    )
    request.node.stash[CASE_RECORD] = record
    # What record_property does, without its warning in every case under the default xunit2 family.
    request.node.user_properties.append((f"sslbench_{record.main_score}", record.main.value))
    return record


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
