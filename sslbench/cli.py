"""The command line: `sslbench list | report | compare | cache | doctor`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sslbench.config import default_cache_dir, default_data_dir, default_results_dir
from sslbench.errors import SslbenchError

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 a problem was found, 2 bad input."""
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        status = command(arguments)
        sys.stdout.flush()
        return status
    except SslbenchError as error:
        print(f"sslbench: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of a pipe (head, less) may leave early; Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sslbench", description="Judge pretrained vision backbones.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="what there is: backbones, datasets, tasks, suites")
    listing.add_argument("what", choices=("backbones", "datasets", "tasks", "suites"))
    listing.add_argument("glob", nargs="?", default="*")
    listing.add_argument("--timm", action="store_true", help="list timm's pretrained models too")
    listing.set_defaults(command=_list)

    report = commands.add_parser("report", help="write the tables and the HTML page of a run from its records")
    report.add_argument("run", nargs="?", help="run directory or name; default: the latest below the results directory")
    _results(report)
    report.set_defaults(command=_report)

    compare = commands.add_parser("compare", help="compare two records, runs or baselines, and say why they differ")
    compare.add_argument("a")
    compare.add_argument("b")
    _results(compare)
    compare.set_defaults(command=_compare)

    cache = commands.add_parser("cache", help="look at, check and clean the feature cache")
    cache.add_argument("--cache", type=Path, default=default_cache_dir(), help="cache directory (default %(default)s)")
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("ls", help="list the cached features").set_defaults(command=_cache_ls)
    actions.add_parser("verify", help="check every checksum").set_defaults(command=_cache_verify)
    prune = actions.add_parser("prune", help="remove damaged files and leftovers, and on request old or all features")
    prune.add_argument(
        "--older-than", type=float, metavar="DAYS", help="also remove features not written for DAYS days"
    )
    prune.add_argument("--all", action="store_true", help="remove everything")
    prune.set_defaults(command=_cache_prune)

    doctor = commands.add_parser("doctor", help="versions, device, threads, directories, and what is missing")
    _results(doctor)
    doctor.set_defaults(command=_doctor)
    return parser


def _results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, default=default_results_dir(), help="results directory (default %(default)s)"
    )


def _list(arguments: argparse.Namespace) -> int:
    from sslbench import backbones, datasets, tasks
    from sslbench.errors import UnknownNameError

    pattern = arguments.glob
    if arguments.what == "backbones":
        names = backbones.list_backbones(pattern, timm=arguments.timm)
        lines = names or backbones.list_backbones(pattern, timm=True)
    elif arguments.what == "datasets":
        specs = [datasets.dataset_spec(name) for name in datasets.list_datasets(pattern)]
        lines = [f"{s.name:16} {s.num_classes:4} classes  {s.metric:14} {s.licence:10} {s.summary}" for s in specs]
    elif arguments.what == "tasks":
        lines = tasks.list_tasks(pattern)
    else:
        chosen = [tasks.suite(name) for name in tasks.list_suites(pattern)]
        lines = [f"{s.name:10} {len(tasks.list_tasks(suite_name=s.name)):4} tasks  {s.summary}" for s in chosen]
    if not lines:
        raise UnknownNameError(f"no {arguments.what} match {pattern!r}")
    print("\n".join(lines))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from sslbench.errors import RecordError
    from sslbench.results.report import write_report
    from sslbench.results.runs import Run, latest_run

    if arguments.run is None:
        run = latest_run(arguments.results)
    else:
        options = [Path(arguments.run), arguments.results / arguments.run]
        found = [path for path in options if (path / "records").is_dir()]
        if not found:
            raise RecordError(f"no run at {' or '.join(map(str, options))}; expected a directory that holds records/")
        run = Run(found[0])
    records = run.records()
    if not records:
        raise RecordError(f"the run {run.directory} holds no usable record")
    for path in write_report(records, run.directory):
        print(path)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from sslbench.results.compare import compare
    from sslbench.results.runs import open_records

    print(compare(open_records(arguments.a, arguments.results), open_records(arguments.b, arguments.results)))
    return 0


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


def _doctor(arguments: argparse.Namespace) -> int:
    import torch

    from sslbench.datasets import dataset_spec, list_datasets
    from sslbench.environment import cpu_model, package_versions
    from sslbench.errors import CacheError
    from sslbench.features.cache import FeatureCache
    from sslbench.features.device import resolve_device

    for package, number in package_versions().items():
        print(f"{package:14} {number}")
    device = resolve_device("auto")
    print(f"{'cpu':14} {cpu_model()}, {torch.get_num_threads()} threads")
    hint = "" if device != "cpu" else " (no usable GPU: the driver, CUDA_VISIBLE_DEVICES and the torch build decide)"
    print(f"{'device':14} {device}{hint}")
    cache = FeatureCache(default_cache_dir())
    problem = ""
    try:
        cache.check_writable()
    except CacheError as error:
        problem = f"  PROBLEM: {error}"
    size = sum(path.stat().st_size for path in cache.files())
    print(f"{'cache':14} {cache.root} ({size / 2**20:.1f} MiB){problem}")
    data = default_data_dir()
    print(f"{'data':14} {data.absolute()}{'' if data.is_dir() else ' (absent; the embedded suite needs none)'}")
    print(f"{'results':14} {arguments.results.absolute()}")
    for name in list_datasets():
        print(f"{'dataset':14} {name}: ready, {dataset_spec(name).source}")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
