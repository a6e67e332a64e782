"""`sslbench report`: the table of a run printed, its tables and HTML written, from its records."""

from __future__ import annotations

import argparse
import shutil

from sslbench.cli.command import Commands, check_writable, data_option, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    report = commands.add_parser(
        "report", help="print a run's table and ranking, and write its tables and HTML page, from its records"
    )
    report.add_argument(
        "run", nargs="?", help="run directory, URL or name; default: the latest below the results directory"
    )
    report.add_argument(
        "--no-pictures",
        action="store_true",
        help="put no picture of the data into the page (default: small ones of mistakes)",
    )
    results_option(report)
    data_option(report)
    report.set_defaults(command=_report)


def _report(arguments: argparse.Namespace) -> int:
    from sslbench.errors import RecordError
    from sslbench.report.samples import Look
    from sslbench.report.write import write_report
    from sslbench.results.ranks import ranking, ranking_lines
    from sslbench.results.runs import open_run
    from sslbench.results.tables import terminal_table

    run = open_run(arguments.run, arguments.results)
    records = run.records()
    if not records:
        raise RecordError(f"the run {run.place} holds no usable record")
    run.bring_samples(records)
    check_writable(run.directory, "Make it writable, or copy the run and name the copy")
    written = write_report(
        records, run.directory, look=Look(pictures=not arguments.no_pictures, data_dir=arguments.data)
    )
    # As wide as the terminal, or as COLUMNS says; 80 where neither is known, in a pipe.
    width = shutil.get_terminal_size().columns
    print("\n".join([*terminal_table(records, width), *ranking_lines(ranking(records)), "", *map(str, written)]))
    return 0
