"""`sslbench cache`: look at, check and clean the cache of features, pictures and trials."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands, cache_option
from sslbench.config import url_in

if TYPE_CHECKING:
    from sslbench.features.cache import CacheSize


def add(commands: Commands) -> None:
    """Declare the command and its actions."""
    cache = commands.add_parser("cache", help="look at, check and clean the cache of features, pictures and trials")
    cache_option(cache)
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("ls", help="list the cached features, kept pictures and trials").set_defaults(command=_cache_ls)
    actions.add_parser("verify", help="check every checksum").set_defaults(command=_cache_verify)
    prune = actions.add_parser(
        "prune",
        help="remove damaged files and leftovers, and on request old or all features, pictures and trials; never converted "
        "checkpoints, nor what a process is at",
    )
    prune.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="also remove features and trials not written, and pictures not used, for DAYS days",
    )
    prune.add_argument(
        "--all", action="store_true", help="remove all features, kept pictures, trials, leftovers and locks"
    )
    prune.set_defaults(command=_cache_prune)


def _cache_ls(arguments: argparse.Namespace) -> int:
    from sslbench.cli.trial_files import trial_bytes, trials
    from sslbench.features.cache import FeatureCache

    cache = FeatureCache(arguments.cache)
    for entry in (*cache.entries(), *cache.picture_entries()):
        recipe, what = entry.recipe, entry.label
        if recipe:
            what = f"{entry.label} ({recipe['backbone']}) {recipe['dtype']} {recipe['images']}"
        print(_row(entry.path.stem, entry.bytes, entry.modified, what))
    for trial in trials(arguments.cache):
        if trial.all:
            print(_row(trial.result.stem, trial.bytes, trial.modified, trial.label))
    size, trained = cache.size(), trial_bytes(arguments.cache)
    print(f"total {(size.total + trained) / 2**20:.2f} MiB in {arguments.cache}: {parts_text(size, trained)}")
    if url := url_in("SSLBENCH_CACHE"):
        print(
            f"these are this machine's; what {url} holds is neither listed, verified nor pruned (docs/shared-state.md)"
        )
    return 0


def _row(key: str, count: int, modified: float, what: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(modified))
    return f"{key}  {count / 2**20:9.2f} MiB  {when}  {what or 'DAMAGED'}"


def parts_text(size: CacheSize, trained: int) -> str:
    """The kinds of files in a cache and how much each takes, those that are there; features always.

    trained: bytes of trials.
    """
    parts = {
        "features": size.features,
        "kept pictures": size.pictures,
        "trials": trained,
        "leftovers": size.leftovers,
        "converted checkpoints": size.checkpoints,
    }
    return ", ".join(f"{name} {count / 2**20:.2f} MiB" for name, count in parts.items() if count or name == "features")


def _cache_verify(arguments: argparse.Namespace) -> int:
    from sslbench.cli.trial_files import trials
    from sslbench.features.cache import FeatureCache

    cache, kept = FeatureCache(arguments.cache), [trial for trial in trials(arguments.cache) if trial.all]
    problems = [*cache.verify(), *(problem for trial in kept if (problem := trial.problem()) is not None)]
    count = sum(1 for _ in (*cache.files(), *cache.picture_files(), *kept))
    print("\n".join([*problems, f"{len(problems)} of {count} files damaged"]))
    return 1 if problems else 0


def _cache_prune(arguments: argparse.Namespace) -> int:
    from sslbench.cli.trial_files import prune_trials
    from sslbench.features.cache import FeatureCache

    asked = {"everything": arguments.all, "older_than_days": arguments.older_than}
    removed = [*FeatureCache(arguments.cache).prune(**asked), *prune_trials(arguments.cache, **asked)]
    print(f"removed {len(removed)} files")
    return 0
