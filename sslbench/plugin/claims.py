"""Claims of studies as tests: one item a claim, only where they are asked for, after the cases that they are about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.errors import RecordError, StoreError
from sslbench.plugin.options import given
from sslbench.plugin.state import STATE, SessionState

if TYPE_CHECKING:
    from sslbench.studies import Finding

FIXTURE = "sslbench_claim"
NONE = "no claim"
FLAG = "--sslbench-claims"
THIS_RUN = "run"


def wanted(config: pytest.Config, path: Path) -> bool:
    """Whether a session asks for claims: by the option, by `-k`, or by naming their file."""
    return (
        bool(given(config, FLAG))
        or "claims" in (config.getoption("keyword", "") or "")
        or any(Path(str(argument).partition("::")[0]).name == path.name for argument in config.args)
    )


def parametrize(metafunc: pytest.Metafunc) -> None:
    """One item a claim of every study that has some, or one that is taken out again."""
    from sslbench.studies import studies

    params: list[Any] = []
    if wanted(metafunc.config, metafunc.definition.path):
        params = [
            pytest.param((study.name, claim.name), id=f"{study.name}-{claim.name}")
            for study in studies()
            for claim in study.claims
        ]
    metafunc.parametrize(FIXTURE, params or [pytest.param(NONE, id=NONE)], indirect=True)


def param_of(item: pytest.Item) -> Any:
    """What a claim's item is of; None for other items."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(FIXTURE)


def order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put claims last, and leave out what asks for claims in a session that does not."""
    if not any(param_of(item) is not None for item in items):
        return
    if empty := [item for item in items if param_of(item) == NONE]:
        config.hook.pytest_deselected(items=empty)
    items[:] = [item for item in items if param_of(item) != NONE]
    items.sort(key=lambda item: param_of(item) is not None)


def problems(state: SessionState, *, with_cases: bool) -> list[str]:
    """What is wrong with the scores that claims are put to; nothing where this session's own cases come first."""
    if with_cases and state.options.claims == THIS_RUN:
        return []
    try:
        state.evidence  # noqa: B018  # read once, for all claims
    except (RecordError, StoreError, pytest.UsageError) as error:
        return [str(error)]
    return []


@pytest.fixture
def sslbench_claim(request: pytest.FixtureRequest) -> Finding:
    """What the scores say of a claim; skips where nothing can be told, with what is missing.

    The scores are those of `--sslbench-claims`, by default of the records of the run that these options name.
    """
    from sslbench.analyses.evidence import judged
    from sslbench.studies import STUDIES
    from sslbench.studies.claim import UNKNOWN

    config, state = request.config, request.config.stash[STATE]
    beside = state.options.claims == THIS_RUN and any(_has_case(item) for item in request.session.items)
    if beside and hasattr(config, "workerinput"):
        pytest.skip("other workers are still running cases; run `pytest -k claims` when they are done")
    study, name = request.param
    claim = next(claim for claim in STUDIES[study].claims if claim.name == name)
    finding = judged(claim, state.evidence)
    if finding.verdict == UNKNOWN:
        pytest.skip(f"cannot be told: {finding.told}")
    return finding


def _has_case(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and "sslbench_names" in callspec.params
