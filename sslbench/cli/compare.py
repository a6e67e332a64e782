"""`sslbench compare`: how two runs differ, and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.cli.command import Commands, check_writable, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    compare = commands.add_parser("compare", help="compare two records, runs or baselines, and say why they differ")
    compare.add_argument("a", help="run directory, URL or name, record or baseline file")
    compare.add_argument("b", help="the same, of what it is compared with")
    compare.add_argument(
        "--score", metavar="NAME", help="compare this score of the cases, such as ece (default: each task's main score)"
    )
    compare.add_argument("--html", type=Path, metavar="FILE", help="write the comparison as a page too")
    compare.add_argument(
        "--gate",
        action="store_true",
        help="fail, with status 1, where A is significantly worse than B, as --sslbench-baseline does; B may be FILE#BACKBONE",
    )
    compare.add_argument(
        "--gate-level", type=float, default=0.05, metavar="P", help="family-wise level (default: 0.05)"
    )
    compare.add_argument(
        "--gate-min-drop",
        type=float,
        default=0.0,
        metavar="POINTS",
        help="smallest drop, in the score's unit, that fails (default: 0)",
    )
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
    if arguments.gate:
        return _gate(arguments)
    if marked := next((name for name in (arguments.a, arguments.b) if _is_marked(name, arguments.results)), None):
        raise SettingsError(f"{marked}: #BACKBONE is for the second with --gate; without it all backbones are compared")
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


def _is_marked(name: str, results: Path) -> bool:
    """Whether a backbone is named behind a #. A file or run whose own name has one is told by being there."""
    return "#" in name and not (Path(name).exists() or (results / name).exists())


def _gate(arguments: argparse.Namespace) -> int:
    """The gate of a session on records that are there, for cases that several sessions ran."""
    from sslbench.errors import RecordError, SettingsError
    from sslbench.results.gate import GateConfig, gate
    from sslbench.results.runs import open_records

    if arguments.score is not None or arguments.html is not None:
        raise SettingsError("--gate is of main scores and writes no page; leave --score and --html to another call")
    try:
        config = GateConfig(arguments.gate_level, arguments.gate_min_drop)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    name, backbone = arguments.b, None
    if _is_marked(arguments.a, arguments.results):
        raise SettingsError(f"{arguments.a}: #BACKBONE is for the second; the first has the backbones that are judged")
    if _is_marked(name, arguments.results):
        name, _, backbone = name.rpartition("#")
    records, base = open_records(arguments.a, arguments.results), open_records(name, arguments.results)
    results = gate(records, base, config, backbone or None)
    if not results:
        raise RecordError(
            f"the regression gate compared nothing: {arguments.b} holds none of the cases of {arguments.a}"
        )
    for result in results:
        if result.failed:
            print(f"regression gate: {result.case}: {result.message}")
    compared = [result for result in results if result.comparison is not None]
    apart = len(results) - len(compared)
    print(
        f"regression gate: {len(compared)} of {len(records)} cases compared with {arguments.b}, "
        f"{sum(result.failed for result in compared)} significantly worse (Holm, level {config.level:g})"
        + (f"; {apart} could not be compared, which fails them" if apart else "")
    )
    return 1 if any(result.failed for result in results) else 0
