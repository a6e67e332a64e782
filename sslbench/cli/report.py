"""`sslbench report`: tables and HTML of a run, from its records."""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.cli.command import Commands, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    report = commands.add_parser("report", help="write the tables and the HTML page of a run from its records")
    report.add_argument("run", nargs="?", help="run directory or name; default: the latest below the results directory")
    results_option(report)
    report.set_defaults(command=_report)


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
