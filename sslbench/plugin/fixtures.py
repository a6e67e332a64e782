"""Fixtures that hand a benchmark test its case, its features on the device, and the way to a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sslbench.errors import NotInstalledError
from sslbench.plugin.state import CASE_RECORD, STATE

if TYPE_CHECKING:
    from sslbench.material import CaseMaterial
    from sslbench.plugin.timing import Timer
    from sslbench.results.record import Record
    from sslbench.runner import PreparedCase
    from sslbench.tasks import Task


@pytest.fixture
def sslbench_names(request: pytest.FixtureRequest) -> tuple[str, Task]:
    """The backbone's name and the task of this test."""
    names: tuple[str, Task] = request.param
    return names


@pytest.fixture
def sslbench_case(request: pytest.FixtureRequest, sslbench_names: tuple[str, Task]) -> PreparedCase:
    """The case of this test: backbone loaded, dataset's targets known, no image read yet."""
    # Not at the top: the runner imports torch, which collection must not.
    from sslbench.runner import Case

    backbone, task = sslbench_names
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
def sslbench_ready(request: pytest.FixtureRequest, sslbench_names: tuple[str, Task]) -> PreparedCase | Record:
    """The case, ready to be run here; with an engine its record, which another machine made.

    Apart from `sslbench_record`, so that a case which cannot be run fails before the fixture that times it is set up.
    """
    engine = request.config.stash[STATE].engine
    if engine is not None:
        return engine.record(*sslbench_names)
    case: PreparedCase = request.getfixturevalue("sslbench_case")
    return case


@pytest.fixture
def sslbench_record(
    request: pytest.FixtureRequest,
    sslbench_names: tuple[str, Task],
    sslbench_ready: PreparedCase | Record,
    sslbench_timer: Timer,
) -> Record:
    """The record of the case: resumed when one with the same ingredients exists, otherwise run now, or by an engine.

    A run is timed through pytest-benchmark, if it is there. The main score goes to JUnit XML as a property.
    """
    from sslbench.results.record import Record

    protocol = sslbench_names[1].protocol
    if isinstance(sslbench_ready, Record):
        found: Record | None = sslbench_ready
    else:
        from sslbench.runner import resumed_record

        found = resumed_record(sslbench_ready, request.config.stash[STATE].options.rerun)
    run = (lambda: found) if found is not None else sslbench_ready.execute  # type: ignore[union-attr]
    record = sslbench_timer(run, protocol, timed=found is None)
    request.node.stash[CASE_RECORD] = record
    # What record_property does, without its warning in every case under the default xunit2 family.
    request.node.user_properties.append((f"sslbench_{record.main_score}", record.main.value))
    return record
