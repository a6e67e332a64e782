"""A plan in words, for a terminal, and as plain data for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from sslbench.engine.plan import Plan
from sslbench.files import size_text
from sslbench.results.markdown import table


def plan_lines(plan: Plan, why: str) -> list[str]:
    """The plan for a terminal, in Markdown."""
    what = "GPU" if plan.device.is_gpu else "process"
    unit = f"{what}{'s' if plan.device.is_gpu else 'es'}" if plan.devices > 1 else what
    recorded = len(plan.cases) - len(plan.to_run)
    lines = [
        f"# {plan.run.directory.name}: {len(plan.cases)} cases on {plan.devices} {unit} ({plan.device.name}, {why})",
        "",
        f"{recorded} have a record that counts in {plan.run.place}, {len(plan.to_run)} are to run. Whether a record's key is "
        "still the same is seen when its case is loaded.",
        *(f"- {note}" for note in plan.notes),
        "",
        *_hours(plan, what),
        "",
        *_largest(plan),
        *_disk(plan),
    ]
    for reason, names in plan.unknown.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines += ["", f"Not estimated, {len(names)}: {', '.join(names[:3])}{more}", f"  {reason}"]
    return lines


def _hours(plan: Plan, what: str) -> list[str]:
    rows = []
    legend = Counter[str]()
    for name, hours in plan.protocols.items():
        kinds = Counter[str]()
        for text, count in hours.told.items():
            kinds[text.partition(":")[0]] += count
            legend[text] += count
        told = (
            ", ".join(kinds) if len(kinds) < 2 else ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        )
        estimate = time_text(hours.device_seconds) + (f" + {hours.unknown} unknown" if hours.unknown else "")
        rows.append(
            (
                name,
                told or ("not known" if hours.unknown else "nothing to run"),
                str(hours.cases),
                str(hours.recorded),
                str(hours.trainings),
                estimate,
            )
        )
    unknown = sum(hours.unknown for hours in plan.protocols.values())
    total = time_text(plan.device_seconds) + (f" + {unknown} unknown" if unknown else "")
    without = f" (without the {unknown} unknown)" if unknown else ""
    trainings = sum(hours.trainings for hours in plan.protocols.values())
    recorded = sum(hours.recorded for hours in plan.protocols.values())
    rows.append(("all", "", str(len(plan.cases)), str(recorded), str(trainings), total))
    head = ("protocol", "seconds are", "cases", "recorded", "trainings", f"{what} time")
    return [
        *table(head, rows, left=2).splitlines(),
        "",
        *(f"- {count} {text}" for text, count in legend.most_common()),
        "",
        f"On {plan.devices}{without}: {time_text(plan.wall)}, the longest way to go first, trainings of a grid side by side; the "
        f"longest chain of one thing after another is {time_text(plan.chain)}, which more of them do not shorten.",
    ]


def _largest(plan: Plan) -> list[str]:
    lines = []
    for case, count in plan.largest():
        stages = ", then ".join(
            f"{stage.trials} x {time_text(stage.seconds)} ({stage.name})" for stage in case.cost.stages
        )
        memory = f"{case.cost.gpu_memory / 1e9:.0f} GB of GPU memory (assumed)" if plan.device.is_gpu else ""
        of = f"of {count} cases" if count > 1 else ""
        told = (f"{case.name}: {time_text(case.cost.order)}", stages, memory, of)
        lines.append("- " + ", ".join(filter(None, told)))
    return ["The largest case of each of the largest tasks:", *lines, ""] if lines else []


def _disk(plan: Plan) -> list[str]:
    space, cached = plan.space, plan.cached
    known, least = sum(space.data.values()), "at least " if space.unstated else ""
    lines = ["Disk:"]
    if space.data:
        hint = f"; not all sizes are stated of {', '.join(space.unstated)}" if space.unstated else ""
        lines.append(
            f"- data to get, {len(space.data)} sets: {least}{size_text(known)}, unpacked about as much again{hint}"
        )
    if space.there:
        lines.append(f"- data there: {', '.join(space.there)} (their folders; `sslbench doctor` looks into them)")
    capped = (
        f", of which decoded_gib keeps {size_text(space.pictures_allowed)}"
        if space.pictures > space.pictures_allowed
        else ""
    )
    lines += [
        f"- features and maps: {size_text(space.features)}",
        f"- decoded pictures: {size_text(space.pictures)}{capped}",
        f"- results of trainings: {size_text(space.trials)}",
    ]
    if cached.pairs:
        lines.append(
            f"- in the cache: something of {cached.features} of {cached.pairs} pairs of backbone and dataset (sizes and other "
            "choices are compared when they are loaded, so that the estimate counts them all the same)"
        )
    if cached.trials:
        told = ", ".join(f"{count} of {name}" for name, count in sorted(cached.trials.items()))
        lines.append(f"- in the cache: finished trainings, {told}; whose is seen when a case is loaded")
    return lines


def time_text(seconds: float) -> str:
    """Seconds, minutes or hours, with as many digits as an estimate has."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds else "0 s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.{0 if seconds >= 36_000 else 1}f} h"


def to_json(plan: Plan) -> dict[str, Any]:
    """Everything of a plan as plain data; times in seconds, sizes in bytes."""
    return {
        "run": plan.run.place,
        "device": asdict(plan.device),
        "devices": plan.devices,
        "wall_seconds": plan.wall,
        "chain_seconds": plan.chain,
        "device_seconds": plan.device_seconds,
        "protocols": {name: asdict(hours) for name, hours in plan.protocols.items()},
        "disk": asdict(plan.space),
        "cached": asdict(plan.cached),
        "notes": list(plan.notes),
        "cases": [
            {
                "case": case.name,
                "recorded": case.recorded,
                **{k: v for k, v in asdict(case.cost).items() if k != "case"},
            }
            for case in plan.cases
        ],
    }
