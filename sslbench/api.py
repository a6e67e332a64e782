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
from sslbench.store.shared import shared_files
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
    """The frozen features of one split, and its targets.

    They are taken from the cache where it has them, and kept there.

    Args:
        backbone: A name (docs/backbones.md), a Backbone, or an nn.Module whose attributes `input_size`, `mean` and `std` set
            the preprocessing.
        dataset: A name, such as `digits` or `folder:PATH`.
        split: `train`, `val` or `test`.
        settings: Directories, device and how features are made; by default `Settings()`.

    Returns:
        Features float32 (N, D) and targets int64 (N,), the class of each picture; where a picture has several classes, targets
        are int8 (N, K) of 1 (is there), 0 (is not) and -1 (does not count). Pictures that were skipped have no row
        (`Settings.bad_images`).

    Raises:
        UnknownNameError: For a backbone, dataset or split that nobody declared.
        BackboneError: For a backbone that cannot be built.
        DataError: For data that cannot be used, and for targets that are no labels.
        FeatureError: For features that are NaN or infinite.
        StoreError: For a URL of a shared cache that cannot be used.

    Example:
        >>> import sslbench
        >>> x, y = sslbench.extract("pixels", "digits", split="test")
        >>> x.shape, x.dtype, y.shape, y.dtype
        ((359, 768), dtype('float32'), (359,), dtype('int64'))
    """
    settings = settings or Settings()
    if settings.shared_cache:
        shared_files(settings.shared_cache).check()
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
    """The scores of a backbone, one row a task.

    Features are kept in the cache, and nothing is written to the results directory. All tasks are looked up before the first
    one runs, so that a missing dataset is told before anything is computed. The protocols are those of Ericsson, Gouk and
    Hospedales, CVPR 2021, sections 3 and 4, and further ones (docs/references.md).

    Args:
        backbone: A name (docs/backbones.md), a Backbone, or an nn.Module whose attributes `input_size`, `mean` and `std` set
            the preprocessing. A module is copied first, and stays as it is.
        tasks: Ids such as `linear/digits`, or globs: a list, or text with commas (`\\,` is a comma that belongs to a path).
            By default those that the suite has for such a backbone.
        suite: Where globs look.
        settings: Directories, device and how features are made; by default `Settings()`.

    Returns:
        A data frame sorted by task. `value`, `stderr` (the standard error), `ci_low` and `ci_high` (the 95 % interval) and
        `guess` (what a guess scores that has not seen the picture) are in `unit`, which is `%` for most tasks; `n` is the
        number of test items.

    Raises:
        UnknownNameError: For a backbone, task or suite that nobody declared.
        BackboneError: For a backbone that cannot be built or that a task cannot use.
        DataError: For data that is missing or that a task cannot use.
        StoreError: For a URL of a shared cache that cannot be used.

    Example:
        >>> import sslbench
        >>> table = sslbench.evaluate("pixels", "knn/digits")
        >>> (row,) = table.itertuples()
        >>> row.task, row.score, row.unit, row.n
        ('knn/digits', 'top1', '%', 359)
        >>> row.ci_low < row.value < row.ci_high and row.ci_low > row.guess
        True
    """
    settings = settings or Settings()
    if settings.shared_cache:
        shared_files(settings.shared_cache).check()
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
