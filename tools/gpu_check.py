"""Everything that wants a GPU, measured and checked in one run of a few minutes, without a network.

    python tools/gpu_check.py [--seconds 480] [--only CHECK]... [--out gpu-check.json]
    python tools/gpu_check.py --device cpu --small        # the script itself, on a CPU and by sizes that say nothing of speed

Prints Markdown tables and writes a JSON file, the tables beside it, again after every check. A check that fails is a row with
its error, leaves the others alone and makes the exit status 1. Each has its part of the time; what does not fit is left out and
told. Aims that are missed are told and fail nothing: they hold for one device.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

# The copy that this file belongs to is what is checked, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from gpu_checks.bench import Bench, Found

from sslbench.environment import environment
from sslbench.errors import DeviceError, SslbenchError
from sslbench.features.device import resolve_device
from sslbench.files import write_atomic

Check = Callable[[Bench, Found], None]


def of(module: str, function: str) -> Check:
    """A check, whose module is imported when it runs: a library that is missing ends no other."""

    def check(bench: Bench, found: Found) -> None:
        getattr(import_module(f"gpu_checks.{module}"), function)(bench, found)

    return check


# In the order of running: what is short goes first, in case the time runs out.
CHECKS: Mapping[str, Check] = {
    "machine": of("machine", "machine"),
    "knn": of("neighbours", "nearest_neighbours"),
    "few-shot": of("neighbours", "few_shot"),
    "linear-pets": of("linear", "pets"),
    "linear-cifar10": of("linear", "cifar10"),
    "occlusion": of("occlusion", "occlusion"),
    "inversion": of("inversion", "inversion"),
    "finetuning": of("steps", "finetuning"),
    "detection": of("steps", "detection"),
    "segmentation": of("steps", "segmentation"),
    "normals": of("steps", "normals"),
    "training": of("training", "training"),
    "trials": of("sharing", "trials"),
    "sharing": of("sharing", "sharing"),
    "scores": of("scores", "scores"),
    "resnet50": of("extraction", "resnet50"),
    "vit-b16": of("extraction", "vit_b16"),
    "linear-food101": of("linear", "food101"),
}
# RuntimeError is what torch raises when the device fails or its memory is full.
FAILURES = (
    *(SslbenchError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(AssertionError, ImportError, OSError, EOFError, MemoryError),
)
# Of the whole time: what has begun by the end of the rest needs some to end.
USED = 0.9
# Of the time that is left, over the checks that are left, what one may take before it leaves out its further rounds and parts.
SHARE = 2.0


class OutOfTimeError(Exception):
    """The whole time is over while a check runs."""


def main(arguments: Sequence[str] | None = None, checks: Mapping[str, Check] = CHECKS) -> int:
    """Run the checks; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--small", action="store_true", help="tiny sizes, whose figures say nothing")
    parser.add_argument(
        "--seconds", type=float, default=480.0, help="of the whole run; what does not fit is skipped and told"
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
    end = time.monotonic() + options.seconds
    bench = Bench(device, options.small, end - (1 - USED) * options.seconds)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "tools/gpu_check.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "small": options.small,
        "environment": facts(device),
        "checks": [],
    }
    tell(headline(report), "", *table_head())

    def add(result: dict[str, Any]) -> None:
        report["checks"].append(result)
        tell(*table_rows(result))
        write(options.out, report)

    names = list(dict.fromkeys(options.only or checks))
    for place, name in enumerate(names):
        rest = names[place + 1 :]
        add(guarded(bench, name, checks[name], end, len(rest)))
        if rest and report["checks"][-1]["status"] == "failed" and not answers(device):
            for result in in_another_process(rest, options, end):
                add(result)
            break
    tell("", *bars(report), *outcomes(report))
    return int(any(result["status"] == "failed" for result in report["checks"]))


def guarded(bench: Bench, name: str, check: Check, end: float, further: int) -> dict[str, Any]:
    """What a check found, also when it broke off. end: of the whole run. further: how many checks come after it."""
    start = time.monotonic()
    if bench.late:
        return skipped(name, "the time was over")
    found, status = Found(), "ok"
    share = SHARE * (bench.deadline - start) / (further + 1)
    own = replace(bench, deadline=min(bench.deadline, start + share))
    try:
        if bench.device.startswith("cuda"):
            torch.cuda.empty_cache()
        bench.forget_peak()
        with ends_at(end):
            check(own, found)
        found.peak = max(found.peak, bench.peak())
    except OutOfTimeError:
        status = "skipped"
        found.left.append("broken off: the time was over")
    except FAILURES as error:
        traceback.print_exc()
        found.expect(False, f"{type(error).__name__}: {error}")
    return {
        "name": name,
        "status": "failed" if found.faults else status,
        "why": [*found.faults, *found.left],
        "seconds": time.monotonic() - start,
        "peak_device_memory": found.peak or None,
        "rows": [row.to_json() for row in found.rows],
        # An aim belongs to its size.
        "bars": [bar.to_json() | ({"met": None} if bench.small else {}) for bar in found.bars],
    }


def skipped(name: str, why: str, status: str = "skipped") -> dict[str, Any]:
    """Of a check that did not run."""
    nothing: dict[str, Any] = {"seconds": 0.0, "peak_device_memory": None, "rows": [], "bars": []}
    return {"name": name, "status": status, "why": [why], **nothing}


@contextmanager
def ends_at(end: float) -> Iterator[None]:
    """OutOfTimeError where a check runs longer. It comes between two calls of torch, since a call is not interrupted."""

    def over(number: int, frame: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def answers(device: str) -> bool:
    """Whether the device still computes for this process: after an error in a kernel it does not."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2
    except RuntimeError:
        return False


def in_another_process(names: Sequence[str], options: argparse.Namespace, end: float) -> list[dict[str, Any]]:
    """The results of some checks, for which the device is opened anew."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rest.json"
        command = [sys.executable, __file__, "--device", options.device, "--out", str(out)]
        command += ["--seconds", str(max(0.0, end - time.monotonic())), *(["--small"] if options.small else [])]
        for name in names:
            command += ["--only", name]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        results: list[dict[str, Any]] = json.loads(out.read_text())["checks"] if out.exists() else []
    last = next(reversed(done.stderr.splitlines()), "")
    missing = names[len(results) :]
    return [
        *results,
        *(skipped(name, f"the process ended with {done.returncode}: {last}", "failed") for name in missing),
    ]


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
    """A line for each quantity of a check, and one for whatever went wrong."""
    name = result["name"]
    lines = [
        f"| {name} | {row['what']} | {row['median']:.4g} | {row['lowest']:.4g} | {row['highest']:.4g} | {row['unit']} |"
        for row in result["rows"]
    ]
    if result["status"] == "failed":
        # A message may have bars and lines of its own.
        lines += [
            f"| {name} | **failed:** {' '.join(why.replace('|', '/').split())} | | | | |" for why in result["why"]
        ]
    return lines


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
        peak = result["peak_device_memory"]
        memory = f", {peak / 2**30:.2f} GiB of the device at most" if peak else ""
        lines.append(f"- {result['name']}: {result['status']}, {result['seconds']:.0f} s{memory}{why}")
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
