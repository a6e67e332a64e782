"""The disk of a plan: what a run needs there, and what it will find in the cache."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.config import Settings
from sslbench.datasets import dataset_spec
from sslbench.engine.costs.pictures import pictures_of
from sslbench.errors import CacheError

if TYPE_CHECKING:
    from sslbench.engine.plan import PlannedCase


@dataclass(frozen=True)
class Space:
    """Bytes on disk.

    data: to be got, by dataset, as far as sizes are stated. unstated: datasets of which some are not. there: datasets whose
    folder is there. pictures_allowed: what the settings let the cache keep of decoded ones.
    """

    data: Mapping[str, int]
    unstated: tuple[str, ...]
    there: tuple[str, ...]
    features: int
    pictures: int
    pictures_allowed: int
    trials: int


@dataclass(frozen=True)
class Cached:
    """What lies in the cache, as far as names tell it.

    features: pairs of backbone and pictures of which some split is there, of all such `pairs`. trials: finished trainings of the
    protocols that are planned, whatever they are of.
    """

    features: int
    pairs: int
    trials: Mapping[str, int]


def space_of(cases: Sequence[PlannedCase], settings: Settings) -> Space:
    """What these cases need on disk: data for all, the rest for those that are to run."""
    data: dict[str, int] = {}
    there, unstated = [], []
    for name in dict.fromkeys(case.task.dataset for case in cases):
        spec = dataset_spec(name)
        sizes = [source.size for source in spec.sources if not source.inner]
        if not spec.folder or not sizes:
            continue
        if (settings.data_dir / spec.folder).is_dir():
            there.append(name)
        else:
            data[name] = sum(size for size in sizes if size is not None)
            unstated += [name] if None in sizes else []
    features: dict[str, int] = {}
    pictures: dict[str, int] = {}
    for case in cases:
        cost = case.cost
        if case.recorded or cost.seconds is None:
            continue
        for key, most, size in (
            (cost.features, features, cost.disk.features), (cost.pictures, pictures, cost.disk.pictures),
        ):  # fmt: skip
            if key:
                most[key] = max(most.get(key, 0), size)
    allowed = int(settings.decoded_gib * 2**30)
    trials = sum(case.cost.disk.trials for case in cases if not case.recorded)
    return Space(data, tuple(unstated), tuple(there), sum(features.values()), sum(pictures.values()), allowed, trials)


def cached_for(cases: Sequence[PlannedCase], settings: Settings) -> Cached:
    """What is there for these cases."""
    from sslbench.features.cache import FeatureCache

    pairs = {(case.backbone, case.task.dataset) for case in cases if case.cost.features}
    found: dict[str, set[str]] = defaultdict(set)
    for entry in FeatureCache(settings.cache_dir).entries():
        found[entry.label].add(str(entry.recipe.get("images", "")))
    there = {pair for pair in pairs if any(_is_of(images, pair[1], settings) for images in found.get(pair[0], ()))}
    planned = {case.task.protocol for case in cases}
    return Cached(len(there), len(pairs), _trials(settings.cache_dir / "trials", planned))


def _trials(folder: Path, protocols: set[str]) -> dict[str, int]:
    """Finished trainings by protocol; what each is of stands in it by digests alone."""
    from sslbench.training.trial_result import read_description

    found: dict[str, int] = defaultdict(int)
    for path in sorted(folder.glob("*.json")):
        try:
            told = read_description(path)["case"].get("protocol")
        except CacheError:
            # It would be trained again, and says so then.
            continue
        if isinstance(told, list) and told and told[0] in protocols:
            found[str(told[0])] += 1
    return dict(found)


def _is_of(images: str, dataset: str, settings: Settings) -> bool:
    """Whether a fingerprint of pictures is one of a dataset's."""
    if images.startswith(f"{dataset}:"):
        return True
    pictures = pictures_of(dataset, settings)
    return not isinstance(pictures, str) and images in pictures.same.split("+")
