"""`sslbench history`: scores and speed of the same cases over nights."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from sslbench.cli.command import Commands, check_writable, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    history = commands.add_parser(
        "history", help="scores and speed of the same cases over runs, and what changed beyond noise"
    )
    history.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run directories, URLs or names, or baseline files; their dates put them in order",
    )
    history.add_argument("--last", type=int, metavar="N", help="look at the latest N of them only")
    history.add_argument("--all", action="store_true", help="show the cases that did not change too")
    history.add_argument("--csv", type=Path, metavar="FILE", help="write every value, with its p and verdict")
    history.add_argument(
        "--fail-on",
        choices=("score", "speed", "any"),
        help="end with status 1 where the last night is worse, or changed, in this",
    )
    history.add_argument(
        "--level",
        type=float,
        default=0.05,
        metavar="P",
        help="chance of any false mark, of scores and of speed each (default: 0.05)",
    )
    history.add_argument(
        "--min-change",
        type=float,
        default=0.1,
        metavar="PART",
        help="smallest change of a speed that counts (default: 0.1)",
    )
    results_option(history)
    history.set_defaults(command=_history)


def _history(arguments: argparse.Namespace) -> int:
    from sslbench.analyses.history import history
    from sslbench.analyses.history_tables import history_lines, to_csv
    from sslbench.errors import SettingsError
    from sslbench.files import write_atomic
    from sslbench.names import printable
    from sslbench.results.runs import open_records

    if arguments.last is not None and arguments.last < 2:
        raise SettingsError(f"--last takes a number of nights, 2 or more, got {arguments.last}")
    if twice := [name for name in arguments.runs if arguments.runs.count(name) > 1]:
        raise SettingsError(f"{twice[0]} is named twice; name each run once")
    if arguments.csv is not None:
        if arguments.csv.is_dir():
            raise SettingsError(
                f"--csv: expected a file to write, got the directory {arguments.csv}; name a file in it"
            )
        check_writable(arguments.csv.absolute().parent, "Make it writable, or give --csv another place")
    runs = {name: open_records(name, arguments.results) for name in arguments.runs}
    if arguments.last is not None:
        by_date = sorted(runs, key=lambda name: max((record.created for record in runs[name]), default=""))
        runs = {name: runs[name] for name in by_date[-arguments.last :]}
    found = history(runs, arguments.level, arguments.min_change)
    for line in history_lines(found, shutil.get_terminal_size().columns, everything=arguments.all):
        print(printable(line))
    if arguments.csv is not None:
        write_atomic(arguments.csv.absolute(), printable(to_csv(found)).encode())
        print(arguments.csv)
    return 1 if arguments.fail_on and found.alarms(arguments.fail_on) else 0
