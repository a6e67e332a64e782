"""`sslbench compare`: how two runs differ, and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.cli.command import Commands, check_writable, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    compare = commands.add_parser("compare", help="compare two records, runs or baselines, and say why they differ")
    compare.add_argument("a")
    compare.add_argument("b")
    compare.add_argument(
        "--score", metavar="NAME", help="compare this score of the cases, such as ece (default: each task's main score)"
    )
    compare.add_argument("--html", type=Path, metavar="FILE", help="write the comparison as a page too")
    results_option(compare)
    compare.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from sslbench.errors import SettingsError
    from sslbench.results.compare import compare_runs, compared_text
    from sslbench.results.runs import open_records

    if arguments.html is not None:
        if arguments.html.is_dir():
            raise SettingsError(
                f"--html: expected a file to write, got the directory {arguments.html}; name a file in it"
            )
        check_writable(arguments.html.absolute().parent, "Make it writable, or give --html another place")
    new, base = (open_records(name, arguments.results) for name in (arguments.a, arguments.b))
    runs = compare_runs(new, base, arguments.score)
    print(compared_text(runs, arguments.score))
    if arguments.html is not None:
        from sslbench.files import write_atomic
        from sslbench.names import printable
        from sslbench.report.compare_page import compare_html

        write_atomic(arguments.html.absolute(), printable(compare_html(runs, arguments.a, arguments.b)).encode())
        print(arguments.html)
    return 0
