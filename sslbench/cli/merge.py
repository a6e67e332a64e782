"""`sslbench merge`: runs of several machines as one, and what is missing of a suite."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands, check_writable, directory_or_url

if TYPE_CHECKING:
    from sslbench.results.runs import Run

# Missing cases that are named; --suite of hundreds may lack most.
_NAMED = 20


def add(commands: Commands) -> None:
    """Declare the command."""
    merge = commands.add_parser("merge", help="merge the results of several machines or shards into one run")
    merge.add_argument(
        "directories",
        nargs="+",
        type=directory_or_url,
        metavar="DIR",
        help="run directory, or a directory of them such as a shard's results or unpacked artefacts; or the URL of such",
    )
    merge.add_argument(
        "--into",
        type=directory_or_url,
        required=True,
        metavar="DIR",
        help="run directory or URL to write to; may hold some of it",
    )
    merge.add_argument("--newest", action="store_true", help="where two records of a case differ, keep the newest")
    merge.add_argument(
        "--suite", metavar="NAME", help="say what is missing of this suite, with status 1 if anything is"
    )
    merge.add_argument("--backbones", metavar="GLOB[,GLOB]", help="expect these instead of the suite's backbones")
    merge.add_argument(
        "--tasks", metavar="GLOB[,GLOB]", help="expect these of its tasks, as --sslbench-tasks names them"
    )
    merge.add_argument("--save-baseline", type=Path, metavar="FILE", help="write the merged records as a baseline too")
    merge.set_defaults(command=_merge)


def _merge(arguments: argparse.Namespace) -> int:
    from sslbench.errors import RecordError, SettingsError, StoreError
    from sslbench.report.write import write_report
    from sslbench.results.merging import find_runs, merge_runs, missing_cases
    from sslbench.results.runs import check_target, write_baseline
    from sslbench.results.shared_run import SharedRun

    if arguments.suite is None and (arguments.backbones or arguments.tasks):
        raise SettingsError("--backbones and --tasks say what is expected of a suite; name it with --suite NAME")
    expected = _expected(arguments) if arguments.suite else []
    runs = [run for directory in arguments.directories for run in find_runs(directory, arguments.into)]
    if arguments.save_baseline is not None:
        check_target(arguments.save_baseline)
    into = _begun(arguments.into)
    merged = merge_runs(runs, into, newest=arguments.newest)
    for message in merged.dropped:
        print(message)
    if not merged.records:
        raise RecordError(f"none of the {len(runs)} run(s) holds a usable record")
    if merged.twice:
        print(
            f"{len(merged.twice):,} case(s) were there more than once with the same key; the newest record of each is kept"
        )
    if merged.replaced:
        print(f"{len(merged.replaced):,} case(s) had records of different keys; the newest of each is kept")
    for path in write_report(merged.records, into.directory):
        print(f"{into.place}/{path.name}")
    if isinstance(into, SharedRun) and (left := into.finish()):
        raise StoreError(" ".join(left))
    if arguments.save_baseline is not None:
        write_baseline(merged.records, arguments.save_baseline)
        print(arguments.save_baseline)
    print(f"{arguments.into}: {len(merged.records):,} case(s) from {len(runs)} run(s), {merged.written:,} of them new")
    missing = missing_cases(merged.records, expected)
    if arguments.suite:
        print(_told(arguments.suite, len(expected), missing))
    return 1 if missing else 0


def _begun(into: Path | str) -> Run:
    """The run to write to, which can be written."""
    from sslbench.results.remote import begin_run
    from sslbench.results.runs import Run

    if isinstance(into, str):
        return begin_run(into)
    check_writable(into, "Make it writable, or choose another with --into DIR")
    return Run(into)


def _expected(arguments: argparse.Namespace) -> list[str]:
    """The cases that a session with these options has. Raises UnknownNameError for names that mean nothing."""
    from sslbench.backbones import expand_backbones
    from sslbench.names import is_glob, split_patterns
    from sslbench.results.record import case_name
    from sslbench.tasks import expand_tasks, suite

    found = suite(arguments.suite)
    patterns = split_patterns(arguments.backbones) if arguments.backbones else []
    # A backbone of somebody's conftest.py is not known here; its name is.
    plain = [name for name in patterns if not is_glob(name.partition("?")[0])]
    globs = [name for name in patterns if name not in plain]
    backbones = [*plain, *expand_backbones(globs)] if patterns else expand_backbones(found.backbones)
    tasks = expand_tasks(split_patterns(arguments.tasks) if arguments.tasks else None, arguments.suite)
    named = bool(patterns and arguments.tasks)
    cases = {
        case_name(backbone, task.id) for backbone in backbones for task in tasks if named or found.has(backbone, task)
    }
    return sorted(cases)


def _told(suite: str, expected: int, missing: list[str]) -> str:
    there = f"{expected - len(missing):,} of {expected:,} cases of {suite}"
    if not missing:
        return f"{there}; none is missing"
    more = len(missing) - _NAMED
    return f"{there}; missing: {', '.join(missing[:_NAMED])}" + (f" and {more:,} more" if more > 0 else "")
