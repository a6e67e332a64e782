"""What cases are expected to take beside what they took, as a Markdown table.

    python tools/compare_costs.py [RECORDS]

By default of the embedded baseline. Two columns: without any record, and with those of all other backbones, as for a network that
has not run yet. Extraction, which one case does for several, has a line of its own.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sslbench.engine.cost import Cost, expected
from sslbench.engine.costs.devices import DEVICES, device_of
from sslbench.engine.costs.remembered import Remembered
from sslbench.results.markdown import table
from sslbench.results.record import Record
from sslbench.results.runs import open_records
from sslbench.tasks import parse_task

BASELINE = "results/baselines/embedded.json"
Ratios = dict[str, list[float]]


def ratios(records: Sequence[Record], *, others: bool) -> Ratios:
    """Expected by measured seconds, by protocol and of extraction. others: whether the records of other backbones count."""
    found: Ratios = defaultdict(list)
    sums = [0.0, 0.0]
    for backbone in dict.fromkeys(record.backbone["name"] for record in records):
        known = Remembered.of([record for record in records if record.backbone["name"] != backbone]) if others else None
        for record in records:
            if record.backbone["name"] != backbone:
                continue
            cost, times = _cost(record, known), record.timings
            if cost.seconds is None:
                continue
            own, took = cost.seconds - cost.extract, (times["fit"] or 0.0) + (times["score"] or 0.0)
            found[record.task["protocol"]].append(own / took)
            sums = [sums[0] + own, sums[1] + took]
            if times["images_per_second"]:
                found["extraction"].append(cost.extract / (times["extract"] or 0.0))
    found["all seconds"].append(sums[0] / sums[1])
    return found


def _cost(record: Record, known: Remembered | None) -> Cost:
    told = record.environment["device"]
    device = DEVICES["cpu"] if told == "cpu" else device_of(told)
    return expected(record.backbone["name"], parse_task(record.task["id"]), device=device, remembered=known)


def _cell(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    records = open_records(arguments[0] if arguments else BASELINE, Path("results"))
    without, beside = ratios(records, others=False), ratios(records, others=True)
    names = [*sorted(without.keys() - {"extraction", "all seconds"}), "extraction", "all seconds"]
    rows = [
        (name, str(len(without[name])), _cell(without[name]), _cell(beside[name])) for name in names if name in without
    ]
    print(table(("protocol", "records", "nothing measured", "other backbones measured"), rows))


if __name__ == "__main__":
    main(sys.argv[1:])
