"""`sslbench figures`: the figures of a run, of a baseline or of a study's published tables, as files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands, check_writable, results_option

if TYPE_CHECKING:
    from sslbench.figures import Source


def add(commands: Commands) -> None:
    """Declare the command."""
    figures = commands.add_parser(
        "figures", help="draw what a run, a baseline or a study's published tables show, as SVG, PNG or PDF"
    )
    figures.add_argument(
        "scores",
        nargs="?",
        help="run directory, URL or name, baseline file, or a study such as ericsson2021; default: the latest run below the "
        "results directory",
    )
    figures.add_argument(
        "--only", metavar="GLOB,...", default="", help="names of figures, or globs (default: all that can be drawn)"
    )
    figures.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: figures beside a run's tables, else figures)"
    )
    figures.add_argument(
        "--format", metavar="KIND,...", default="svg,png", help="some of svg, png, pdf (default: svg,png)"
    )
    results_option(figures)
    figures.set_defaults(command=_figures)


def _figures(arguments: argparse.Namespace) -> int:
    from sslbench.figures.write import check_formats, check_matplotlib, chosen_figures, write_figures
    from sslbench.names import split_patterns

    only, formats = split_patterns(arguments.only), split_patterns(arguments.format)
    # Before a run is read.
    check_matplotlib()
    check_formats(formats)
    kinds = chosen_figures(only)
    source, beside = _source(arguments.scores, arguments.results, kinds)
    directory = arguments.out or beside / "figures"
    check_writable(directory, "Make it writable, or choose another with --out DIR")
    written = write_figures(source, directory, only, formats)
    print("\n".join(map(str, written.paths)))
    for name, reason in written.left_out.items():
        print(f"left out: {name}: {reason}")
    return 0


def _source(name: str | None, results: Path, kinds: Sequence[str]) -> tuple[Source, Path]:
    """The scores, with the samples that these kinds read, and the directory beside which their figures lie by default."""
    from sslbench.errors import RecordError
    from sslbench.figures import FIGURES, Source
    from sslbench.files import is_there
    from sslbench.names import did_you_mean
    from sslbench.results.references import read_records
    from sslbench.results.runs import open_run
    from sslbench.studies import STUDIES

    # A study without tables has no scores of its own, and its name is that of the runs of its suite, as `embedded`.
    printed = [study for study in STUDIES if STUDIES[study].tables]
    if name is not None and name in printed and not is_there(Path(name)):
        return Source.of_study(STUDIES[name]), Path()
    if name is not None and is_there(Path(name)) and Path(name).is_file():
        return Source.of_records(read_records(Path(name)), Path(name).name), Path()
    try:
        run = open_run(name, results)
    except RecordError as error:
        raise RecordError(f"{error}, a baseline file or a study{did_you_mean(name, printed)}") from error
    records = run.records()
    if not records:
        raise RecordError(f"the run {run.place} holds no usable record")
    run.bring_samples([record for record in records if any(FIGURES[kind].reads(record) for kind in kinds)])
    title = f"run {run.directory.absolute().name}"
    return Source.of_records(records, title, run.directory / "records"), run.directory
