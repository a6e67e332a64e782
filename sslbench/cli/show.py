"""`sslbench show`: a gallery of the pictures on which a network did worst and best."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands, data_option, results_option

if TYPE_CHECKING:
    from sslbench.results.record import Record


def add(commands: Commands) -> None:
    """Declare the command."""
    show = commands.add_parser(
        "show", help="show what was found or predicted: a page of the worst and the best test pictures of a record"
    )
    show.add_argument("record", help="record file, or a case of the run: BACKBONE|TASK, or a part that no other has")
    show.add_argument("--run", help="run directory, URL or name; default: the latest below the results directory")
    show.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=".html or .png to write (default: gallery-CASE.html beside the run's tables, of a URL here)",
    )
    show.add_argument(
        "--count",
        type=int,
        metavar="N",
        help="of the worst and of the best pictures each (default: 12; of maps 4, and as many around the median)",
    )
    show.add_argument(
        "--threshold", type=float, metavar="SCORE", help="hide detections with a lower score (default: 0.3)"
    )
    results_option(show)
    data_option(show)
    show.set_defaults(command=_show)


def _show(arguments: argparse.Namespace) -> int:
    from sslbench.results.gallery import COUNT, THRESHOLD, check_options, write_gallery
    from sslbench.results.record import slug
    from sslbench.results.shown import read_shown

    count, threshold = arguments.count, arguments.threshold
    # Before a run is read.
    check_options(
        arguments.out or Path("gallery.html"),
        COUNT if count is None else count,
        THRESHOLD if threshold is None else threshold,
    )
    record, folder, beside = _record(arguments)
    path = arguments.out or beside / f"gallery-{slug(record.case)}.html"
    gallery = write_gallery(
        record, read_shown(record, folder), path, count=count, threshold=threshold, data_dir=arguments.data
    )
    print(f"{record.case}: {gallery.told}\n{path}")
    return 0


def _record(arguments: argparse.Namespace) -> tuple[Record, Path, Path]:
    """The record, the directory where its file lies or would lie, and where a page of it belongs."""
    from sslbench.errors import RecordError
    from sslbench.files import is_there
    from sslbench.results.runs import Run, open_run, read_record
    from sslbench.results.shared_run import SharedRun
    from sslbench.results.shown import can_be_shown, find_shown, nothing_to_show, what_can_be_shown

    path = Path(arguments.record)
    if is_there(path) and path.is_file():
        record, folder = read_record(path), path.absolute().parent
        if record.samples is not None and not can_be_shown(record):
            raise RecordError(f"{nothing_to_show(record)}; {what_can_be_shown(Run(folder.parent).records())}")
        return record, folder, folder.parent if folder.name == "records" else folder
    run = open_run(arguments.run, arguments.results)
    record = find_shown(run, arguments.record)
    run.bring_samples([record])
    # Nobody looks for a page in the directory that stands in front of a store.
    beside = Path() if isinstance(run, SharedRun) else run.directory
    return record, run.directory / "records", beside
