"""`sslbench compare`: how two runs differ, and why."""

from __future__ import annotations

import argparse

from sslbench.cli.command import Commands, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    compare = commands.add_parser("compare", help="compare two records, runs or baselines, and say why they differ")
    compare.add_argument("a")
    compare.add_argument("b")
    results_option(compare)
    compare.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from sslbench.results.compare import compare
    from sslbench.results.runs import open_records

    print(compare(open_records(arguments.a, arguments.results), open_records(arguments.b, arguments.results)))
    return 0
