"""What ranks pictures instead of counting the right ones goes through the gate like any other score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.datasets import ImageArray, Labels, LabelSets, registry
from sslbench.errors import RecordError
from sslbench.results.gate import GateConfig, gate
from sslbench.results.pairing import compare_records
from sslbench.runner import Case, Runner
from sslbench.tasks import Task
from tests.conftest import Registries


@pytest.mark.parametrize(
    ("metric", "several"), [("voc_map11", True), ("map", True), ("auroc", True), ("map", False), ("auroc", False)]
)
def test_rankings_are_compared_on_the_same_resamples(
    metric: str, several: bool, tmp_path: Path, registries: Registries
) -> None:
    spec = registry.dataset_spec("digits")

    def load(settings: Settings):
        digits = spec.load(settings)
        splits = {}
        for name, split in digits.splits.items():
            # A third of them is enough to tell the two apart.
            pixels, values = split.images.load(range(len(split.images)))[::3], split.targets.values[::3]
            marks = np.stack([values == 3, values % 2], axis=1).astype(np.int64)
            targets = LabelSets(marks) if several else Labels(marks[:, 0])
            splits[name] = replace(split, images=ImageArray(f"third of {name}", pixels), targets=targets)
        return replace(digits, name="threes-and-odds", classes=("three", "odd"), splits=splits, metric=metric)

    targets = LabelSets if several else Labels
    named = replace(spec, name="threes-and-odds", loader=load, metric=metric, num_classes=2, targets=targets)
    registries.redeclare(named)
    runner = Runner(Settings(cache_dir=tmp_path))
    task = Task("linear", named.name)
    good, bad = (runner.prepare(Case(name, task)).execute() for name in ("pixels", "colour-histogram"))
    assert good.main_score == metric
    assert good.paired["kind"] == "resamples"
    (worse,) = gate([bad], [good], GateConfig())
    assert worse.failed and worse.comparison is not None
    assert worse.comparison.test == "paired-resamples"
    assert worse.comparison.n == good.paired["images"] == good.main.n
    assert worse.comparison.difference == pytest.approx(bad.main.value - good.main.value)
    (same,) = gate([good], [good], GateConfig())
    assert not same.failed
    earlier = replace(good, paired={})
    with pytest.raises(RecordError, match=r"kind of outcomes differs .*rerun the baseline"):
        compare_records(bad, earlier)
