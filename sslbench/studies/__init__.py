"""Studies: published evaluations as data. A folder or module of this package that declares a `STUDY` is one.

Everything else may read from here; nothing here imports the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from sslbench.registry import Registry, declared
from sslbench.studies.claim import Claim, Evidence, Finding
from sslbench.studies.study import Allowance, Column, Figure, Geometry, Study, Suite, Switch, Table, Upstream

__all__ = [
    "STUDIES", "Allowance", "Claim", "Column", "Evidence", "Figure", "Finding", "Geometry", "Study", "Suite", "Switch", "Table",
    "Upstream", "register_study", "studies",
]  # fmt: skip

STUDIES: Registry[Study] = Registry("study")
"""By name."""


def register_study(study: Study) -> Study:
    """Make a study known; from a `conftest.py` it is known before tests are collected.

    Raises SslbenchError when another one has the name, when one of its switches, presets or suites has the name of another
    study's, and for a table whose file is not as declared.
    """
    for table in study.tables:
        table.check()
    return _register(study)


def _register(study: Study) -> Study:
    for other in studies():
        for kind in ("switches", "presets", "suites"):
            shared = _names(other, kind) & _names(study, kind)
            if other.name != study.name and shared:
                raise STUDIES.clash(f"{study.name}: the study {other.name} has {kind} {', '.join(sorted(shared))} too")
    return STUDIES.add(study.name, study)


def _names(study: Study, kind: str) -> set[str]:
    return {suite.name for suite in study.suites} if kind == "suites" else set(getattr(study, kind))


def studies() -> Iterator[Study]:
    """All studies, in the order of registration."""
    return (STUDIES[name] for name in STUDIES)


for _study in declared(__name__, __path__, "STUDY"):
    # The package's own tables are checked by tests: every start would pay for it.
    _register(_study)
