"""Everything that wants a GPU, measured and checked in one run of a few minutes, without a network.

    python tools/gpu_check.py [--minutes 6] [--only CHECK]... [--out gpu-check.json]
    python tools/gpu_check.py --device cpu --small        # the script itself, in seconds and without a GPU

Prints Markdown tables and writes a JSON file, the tables beside it, again after every check. A check that fails leaves the
others alone and makes the exit status 1. Aims that are missed are told and fail nothing: they hold for one device.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# The copy that this file belongs to is what is checked, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from gpu_checks.bench import Bench, Found
from gpu_checks.extraction import resnet50, vit_b16
from gpu_checks.finetuning import finetuning
from gpu_checks.linear import cifar10, food101, pets
from gpu_checks.machine import machine
from gpu_checks.neighbours import few_shot, nearest_neighbours
from gpu_checks.scores import scores
from gpu_checks.training import training

from sslbench.environment import environment
from sslbench.errors import DeviceError, SslbenchError
from sslbench.features.device import resolve_device
from sslbench.files import write_atomic

Check = Callable[[Bench, Found], None]

# In the order of running: what is short goes first, in case the time runs out.
CHECKS: Mapping[str, Check] = {
    "machine": machine,
    "knn": nearest_neighbours,
    "few-shot": few_shot,
    "linear-pets": pets,
    "linear-cifar10": cifar10,
    "scores": scores,
    "training": training,
    "finetuning": finetuning,
    "resnet50": resnet50,
    "vit-b16": vit_b16,
    "linear-food101": food101,
}
# RuntimeError is what torch raises when the device fails or its memory is full.
FAILURES = (
    *(SslbenchError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(ImportError, OSError, MemoryError),
)


def main(arguments: Sequence[str] | None = None, checks: Mapping[str, Check] = CHECKS) -> int:
    """Run the checks; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--small", action="store_true", help="tiny sizes, whose figures say nothing")
    parser.add_argument(
        "--minutes", type=float, default=6.0, help="of the whole run; what does not fit is skipped and told"
    )
    parser.add_argument(
        "--only", action="append", choices=checks, metavar="CHECK", help=f"one of {', '.join(checks)}; may be repeated"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    options = parser.parse_args(arguments)
    try:
        device = resolve_device(options.device)
    except DeviceError as error:
        parser.error(f"{error}. The script itself is tried with --device cpu --small")
    # What has begun by then needs some time to end.
    bench = Bench(device, options.small, time.monotonic() + 0.9 * 60 * options.minutes)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "tools/gpu_check.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "small": options.small,
        "environment": facts(device),
        "checks": [],
    }
    tell(headline(report), "", *table_head())
    for name in options.only or checks:
        result = guarded(bench, name, checks[name])
        report["checks"].append(result)
        tell(*table_rows(result))
        write(options.out, report)
    tell("", *bars(report), *outcomes(report))
    return int(any(result["status"] == "failed" for result in report["checks"]))


def guarded(bench: Bench, name: str, check: Check) -> dict[str, Any]:
    """What a check found, also when it broke off."""
    if bench.late:
        return {"name": name, "status": "skipped", "why": ["the time was over"], "seconds": 0.0, "rows": [], "bars": []}
    found, start, on_gpu = Found(), time.monotonic(), bench.device.startswith("cuda")
    peak = None
    try:
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(bench.device)
        check(bench, found)
        if on_gpu:
            peak = torch.cuda.max_memory_allocated(bench.device)
    except FAILURES as error:
        traceback.print_exc()
        found.expect(False, f"{type(error).__name__}: {error}")
    return {
        "name": name,
        "status": "failed" if found.faults else "ok",
        "why": found.faults,
        "seconds": time.monotonic() - start,
        "peak_device_memory": peak,
        "rows": [row.to_json() for row in found.rows],
        # An aim belongs to its size.
        "bars": [bar.to_json() | ({"met": None} if bench.small else {}) for bar in found.bars],
    }


def facts(device: str) -> dict[str, Any]:
    """Versions and hardware, and what decides how torch multiplies."""
    found = {**environment(device), "threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "capability": list(torch.cuda.get_device_capability(device)),
            "device_memory": properties.total_memory,
            "tf32": {
                "products": torch.backends.cuda.matmul.allow_tf32,
                "convolutions": torch.backends.cudnn.allow_tf32,
            },
        }
    return found


def headline(report: Mapping[str, Any]) -> str:
    """The command, the date and the hardware."""
    about = report["environment"]
    return ", ".join(
        [
            f"`{report['command']}`",
            report["date"][:10],
            "no GPU" if about["device"] == "cpu" else about["device"],
            f"{about['cpu']} ({about['cores']} cores, {about['threads']} threads)",
            f"torch {about['packages']['torch']}",
            *([f"CUDA {about['cuda']}"] if "cuda" in about else []),
            *(["sizes that say nothing of speed"] if report["small"] else []),
        ]
    )


def table_head() -> list[str]:
    """Of the table of all quantities."""
    return ["| check | quantity | median | lowest | highest | unit |", "|---|---|---:|---:|---:|---|"]


def table_rows(result: Mapping[str, Any]) -> list[str]:
    """A line for each quantity of a check."""
    return [
        f"| {result['name']} | {row['what']} | {row['median']:.4g} | {row['lowest']:.4g} | {row['highest']:.4g} | {row['unit']} |"
        for row in result["rows"]
    ]


MET = {True: "yes", False: "**no**", None: "not at this size"}


def bars(report: Mapping[str, Any]) -> list[str]:
    """The table of aims."""
    rows = [
        f"| {bar['what']} | {bar['aim']} {bar['unit']} | {bar['reached']:.4g} | {MET[bar['met']]} |"
        for result in report["checks"]
        for bar in result["bars"]
    ]
    return ["| aim | | reached | met |", "|---|---|---:|---|", *rows, ""] if rows else []


def outcomes(report: Mapping[str, Any]) -> list[str]:
    """How each check ended."""
    lines = []
    for result in report["checks"]:
        why = "".join(f"; {reason}" for reason in result["why"])
        lines.append(f"- {result['name']}: {result['status']}, {result['seconds']:.0f} s{why}")
    return lines


def tell(*lines: str) -> None:
    """Print at once: who watches a lent machine wants to see where it is."""
    print(*lines, sep="\n", flush=True)


def write(path: Path, report: Mapping[str, Any]) -> None:
    """The report as JSON, and its tables beside it."""
    write_atomic(path, (json.dumps(report, indent=1) + "\n").encode())
    rows = [line for result in report["checks"] for line in table_rows(result)]
    text = [headline(report), "", *table_head(), *rows, "", *bars(report), *outcomes(report)]
    write_atomic(path.with_suffix(".md"), ("\n".join(text) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
