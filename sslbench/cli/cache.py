"""`sslbench cache`: look at, check and clean the feature cache."""

from __future__ import annotations

import argparse
import time

from sslbench.cli.command import Commands, cache_option


def add(commands: Commands) -> None:
    """Declare the command and its actions."""
    cache = commands.add_parser("cache", help="look at, check and clean the feature cache")
    cache_option(cache)
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("ls", help="list the cached features").set_defaults(command=_cache_ls)
    actions.add_parser("verify", help="check every checksum").set_defaults(command=_cache_verify)
    prune = actions.add_parser("prune", help="remove damaged files and leftovers, and on request old or all features")
    prune.add_argument(
        "--older-than", type=float, metavar="DAYS", help="also remove features not written for DAYS days"
    )
    prune.add_argument("--all", action="store_true", help="remove everything")
    prune.set_defaults(command=_cache_prune)


def _cache_ls(arguments: argparse.Namespace) -> int:
    from sslbench.features.cache import FeatureCache

    total = 0
    for entry in FeatureCache(arguments.cache).entries():
        total += entry.bytes
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.modified))
        recipe = entry.recipe
        what = f"{entry.label} ({recipe['backbone']}) {recipe['dtype']} {recipe['images']}" if recipe else "DAMAGED"
        print(f"{entry.path.stem}  {entry.bytes / 2**20:9.2f} MiB  {when}  {what}")
    print(f"total {total / 2**20:.2f} MiB in {arguments.cache}")
    return 0


def _cache_verify(arguments: argparse.Namespace) -> int:
    from sslbench.features.cache import FeatureCache

    cache = FeatureCache(arguments.cache)
    problems = cache.verify()
    print("\n".join([*problems, f"{len(problems)} of {len(list(cache.files()))} files damaged"]))
    return 1 if problems else 0


def _cache_prune(arguments: argparse.Namespace) -> int:
    from sslbench.features.cache import FeatureCache

    removed = FeatureCache(arguments.cache).prune(everything=arguments.all, older_than_days=arguments.older_than)
    print(f"removed {len(removed)} files")
    return 0
