"""`sslbench compare`: how two runs differ, and why."""

from __future__ import annotations

import argparse

from sslbench.cli.command import Commands, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    compare = commands.add_parser("compare", help="compare two records, runs or baselines, and say why they differ")
    compare.add_argument("a")
    compare.add_argument("b")
    compare.add_argument(
        "--score", metavar="NAME", help="compare this score of the cases, such as ece (default: each task's main score)"
    )
    results_option(compare)
    compare.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from sslbench.results.compare import compare
    from sslbench.results.runs import open_records

    new, base = (open_records(name, arguments.results) for name in (arguments.a, arguments.b))
    print(compare(new, base, arguments.score))
    return 0
