"""A dataset scored by mean per-class accuracy goes through the gate like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sslbench.config import Settings
from sslbench.datasets import registry
from sslbench.results.gate import GateConfig, gate
from sslbench.runner import Case, Runner
from sslbench.tasks import Task
from tests.conftest import Registries


def test_mean_per_class_cases_are_paired_by_the_bootstrap(tmp_path: Path, registries: Registries) -> None:
    spec = registry.dataset_spec("digits")

    def load(settings: Settings):
        return replace(spec.load(settings), name="digits-by-class", metric="mean_per_class")

    named = replace(spec, name="digits-by-class", loader=load, metric="mean_per_class")
    registries.redeclare(named)
    runner = Runner(Settings(cache_dir=tmp_path))
    task = Task("knn", named.name)
    good, bad = (runner.prepare(Case(name, task)).execute() for name in ("pixels", "colour-histogram"))
    assert good.main_score == "mean_per_class"
    (worse,) = gate([bad], [good], GateConfig())
    assert worse.failed and worse.comparison is not None and worse.comparison.test == "paired-bootstrap"
    (same,) = gate([good], [good], GateConfig())
    assert not same.failed
