"""How long the hot paths take on an idle machine and beside busy programs, side by side.

python tools/busy_machine.py --repeats 3 --suite

Every figure is of a process of its own, in turns, so that a change of the machine meets all of them. Ratios are to the idle time
as installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WAYS = {
    "as installed": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "passive waiting": {"OMP_WAIT_POLICY": "passive"},
    "not giving way": {"BUSY_MACHINE_KEEP_THREADS": "1"},
}
"""Names and environments; the last one runs without what `sslbench.threads` does."""


def pets() -> Callable[[], object]:
    """The path of 45 penalties at Pets' size."""
    from compare_probes import SIZES, problem, solve

    data = problem(SIZES["pets"], signal=0.5)
    return lambda: solve(data)


def small() -> Callable[[], object]:
    """Four paths and refits at the size of the embedded suite's probes."""
    import numpy as np
    import torch

    from sslbench.metrics import METRICS
    from sslbench.protocols.base import Labelled
    from sslbench.protocols.linear import Linear

    def split(count: int, seed: int) -> Labelled:
        rng = np.random.default_rng(seed)
        targets = np.arange(count) % 8
        centres = np.random.default_rng(0).normal(size=(8, 96)) * 0.4
        x = np.maximum((centres[targets] + rng.normal(size=(count, 96))) * np.logspace(0, -2, 96), 0)
        return Labelled(torch.from_numpy(x.astype(np.float32)), targets)

    pairs = [(split(1200, seed), split(400, seed + 100)) for seed in range(4)]
    return lambda: [Linear().learn(train, val, num_classes=8, metric=METRICS["top1"]) for train, val in pairs]


def extraction() -> Callable[[], object]:
    """A backbone of the zoo on 1,200 pictures of 64 x 64."""
    import numpy as np

    from sslbench.backbones import load_backbone
    from sslbench.datasets import ImageArray
    from sslbench.features.extract import extract_features

    pixels = np.random.default_rng(0).integers(0, 256, (1200, 64, 64, 3), dtype=np.uint8)
    source = ImageArray("noise", pixels)
    backbone = load_backbone("zoo:simclr")
    return lambda: extract_features(backbone, source)


def fewshot() -> Callable[[], object]:
    """600 episodes at 20 shots in 6,000 x 2,048."""
    import numpy as np
    import torch

    from sslbench.features.stacked import Pool
    from sslbench.protocols.fewshot import FewShot

    targets = np.arange(6000) % 60
    pool = Pool([torch.rand(6000, 2048)])
    protocol = FewShot("20shot")
    episodes = protocol.draw(targets, tuple(map(str, range(60))))
    return lambda: protocol.predict(pool, episodes)


WORK = {"pets": pets, "small": small, "extraction": extraction, "fewshot": fewshot}


def seconds(work: str, way: str) -> float:
    """The time of a piece of work, or of the whole cold suite, in a process of its own."""
    environment = {**os.environ, **WAYS[way]}
    if work != "suite":
        command = [sys.executable, __file__, "--run", work]
        done = subprocess.run(command, env=environment, check=True, text=True, capture_output=True)
        return float(done.stdout.split()[-1])
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--sslbench-cache={folder}/cache", f"--sslbench-results={folder}/results"]
        command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-m", "not slow", *options]
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, cwd=REPOSITORY, capture_output=True)
        return time.perf_counter() - start


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many programs that want a core all the time."""
    # Not beyond the life of this one, however it ends.
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    programs = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _run(work: str) -> None:
    if os.environ.get("BUSY_MACHINE_KEEP_THREADS"):
        from sslbench import threads

        threads.run_and_wait = lambda: None
    run = WORK[work]()
    run()
    start = time.perf_counter()
    run()
    print(time.perf_counter() - start)


def main() -> None:
    """Print a Markdown table: medians, ranges and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--busy", type=int, default=len(os.sched_getaffinity(0)), help="busy programs; default one a core"
    )
    parser.add_argument("--work", default=",".join(WORK), help="which, separated by commas")
    parser.add_argument("--ways", default=",".join(WAYS), help="how, separated by commas")
    parser.add_argument("--suite", action="store_true", help="the whole cold embedded suite too, as installed")
    parser.add_argument("--run", choices=WORK, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        _run(arguments.run)
        return
    cases = [(work, way) for work in arguments.work.split(",") for way in arguments.ways.split(",")]
    cases += [("suite", "as installed")] if arguments.suite else []
    times: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(arguments.repeats):
        for programs in (0, arguments.busy):
            with busy(programs):
                for work, way in cases:
                    times.setdefault((work, way, programs), []).append(seconds(work, way))
    print(f"| work | way | idle | beside {arguments.busy} busy programs | idle, ratio | busy, ratio |")
    print("|---|---|---:|---:|---:|---:|")
    for work, way in cases:
        unit = statistics.median(times[work, "as installed", 0]) if (work, "as installed", 0) in times else None
        cells = [times[work, way, programs] for programs in (0, arguments.busy)]
        told = [f"{statistics.median(t):.2f} s ({min(t):.2f} to {max(t):.2f})" for t in cells]
        ratios = [f"{statistics.median(t) / unit:.2f}" if unit else "" for t in cells]
        print(f"| {work} | {way} | {' | '.join([*told, *ratios])} |", flush=True)


if __name__ == "__main__":
    main()
