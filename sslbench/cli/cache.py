"""`sslbench cache`: look at, check and clean the cache of features and pictures."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands, cache_option

if TYPE_CHECKING:
    from sslbench.features.cache import CacheSize


def add(commands: Commands) -> None:
    """Declare the command and its actions."""
    cache = commands.add_parser("cache", help="look at, check and clean the cache of features and pictures")
    cache_option(cache)
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("ls", help="list the cached features and kept pictures").set_defaults(command=_cache_ls)
    actions.add_parser("verify", help="check every checksum").set_defaults(command=_cache_verify)
    prune = actions.add_parser(
        "prune",
        help="remove damaged files and leftovers, and on request old or all features and pictures; never converted checkpoints",
    )
    prune.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="also remove features not written, and pictures not used, for DAYS days",
    )
    prune.add_argument("--all", action="store_true", help="remove all features, kept pictures, leftovers and locks")
    prune.set_defaults(command=_cache_prune)


def _cache_ls(arguments: argparse.Namespace) -> int:
    from sslbench.features.cache import FeatureCache

    cache = FeatureCache(arguments.cache)
    for entry in (*cache.entries(), *cache.picture_entries()):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.modified))
        recipe = entry.recipe
        what = entry.label or "DAMAGED"
        if recipe:
            what = f"{entry.label} ({recipe['backbone']}) {recipe['dtype']} {recipe['images']}"
        print(f"{entry.path.stem}  {entry.bytes / 2**20:9.2f} MiB  {when}  {what}")
    size = cache.size()
    print(f"total {size.total / 2**20:.2f} MiB in {arguments.cache}: {parts_text(size)}")
    return 0


def parts_text(size: CacheSize) -> str:
    """The kinds of files in a cache and how much each takes, those that are there; features always."""
    parts = {
        "features": size.features,
        "kept pictures": size.pictures,
        "leftovers": size.leftovers,
        "converted checkpoints": size.checkpoints,
    }
    return ", ".join(f"{name} {count / 2**20:.2f} MiB" for name, count in parts.items() if count or name == "features")


def _cache_verify(arguments: argparse.Namespace) -> int:
    from sslbench.features.cache import FeatureCache

    cache = FeatureCache(arguments.cache)
    problems = cache.verify()
    count = sum(1 for _ in (*cache.files(), *cache.picture_files()))
    print("\n".join([*problems, f"{len(problems)} of {count} files damaged"]))
    return 1 if problems else 0


def _cache_prune(arguments: argparse.Namespace) -> int:
    from sslbench.features.cache import FeatureCache

    removed = FeatureCache(arguments.cache).prune(everything=arguments.all, older_than_days=arguments.older_than)
    print(f"removed {len(removed)} files")
    return 0
