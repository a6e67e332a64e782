"""Blocks that show what a command prints, made from records by the code that prints it."""

from __future__ import annotations

from collections.abc import Sequence

from sslbench.results.gate import GateConfig, gate
from sslbench.results.ranks import ranking, ranking_lines
from sslbench.results.record import Record
from sslbench.results.tables import terminal_table
from sslbench.tasks import parse_task, suite

WIDTH = 80
PACKAGES = ("torch", "timm", "scikit-learn")


def blocks(records: Sequence[Record]) -> dict[str, str]:
    """By name."""
    return {"terminal": terminal(records), "gate": gate_failure(records), "measured": measured(records)}


def terminal(records: Sequence[Record]) -> str:
    """The summary of `python -m pytest benchmarks -m "not slow"`."""
    embedded = suite("embedded")
    quick = [r for r in records if "slow" not in embedded.markers(r.backbone["name"], parse_task(r.task["id"]))]
    title = " sslbench embedded ".center(WIDTH, "=")
    return _fenced([title, "", *terminal_table(quick, WIDTH), *ranking_lines(ranking(quick))])


def gate_failure(records: Sequence[Record], task: str = "knn/world-count") -> str:
    """What the gate says of colour-histogram against pixels on the knn tasks: one of the failures, and the last line."""
    ours, theirs = (
        [r for r in records if r.task["protocol"] == "knn" and r.backbone["name"] == name]
        for name in ("colour-histogram", "pixels")
    )
    config = GateConfig()
    results = gate(ours, theirs, config)
    shown = next(result for result in results if result.case.endswith(f"|{task}"))
    failed = sum(result.failed for result in results)
    return _fenced(
        [
            f" test_knn[colour-histogram-{task.partition('/')[2]}] ".center(WIDTH, "_"),
            f"regression gate: {shown.case}: {shown.message}",
            "...",
            f"regression gate: {len(results)} of {len(ours)} cases compared with baseline.json, {failed} significantly worse "
            f"(Holm, level {config.level:g})",
        ]
    )


def measured(records: Sequence[Record]) -> str:
    """When and on what the baseline was made."""
    days = sorted({record.created[:10] for record in records})
    machines = sorted(
        {f"{r.environment['cpu']}, {r.environment['cores']} cores, on {r.environment['device']}" for r in records}
    )
    packages = {
        name: ", ".join(sorted({record.environment["packages"][name] for record in records})) for name in PACKAGES
    }
    pythons = ", ".join(sorted({record.environment["python"] for record in records}))
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"Measured {' to '.join(dict.fromkeys([days[0], days[-1]]))}; {'; '.join(machines)}; Python {pythons}, {versions}."


def _fenced(lines: Sequence[str]) -> str:
    return "\n".join(["```", *lines, "```"])
