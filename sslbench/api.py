"""The Python API for notebooks and scripts: extract and evaluate without pytest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sslbench.backbones import load_backbone
from sslbench.config import Settings
from sslbench.datasets import Labels, LabelSets, load_dataset
from sslbench.errors import DataError
from sslbench.names import split_patterns
from sslbench.results.tables import long_table
from sslbench.runner import Case, Runner
from sslbench.tasks import expand_tasks
from sslbench.tasks import suite as named_suite

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from torch import nn

    from sslbench.backbones import Backbone


def _backbone(backbone: str | Backbone | nn.Module, settings: Settings) -> Backbone:
    from sslbench.backbones.backbone import Backbone
    from sslbench.backbones.copying import independent_copy
    from sslbench.backbones.module_source import unwrapped, wrap
    from sslbench.backbones.options import Options

    if isinstance(backbone, str):
        return load_backbone(backbone, cache_dir=settings.cache_dir, offline=settings.offline)
    if isinstance(backbone, Backbone):
        return backbone
    module, declared = unwrapped(backbone)
    name = type(module).__name__
    # A copy: freezing, moving and taking the classifier off must not reach the caller's network.
    own = independent_copy(module, name)
    for setting, value in declared.items():
        setattr(own, setting, value)
    return wrap(name, own, Options(name, {}), recipe=f"module:{name}")


def extract(
    backbone: str | Backbone | nn.Module, dataset: str, split: str = "train", *, settings: Settings | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | npt.NDArray[np.int8]]:
    """Cached embeddings and targets of one split.

    Returns x float32 (N, D) and targets, int64 (N,) or int8 (N, K) where an image has several classes. Raises
    UnknownNameError for unknown names, DataError for data that cannot be used and for targets that are no labels, FeatureError
    for NaN or infinite features.
    """
    settings = settings or Settings()
    runner = Runner(settings)
    loaded = load_dataset(dataset, settings)
    if split not in loaded.splits:
        from sslbench.names import unknown

        raise unknown(f"split of {dataset}", split, loaded.splits)
    part = loaded.splits[split]
    targets = part.targets
    if not isinstance(targets, Labels | LabelSets):
        raise DataError(
            f"{dataset}: expected labels, got {targets.kind}; load_dataset({dataset!r}) gives them picture by picture"
        )
    features = runner.store.get(_backbone(backbone, settings), part.images)
    return features.x.float().cpu().numpy(), targets.values[features.rows]


def evaluate(
    backbone: str | Backbone | nn.Module,
    tasks: str | Iterable[str] | None = None,
    *,
    suite: str = "embedded",
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Run a backbone through tasks and return one row a task (see `sslbench.results.tables.long_table`).

    backbone: a name, a Backbone, or an nn.Module (its attributes input_size, mean and std set the preprocessing).
    tasks: ids or globs, a list or text with commas (`\\,` is a comma of a path); default those of the suite that it has
    for such a backbone.
    Features are cached; nothing is written to the results directory.
    """
    settings = settings or Settings()
    runner = Runner(settings)
    built = _backbone(backbone, settings)
    runner.add_backbone(built)
    patterns = split_patterns(tasks) if isinstance(tasks, str) else tasks
    # All are prepared before the first runs, so that a missing dataset is told before anything is computed.
    wanted = [
        task
        for task in expand_tasks(patterns, suite)
        if patterns is not None or named_suite(suite).has(built.name, task)
    ]
    prepared = [runner.prepare(Case(built.name, task)) for task in wanted]
    return long_table([case.execute() for case in prepared])
