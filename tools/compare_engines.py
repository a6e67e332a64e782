"""Time many short jobs on a Ray cluster of this machine: stub cases by the controller, jobs by the engine, bare tasks of Ray.

python tools/compare_engines.py --jobs 1120 --slots 16 --seconds 1

Jobs sleep, so that slots may be more than cores. `ideal` is what the sleep alone takes on all slots; the start of the workers'
processes is told apart, since it is the same for a run of minutes and one of days.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslbench.config import Settings
from sslbench.engine import controller
from sslbench.engine.base import Job, Needs, engine_spec
from sslbench.engine.worker import Answer, Order
from sslbench.results.references import read_records
from sslbench.results.runs import Run
from sslbench.tasks import Task

RECORD = read_records(Path(__file__).parents[1] / "results" / "baselines" / "embedded.json")[0].to_json()


def nap(seconds: float) -> float:
    """What a job does."""
    time.sleep(seconds)
    return seconds


@contextlib.contextmanager
def cluster(slots: int, machines: int) -> Iterator[str]:
    """A cluster of so many Rays on this machine; yields its address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"num_cpus": slots // machines, "object_store_memory": 100 << 20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    for _ in range(machines - 1):
        made.add_node(**small)
    try:
        yield made.address
    finally:
        made.shutdown()


def by_engine(engine: Any, jobs: int, seconds: float) -> tuple[float, float]:
    """Wall time of so many jobs, and the CPU time that it took here."""
    begun, spent = time.perf_counter(), time.process_time()
    for number in range(jobs):
        engine.submit(Job(f"{seconds}/{number}", compare_engines.nap, seconds, Needs(cpus=1)))
    done = 0
    while done < jobs:
        done += len(engine.collect(1.0))
    return time.perf_counter() - begun, time.process_time() - spent


def stub(order: Order) -> Answer:
    """What a stub case does instead of running: it sleeps, and answers with a record and samples that are written here."""
    time.sleep(float(order.task.variant))
    return Answer(RECORD, b"samples")


def by_controller(engine: Any, folder: Path, jobs: int, seconds: float) -> tuple[float, float]:
    """The same as cases of 14 backbones, with all that the controller does for each."""
    begun, spent = time.perf_counter(), time.process_time()
    run = Run(folder / f"run-{seconds}")
    run.check_writable()
    one = controller.Controller(engine, run)
    controller.run = compare_engines.stub
    tasks = [Task("knn", f"stub{number}", str(seconds)) for number in range(-(-jobs // 14))]
    cases = [
        controller.Planned(Order(f"backbone{number}", task, Settings(), threads=1), Needs(cpus=1))
        for number in range(14)
        for task in tasks
    ][:jobs]
    one.submit(cases)
    for case in cases:
        assert one.wait_for(case.name).failure is None
    return time.perf_counter() - begun, time.process_time() - spent


def by_ray(jobs: int, seconds: float) -> tuple[float, float]:
    """The same as tasks of Ray, all gathered at the end."""
    import ray

    task = ray.remote(num_cpus=1, max_retries=0)(nap)
    begun, spent = time.perf_counter(), time.process_time()
    ray.get([task.remote(seconds) for _ in range(jobs)])
    return time.perf_counter() - begun, time.process_time() - spent


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=14 * 80)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--machines", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    spec = engine_spec("ray")
    options = {name: option.default for name, option in spec.options.items()}
    rows = []
    with cluster(given.slots, given.machines) as address, tempfile.TemporaryDirectory() as folder:
        engine = spec.start({**options, "address": address}, Path(folder))
        start = by_engine(engine, given.slots, 0.5)[0] - 0.5
        by_ray(given.slots, 0.5)
        for seconds in (given.seconds, 0.0):
            ideal = given.jobs * seconds / given.slots
            for name, run in (
                ("controller", lambda s=seconds: by_controller(engine, Path(folder), given.jobs, s)),
                ("engine ray", lambda s=seconds: by_engine(engine, given.jobs, s)),
                ("bare ray", lambda s=seconds: by_ray(given.jobs, s)),
            ):
                wall, spent = run()
                share = f"{ideal / wall:.1%}" if ideal else "-"
                over = (wall - ideal) / given.jobs * 1000
                rows.append(
                    (
                        name,
                        f"{seconds:g}",
                        f"{ideal:.1f}",
                        f"{wall:.1f}",
                        share,
                        f"{over:.1f}",
                        f"{spent / given.jobs * 1000:.2f}",
                    )
                )
        engine.close()
    print(
        f"{given.jobs} jobs on {given.slots} slots of {given.machines} machines; "
        f"{start:.1f} s for the workers' processes to start"
    )
    heads = ("", "sleep s", "ideal s", "wall s", "share", "ms over ideal a job", "ms of CPU here a job")
    for row in (heads, *rows):
        print("  ".join(f"{cell:>{max(len(head), 10)}}" for cell, head in zip(row, heads, strict=True)))


if __name__ == "__main__":
    # Jobs are of a module: workers import this one by its name.
    import compare_engines

    main()
