"""`sslbench list`: what there is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands

if TYPE_CHECKING:
    from sslbench.datasets import DatasetSpec


def add(commands: Commands) -> None:
    """Declare the command."""
    listing = commands.add_parser("list", help="what there is: backbones, datasets, tasks, suites")
    listing.add_argument("what", choices=("backbones", "datasets", "tasks", "suites"))
    listing.add_argument("glob", nargs="?", default="*")
    listing.add_argument("--timm", action="store_true", help="list timm's pretrained models too")
    listing.add_argument(
        "--self-supervised", action="store_true", help="list the self-supervised backbones, with licence and input size"
    )
    listing.set_defaults(command=_list)


def _list(arguments: argparse.Namespace) -> int:
    from sslbench import backbones, datasets, tasks
    from sslbench.backbones.self_supervised import list_self_supervised
    from sslbench.errors import UnknownNameError
    from sslbench.names import matches

    pattern = arguments.glob
    if arguments.what == "backbones" and arguments.self_supervised:
        lines = [
            f"{s.name:48} {s.family:13} {s.size:4} px  {s.licence:16} {s.note}".rstrip()
            for s in list_self_supervised(pattern)
        ]
    elif arguments.what == "backbones":
        names = backbones.list_backbones(pattern, timm=arguments.timm)
        lines = names or backbones.list_backbones(pattern, timm=True)
    elif arguments.what == "datasets":
        lines = [_dataset_line(datasets.dataset_spec(name)) for name in datasets.list_datasets(pattern)]
        folders = (datasets.dataset_spec(f"{scheme}:PATH") for scheme in datasets.FAMILIES)
        lines += [_dataset_line(spec) for spec in folders if matches(spec.name, pattern)]
    elif arguments.what == "tasks":
        lines = tasks.list_tasks(pattern)
    else:
        chosen = [tasks.suite(name) for name in tasks.list_suites(pattern)]
        lines = [f"{s.name:12} {len(tasks.list_tasks(suite_name=s.name)):4} tasks  {s.summary}" for s in chosen]
    if not lines:
        raise UnknownNameError(f"no {arguments.what} match {pattern!r}")
    print("\n".join(lines))
    return 0


def _dataset_line(spec: DatasetSpec) -> str:
    classes = spec.num_classes or "-"
    kind, metric = spec.targets.kind, spec.metric or "-"
    return f"{spec.name:16} {classes:>4} classes  {kind:24} {metric:14} {spec.licence:11} {spec.summary}"
