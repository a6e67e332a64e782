"""`sslbench plan`: what a run would do and take, before anything starts."""

from __future__ import annotations

import argparse
import json

from sslbench.cli.command import Commands, cache_option, data_option


def add(commands: Commands) -> None:
    """Declare the command."""
    plan = commands.add_parser("plan", help="what a run would do: cases, records that are there, GPU hours, disk")
    plan.add_argument("--suite", default="embedded", metavar="NAME", help="suite of tasks (default: embedded)")
    plan.add_argument("--backbones", metavar="GLOB[,GLOB]", help="backbones instead of the suite's own")
    plan.add_argument("--tasks", metavar="GLOB[,GLOB]", help="tasks of the suite, or any task id")
    plan.add_argument("--gpus", default="1", metavar="N", help="GPUs, or with --device cpu processes of a core each")
    plan.add_argument(
        "--device",
        metavar="NAME",
        help="h100, a100, ..., cpu, or torch's name of a GPU; default: the one here, else a100",
    )
    plan.add_argument(
        "--records", nargs="+", action="extend", default=[], metavar="RUN",
        help="run directories, URLs or names, or baseline files, whose timings are used; those of this run always are",
    )  # fmt: skip
    plan.add_argument("--json", action="store_true", help="as JSON")
    data_option(plan)
    plan.add_argument(
        "--results", default="", metavar="DIR|URL", help="where the run is (default: SSLBENCH_RESULTS, else results)"
    )
    cache_option(plan)
    plan.set_defaults(command=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    from sslbench.config import Settings, default_offline
    from sslbench.engine.costs.devices import device_for
    from sslbench.engine.plan import Asked, make_plan
    from sslbench.engine.plan_text import plan_lines, to_json
    from sslbench.errors import SettingsError
    from sslbench.names import split_patterns
    from sslbench.results.runs import open_records
    from sslbench.results.shared_run import run_at

    try:
        gpus = int(arguments.gpus)
    except ValueError as error:
        raise SettingsError(f"--gpus: expected a whole number of 1 or more, got {arguments.gpus!r}") from error
    if gpus < 1:
        raise SettingsError(f"--gpus: expected a whole number of 1 or more, got {gpus}")
    results = {"results_dir": arguments.results} if arguments.results else {}
    settings = Settings(cache_dir=arguments.cache, data_dir=arguments.data, offline=default_offline(), **results)
    asked = Asked(
        arguments.suite,
        *(split_patterns(given) if given else None for given in (arguments.backbones, arguments.tasks)),
    )
    device, why = device_for(arguments.device)
    run = run_at(settings.results_dir / asked.run, settings.shared_results)
    records = [record for name in arguments.records for record in open_records(name, settings.results_dir)]
    plan = make_plan(run, asked.cases(), settings, device, gpus, records=records)
    print(json.dumps(to_json(plan), indent=1) if arguments.json else "\n".join(plan_lines(plan, why)))
    return 0
