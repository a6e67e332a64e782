"""Slurm's own commands, asked as little as possible: partitions, states of jobs, and an end to them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from sslbench.errors import EngineError

_SECONDS = 60


@dataclass(frozen=True)
class Partition:
    """Nodes of one kind in a partition. minutes: the longest job; cpus, gpus, memory (bytes): of one node."""

    name: str
    default: bool
    up: bool
    minutes: float
    cpus: int
    memory: int
    gpus: int


@dataclass(frozen=True)
class JobState:
    """A job as Slurm sees it. name: its state, such as RUNNING. reason: why it waits, or ended as it did."""

    name: str
    reason: str = ""
    node: str = ""


def ask(command: Sequence[str]) -> str:
    """What a command prints. Raises EngineError with what it said where it fails, or is silent for a minute."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise EngineError(f"`{' '.join(command)}` gave no answer within {_SECONDS} seconds") from None
    except OSError as error:
        raise EngineError(f"`{command[0]}` cannot be run: {error}") from None
    if done.returncode:
        raise EngineError(f"`{' '.join(command)}` failed: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def partitions() -> list[Partition]:
    """All partitions, one entry a kind of nodes. Raises EngineError."""
    return read_partitions(ask(["sinfo", "--noheader", "--format=%P|%a|%l|%c|%m|%G"]))


def read_partitions(text: str) -> list[Partition]:
    """What `sinfo --format=%P|%a|%l|%c|%m|%G` printed."""
    found = []
    for line in text.splitlines():
        name, up, limit, cpus, memory, gres = line.strip().split("|")
        gpus = re.findall(r"(?:^|,)gpu(?::[^:,(]+)??(?::(\d+))?(?=[,(]|$)", gres)
        found.append(
            Partition(
                name.rstrip("*"), name.endswith("*"), up == "up", _minutes(limit), int(cpus.rstrip("+")),
                int(memory.rstrip("+")) << 20, sum(int(count or 1) for count in gpus),
            )
        )  # fmt: skip
    return found


def _minutes(text: str) -> float:
    """[DAYS-][HOURS:]MINUTES:SECONDS."""
    if text == "infinite":
        return inf
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    seconds = sum(part * factor for part, factor in zip(reversed(parts), (1, 60, 3600), strict=False))
    return int(days or 0) * 1440 + seconds / 60


def job_states(name: str) -> dict[str, JobState]:
    """By their numbers, this user's jobs called `name` that Slurm remembers, ended ones for some minutes. Raises EngineError."""
    lines = ask(
        ["squeue", "--noheader", f"--user={os.getuid()}", f"--name={name}", "--states=all", "--format=%i|%T|%r|%N"]
    )
    found = {}
    for line in lines.splitlines():
        number, state, reason, node = line.strip().split("|")
        found[number] = JobState(state, "" if reason == "None" else reason, node)
    return found


def past_states(numbers: Sequence[str]) -> dict[str, JobState]:
    """The states of jobs that `job_states` does not know any more, where the cluster keeps accounts; none otherwise."""
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobIDRaw,State,NodeList"]
    try:
        lines = ask([*command, f"--jobs={','.join(numbers)}"])
    except EngineError:
        # A cluster without accounting is a sound one.
        return {}
    found = {}
    for line in lines.splitlines():
        number, state, node = line.strip().split("|")
        # `CANCELLED by 1000`
        found[number] = JobState(state.partition(" ")[0], node=node)
    return found


def exit_of(number: str) -> str:
    """How an ended job's process ended (`killed by signal 9`), empty where Slurm does not tell."""
    try:
        text = ask(["scontrol", "show", "job", "--oneliner", number])
    except EngineError:
        return ""
    if (code := re.search(r" ExitCode=(\d+):(\d+)", text)) is None:
        return ""
    # The shell of the batch script reports the signal that ended python as a status.
    status, by_signal = int(code[1]), int(code[2]) or max(int(code[1]) - 128, 0)
    return f"killed by signal {by_signal}" if by_signal else f"exit status {status}"


def cancel(name: str) -> None:
    """End all jobs of this user called `name`, those that wait among them. Raises EngineError."""
    ask(["scancel", f"--user={os.getuid()}", f"--name={name}"])
