"""`sslbench fetch`: bring the files of datasets and backbones, and say how to get those that nobody may fetch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands, cache_option, data_option
from sslbench.config import Settings, default_offline
from sslbench.names import split_patterns

if TYPE_CHECKING:
    from sslbench.cli.fetchable import Subject


def add(commands: Commands) -> None:
    """Declare the command."""
    fetch = commands.add_parser(
        "fetch",
        help="fetch datasets and backbones",
        description="Fetch what is named, or everything; say how to get what has to be fetched by hand. Status 1 when "
        "something is missing afterwards. The same command again goes on where it was interrupted.",
    )
    fetch.add_argument("--dataset", action="append", default=[], metavar="GLOB[,GLOB]", help="datasets to fetch")
    fetch.add_argument("--backbone", action="append", default=[], metavar="GLOB[,GLOB]", help="backbones to fetch")
    fetch.add_argument("--offline", action="store_true", help="open no connection: only check and unpack what is here")
    fetch.add_argument("--dry-run", action="store_true", help="say what would be fetched, from where and how large")
    fetch.add_argument("--again", action="store_true", help="unpack archives again that were unpacked before")
    data_option(fetch)
    cache_option(fetch)
    fetch.set_defaults(command=_fetch)


def _fetch(arguments: argparse.Namespace) -> int:
    from sslbench.cli.fetchable import bring, plan

    offline = arguments.offline or default_offline()
    settings = Settings(data_dir=arguments.data, cache_dir=arguments.cache, offline=offline)
    chosen = _chosen(arguments.dataset, arguments.backbone, settings)
    if arguments.dry_run:
        print("\n".join(plan(chosen, settings)))
        return 0
    failed = [subject for subject in chosen if not bring(subject, settings, again=arguments.again)]
    if failed:
        print(f"not complete: {', '.join(map(str, failed))}")
    return 1 if failed else 0


def _chosen(datasets: Sequence[str], backbones: Sequence[str], settings: Settings) -> list[Subject]:
    from sslbench.cli import fetchable

    if not (datasets or backbones):
        everything = [*fetchable.datasets(settings), *fetchable.backbones(settings)]
        return [subject for subject in everything if subject.has_files]
    return [
        *(fetchable.datasets(settings, _patterns(datasets)) if datasets else ()),
        *(fetchable.backbones(settings, _patterns(backbones)) if backbones else ()),
    ]


def _patterns(given: Sequence[str]) -> list[str]:
    return [pattern for text in given for pattern in split_patterns(text)]
