"""Kill what a session on a Ray cluster consists of, at random, and compare its records with an undisturbed session's.

python tools/break_engines.py --kills 20 --seed 0

A cluster of three Rays on this machine runs a part of the embedded suite. Workers, machines and the session itself are killed
(SIGKILL); a session that was killed, or in which cases failed, is started again on the same folders. When all records are
there the round is compared, and the next one begins with empty folders.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TASKS = "knn/digits,linear/digits,fewshot/digits/5shot,finetune/digits/recipe=quick"
BACKBONES = "pixels,colour-histogram,zoo:simclr"
# What two undisturbed sessions differ in as well.
VOLATILE = ("timings", "peak_memory", "created")


def session(folder: Path, tasks: str, backbones: str, *more: str) -> subprocess.Popen[str]:
    """Pytest on benchmarks/, with its cache and results below a folder."""
    command = [
        sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider",
        f"--sslbench-tasks={tasks}", f"--sslbench-backbones={backbones}",
        f"--sslbench-cache={folder / 'cache'}", f"--sslbench-results={folder / 'results'}", *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=(folder / "terminal.txt").open("a"), stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Every record by case, without what may differ, and with the digest of its samples' bytes that it holds."""
    found = [json.loads(path.read_bytes()) for path in folder.glob("results/*/records/*.json")]
    return {one["case"]: {name: value for name, value in one.items() if name not in VOLATILE} for one in found}


class Cluster:
    """Three Rays; `busy` are the processes of running jobs."""

    def __init__(self, cores: int) -> None:
        sys.path.insert(0, str(ROOT))
        from tests.engines.clusters import SMALL, make_cluster

        self._machine = {"num_cpus": cores, **SMALL}
        self.made = make_cluster(cores, cores, cores)

    def busy(self) -> list[int]:
        """The processes in which a job runs."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.made.list_all_nodes()}
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    title = (entry / "cmdline").read_text().split("\0")[0]
                except OSError:
                    continue
                # Ray's own agents have such titles too, and a machine goes with them; a case has a bar in its name.
                if parent in raylets and title.startswith("ray::") and "|" in title:
                    found.append(int(entry.name))
        return sorted(found)

    def replace(self, number: int) -> None:
        """Kill one of the machines that are not the head, and bring up another."""
        gone = sorted(self.made.worker_nodes, key=lambda node: str(node.node_id))[number]
        self.made.remove_node(gone, allow_graceful=False)
        self.made.add_node(**self._machine)


def main() -> int:
    """Print a line a kill and a line a round; 1 where a record differs or is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2, help="of each machine")
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--backbones", default=BACKBONES)
    parser.add_argument("--pause", type=float, nargs=2, default=(0.5, 5.0), help="least and most seconds between kills")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="sslbench-break-") as place:
        serial = Path(place) / "serial"
        serial.mkdir()
        session(serial, given.tasks, given.backbones).wait()
        expected = records(serial)
        if not expected:
            print((serial / "terminal.txt").read_text()[-3000:])
            return 1
        print(f"{len(expected)} cases; kills at random moments, seed {given.seed}", flush=True)
        cluster = Cluster(given.cores)
        try:
            return _rounds(given, chance, Path(place), cluster, expected)
        finally:
            cluster.made.shutdown()


def _rounds(given: Any, chance: random.Random, place: Path, cluster: Cluster, expected: dict[str, Any]) -> int:
    killed: Counter[str] = Counter()
    bad = number = rounds = 0
    while number < given.kills:
        rounds += 1
        folder = place / f"round{rounds}"
        folder.mkdir()
        sessions, failed, before = 0, 0, number
        engine = ("--sslbench-engine=ray", f"--sslbench-engine-options=address={cluster.made.address}")
        while len(records(folder)) < len(expected) and sessions < 30:
            sessions += 1
            running, begun = session(folder, given.tasks, given.backbones, *engine), time.monotonic()
            while running.poll() is None:
                until = time.monotonic() + chance.uniform(*given.pause)
                while time.monotonic() < until and running.poll() is None:
                    time.sleep(0.05)
                busy = cluster.busy()
                if number >= given.kills or running.poll() is not None or not busy:
                    continue
                what = chance.choices(("worker", "machine", "session"), (0.7, 0.15, 0.15))[0]
                done = len(records(folder))
                if what == "worker":
                    try:
                        os.kill(chance.choice(busy), signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                elif what == "machine":
                    cluster.replace(chance.randrange(2))
                else:
                    running.kill()
                number += 1
                killed[what] += 1
                print(
                    f"{number:3} {what:8} after {time.monotonic() - begun:5.1f} s, {done} of {len(expected)} records there",
                    flush=True,
                )
            failed += running.returncode not in (0, -signal.SIGKILL)
        got = records(folder)
        differing = sorted(case for case in expected if got.get(case) != expected[case])
        left = [path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".part"))]
        bad += len(differing)
        print(
            f"round {rounds}: {number - before} kills, {sessions} sessions ({failed} with failures), "
            f"{len(got)} of {len(expected)} records, {len(differing)} differ, {len(left)} temporary files left",
            flush=True,
        )
        if differing or failed:
            print((folder / "terminal.txt").read_text()[-4000:])
    told = ", ".join(f"{count} {what}" for what, count in killed.items())
    print(f"{killed.total()} kills ({told}), {rounds} rounds, {bad} records differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
