"""`sslbench demo`: what the benchmark asks and answers, in a minute, without a connection or data."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.cli.command import Commands, cache_option, results_option

if TYPE_CHECKING:
    from sslbench.analyses.noise_dial import Step
    from sslbench.results.record import Record
    from sslbench.runner import PreparedCase, Runner

TASK = "knn/world-texture"
# Each with what it is. The last one knows the world, and its weights are a package of their own.
BACKBONES = {
    "pixels": "control: the picture shrunk to 16x16",
    "colour-histogram": "control: 64 colour bins",
    "random-init:zoo:simclr": "control: the network of zoo:simclr, untrained",
    "zoo:mae": "self-supervised on 20,000 photographs: fills in hidden patches",
    "zoo:supervised": "trained on the labels of the same photographs",
    "zoo:simclr": "self-supervised on them: tells pictures apart",
    "wheel:efficientnet-lite0?size=64": "trained on the 1.3 million photographs of ImageNet",
}
_BAR = 40


def add(commands: Commands) -> None:
    """Declare the command."""
    demo = commands.add_parser(
        "demo", help="see it work, in a minute and offline: a few networks and controls on one task, and a report"
    )
    demo.add_argument(
        "--backbones",
        metavar="GLOB[,GLOB]",
        help="networks to compare, such as zoo:*,pixels (default: a few small ones and controls)",
    )
    demo.add_argument("--open", action="store_true", help="open the report in the browser")
    results_option(demo)
    cache_option(demo)
    demo.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from sslbench.backbones import expand_backbones
    from sslbench.config import Settings
    from sslbench.errors import SettingsError
    from sslbench.names import split_patterns
    from sslbench.offline import offline
    from sslbench.results.runs import Run

    given = arguments.backbones
    names = expand_backbones(split_patterns(given)) if given is not None else list(BACKBONES)
    if not names:
        raise SettingsError("--backbones: expected names or globs, got none; `sslbench list backbones` tells them")
    run = Run(arguments.results / "demo")
    run.check_writable("--results DIR")
    with offline():
        # After the names, since it loads the network libraries.
        from sslbench.runner import Runner

        settings = Settings(cache_dir=arguments.cache, results_dir=arguments.results, offline=True)
        return _show(arguments, Runner(settings, run), names)


def _show(arguments: argparse.Namespace, runner: Runner, names: Sequence[str]) -> int:
    from sslbench.analyses.noise_dial import noise_dial
    from sslbench.report.write import write_report

    assert runner.run is not None
    print("\n".join(_question()), flush=True)
    try:
        cases, records = _run_cases(runner, names, may_lack=arguments.backbones is None)
        best = max(records, key=lambda record: record.main.value)
        steps = noise_dial(cases[best.backbone["name"]].material)
    except KeyboardInterrupt:
        print(f"\nFinished cases are kept in {runner.run.directory}.", file=sys.stderr)
        raise
    written = write_report(records, runner.run.directory)
    page = next(path for path in written if path.suffix == ".html").absolute()
    print("\n".join([*table(records), *dial(best, steps), *_next(page, arguments.results)]))
    if arguments.open:
        _open(page)
    return 0


def _question() -> list[str]:
    from sslbench.datasets import load_dataset

    dataset = load_dataset(TASK.partition("/")[2])
    learned, tested = (sum(len(dataset.splits[name].images) for name in part) for part in (("train", "val"), ("test",)))
    return [
        "Which of these networks sees textures that nobody taught it?",
        "",
        f"The task, {TASK}: {learned:,} rendered pictures of solids with {len(dataset.classes)} textures, in any shape,",
        "colour and place. A frozen network turns each picture into numbers, its features. A test picture is given the",
        "texture of the 20 pictures whose features are most like its own. The score is the share of",
        f"{tested:,} test pictures that come out right.",
        "",
    ]


def _run_cases(runner: Runner, names: Sequence[str], *, may_lack: bool) -> tuple[dict[str, PreparedCase], list[Record]]:
    """The cases by backbone and their records. may_lack: a package of weights that is not installed is told and left out."""
    from sslbench.errors import NotInstalledError, SslbenchError
    from sslbench.runner import Case
    from sslbench.tasks import parse_task

    cases: dict[str, PreparedCase] = {}
    records = []
    for number, name in enumerate(names, 1):
        start = time.perf_counter()
        told = f"{number}/{len(names)} {name} ..."
        print(told, end="", file=sys.stderr, flush=True)
        try:
            case = runner.prepare(Case(name, parse_task(TASK)))
            record = case.resume()
            kept = record is not None
            record = record or case.execute()
        except SslbenchError as error:
            if may_lack and isinstance(error, NotInstalledError):
                print(f"{_again(told)} left out. {error}", file=sys.stderr)
                continue
            # The error gets a line of its own.
            print(file=sys.stderr)
            raise
        took = "kept from an earlier run" if kept else f"{time.perf_counter() - start:.1f} s"
        print(f"{_again(told)} {record.main.value:.1f} %, {took}", file=sys.stderr, flush=True)
        cases[name] = case
        records.append(record)
    return cases, records


def _again(told: str) -> str:
    """On a terminal progress bars have taken the line, and removed what stood there."""
    return f"\r{told}" if sys.stderr.isatty() else ""


def table(records: Sequence[Record]) -> list[str]:
    """Rank range, score, interval and what it is, the best first; the level of guessing last."""
    from sslbench.results.marks import GUESSING, guess
    from sslbench.results.ranks import rank_ranges, span

    ranges = rank_ranges(records)
    ordered = sorted(records, key=lambda record: -record.main.value)
    width = max(len(record.backbone["name"]) for record in records)
    lines = [f"{'rank':>5}  score %  95 % interval  backbone"]
    for record in ordered:
        name, (low, high) = record.backbone["name"], record.main.ci95
        told = f"{name:{width}}  {BACKBONES.get(name, '')}".rstrip()
        lines.append(f"{span(*ranges[name]):>5}  {record.main.value:7.1f}  {f'{low:.1f} to {high:.1f}':>13}  {told}")
    level = guess(records)
    if level is not None:
        lines.append(f"{'':5}  {level:7.1f}  {'':13}  {GUESSING}")
    return [
        *lines,
        "",
        "Networks share a rank where tests on the same pictures do not separate them. One that is not above the controls",
        "has learned nothing that this task asks for.",
    ]


def dial(record: Record, steps: Sequence[Step]) -> list[str]:
    """The score at each level of noise, with bars on which the level of guessing is marked."""
    from sslbench.results.marks import guess

    level = guess([record])
    mark = None if level is None else round(_BAR * level / 100)
    lines = [
        "",
        f"What the score of {record.backbone['name']} rests on: noise is added to its features of the test pictures,",
        "in units of their spread.",
        "",
        " noise  score %  95 % interval",
    ]
    for step in steps:
        (low, high), bar = step.score.ci95, f"{'#' * round(_BAR * step.score.value / 100):{_BAR}}"
        if mark is not None:
            bar = f"{bar[:mark]}|{bar[mark:]}"
        lines.append(f"{step.level:6g}  {step.score.value:7.1f}  {f'{low:.1f} to {high:.1f}':>13}  {bar}".rstrip())
    return [*lines, *([] if level is None else [f"        | is the level of guessing, {level:.1f} %"])]


def _next(page: Path, results: Path) -> list[str]:
    import shlex

    where = "" if results == Path("results") else f" --results {shlex.quote(str(results))}"
    return [
        "",
        f"The report, with every setting of every case: {page}",
        "",
        "Where to go next:",
        "- which networks can be named; timm's and your own too:",
        "    sslbench list backbones",
        "- these records again, as a table and a report:",
        f"    sslbench report demo{where}",
        "- your own pictures, in a folder PICTURES with one sub-folder a class:",
        "    python -c \"import sslbench; print(sslbench.evaluate('zoo:simclr', 'knn/folder:PICTURES'))\"",
    ]


def _open(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.as_uri()):
        print(f"sslbench: no browser could be opened here; open {page} yourself", file=sys.stderr)
