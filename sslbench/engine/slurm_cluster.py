"""A Slurm cluster as a place for bundles of jobs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import which
from typing import Any, Literal

from sslbench.engine import slurm_commands
from sslbench.engine.base import Loss, Needs
from sslbench.engine.cluster import END_SECONDS, MINUTES, SETUP_FAILED, before, plain_environment
from sslbench.engine.slurm_commands import JobState, Partition
from sslbench.errors import EngineError, tell
from sslbench.names import did_you_mean

_MACHINE_GONE = ("NODE_FAIL", "PREEMPTED", "CANCELLED", "REVOKED", "BOOT_FAIL", "TIMEOUT", "DEADLINE")
_PROCESS_DIED = ("COMPLETED", "FAILED", "OUT_OF_MEMORY")
# Reasons to wait that waiting does not end.
_FOR_EVER = re.compile("BadConstraints|MaxWall|Invalid|NotAllowed|JobHeld|Partition(TimeLimit|NodeLimit|Down|Inactive)")


class SlurmCluster:
    """A Slurm cluster. options: of the engine. folder: of what is submitted, on a disk that nodes share.

    Raises EngineError where there is no Slurm or no such partition.
    """

    settle_seconds = 10.0
    ask_seconds = 15.0

    def __init__(self, options: Mapping[str, Any], folder: Path, name: str) -> None:
        missing = [command for command in ("sbatch", "squeue", "sinfo", "scancel") if which(command) is None]
        if missing:
            raise EngineError(
                f"expected Slurm's commands on this machine, found no {', '.join(missing)}. Start this session on a login "
                "node, or try it here with --sslbench-engine-options executor=local"
            )
        self._options, self._folder, self.name = options, folder, name
        self.slots = options["slots"] or 64
        self._nodes = self._of_partition(slurm_commands.partitions())
        self._longest = max(node.minutes for node in self._nodes)
        self.minutes = options["time"] or int(min(MINUTES, self._longest))
        self._asked = self._answered = time.monotonic()
        self._unknown: dict[str, int] = {}
        self._warned_reasons: set[str] = set()
        self._excluded: list[str] = []

    def _of_partition(self, all_nodes: Sequence[Partition]) -> list[Partition]:
        wanted = self._options["partition"]
        names = sorted({node.name for node in all_nodes})
        for name in wanted.split(",") if wanted else []:
            if name not in names:
                raise EngineError(
                    f"no partition {name!r} in this Slurm, only {', '.join(names)}{did_you_mean(name, names)}"
                )
        found = [node for node in all_nodes if (node.name in wanted.split(",") if wanted else node.default)]
        if not found:
            raise EngineError(
                f"this Slurm has no default partition; choose one of {', '.join(names)} with partition=NAME"
            )
        if not any(node.up for node in found):
            raise EngineError(
                f"the partition {found[0].name} is not up and takes no jobs; choose one of {', '.join(names)}"
            )
        return [node for node in found if node.up]

    @property
    def has_gpus(self) -> bool:
        """Whether a node of the partition has any."""
        return any(node.gpus for node in self._nodes)

    def places(self) -> list[str]:
        """Slurm chooses; a job could not be sent to a place without waiting for it."""
        return []

    def exclude(self, place: str) -> None:
        """Ask for no job there any more; whether a node is left, `check` has Slurm say."""
        self._excluded.append(place)

    def check(self, needs: Sequence[Needs]) -> None:
        """Compare with the nodes of the partition, then have sbatch say what it thinks of account and quality of service."""
        name = ",".join(dict.fromkeys(node.name for node in self._nodes))
        if self.minutes > self._longest:
            raise EngineError(
                f"a job of the partition {name} may last {self._longest:g} minutes, time={self.minutes} asks for more; give a "
                "shorter time (trainings go on from where they were) or another partition"
            )
        for need in dict.fromkeys(needs):
            self._check_nodes(name, need)
        # Slurm is asked once for each kind of job, about the largest.
        largest = {(need.gpus, need.cpus): need for need in sorted(needs, key=lambda need: need.memory)}
        for need in largest.values():
            with plain_environment():
                slurm_commands.ask(["sbatch", "--test-only", *self._flags(need), "--wrap=true"])

    def _check_nodes(self, name: str, need: Needs) -> None:
        if need.gpus and not self.has_gpus:
            raise EngineError(
                f"a case needs a GPU, and no node of the partition {name} has any; choose another partition"
            )
        if not any(
            node.cpus >= need.cpus and node.memory >= need.memory and node.gpus >= need.gpus for node in self._nodes
        ):
            raise EngineError(
                f"a job needs {need.cpus:g} cores, {need.gpus:g} GPUs and {need.memory / 2**30:.1f} GiB of memory on one node; "
                f"no node of the partition {name} has as much. Choose another partition, ask for less by cpus= and memory=, "
                "or by bundle= for fewer cases side by side on a GPU"
            )

    def _parameters(self, needs: Needs) -> dict[str, Any]:
        kind = ["gpu", *([self._options["gpu"]] if self._options["gpu"] else []), f"{needs.gpus:g}"]
        gres = [":".join(kind)] if needs.gpus else []
        gres += [self._options["gres"]] if self._options["gres"] else []
        # Rounded up: fractions of a megabyte cannot be asked for.
        memory = f"{-(-needs.memory >> 20)}MB" if needs.memory else None
        given = {
            "job_name": self.name,
            "partition": self._options["partition"],
            "account": self._options["account"],
            "qos": self._options["qos"],
            "constraint": self._options["constraint"],
            "exclude": ",".join(self._excluded),
            "time": self.minutes,
            "cpus_per_task": int(needs.cpus),
            "gres": ",".join(gres),
            "mem": memory,
        }
        return {name: value for name, value in given.items() if value}

    def _flags(self, needs: Needs) -> list[str]:
        return [f"--{name.replace('_', '-')}={value}" for name, value in self._parameters(needs).items()]

    def submit(self, needs: Needs, threads: int, function: Callable[..., None], *arguments: Any) -> Any:
        """One Slurm job of one task. Raises EngineError where sbatch refuses it."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = submitit.SlurmExecutor(self._folder)
        executor.update_parameters(
            **self._parameters(needs),
            setup=before(self._options["setup"], threads),
            stderr_to_stdout=True,
            # A step of its own would get one core since Slurm 22.05, whatever the job has.
            use_srun=False,
            # The controller submits again, and counts how often.
            additional_parameters={"no-requeue": True},
        )
        with plain_environment():
            try:
                return executor.submit(function, *arguments)
            except (FailedJobError, FailedSubmissionError, OSError) as error:
                raise EngineError(f"sbatch refused a job: {error}") from error

    def lost(self, jobs: Sequence[Any]) -> dict[str, Loss]:
        """Asks Slurm every quarter of a minute; in between none is known to have ended.

        Raises EngineError where Slurm was silent for ten minutes.
        """
        now = time.monotonic()
        if not jobs or now - self._asked < self.ask_seconds:
            return {}
        self._asked = now
        numbers = [job.job_id for job in jobs]
        try:
            states = slurm_commands.job_states(self.name)
        except EngineError as error:
            if now - self._answered > 600:
                raise EngineError(f"Slurm has not answered for ten minutes: {error}") from error
            return {}
        self._answered = now
        if unknown := [number for number in numbers if number not in states]:
            states.update(slurm_commands.past_states(unknown))
        return {number: loss for number in numbers if (loss := self._loss(number, states.get(number))) is not None}

    def _loss(self, number: str, state: JobState | None) -> Loss | None:
        if state is None:
            # A job that was just submitted may not be there yet.
            self._unknown[number] = self._unknown.get(number, 0) + 1
            return (
                Loss("machine", f"Slurm knows nothing of its job {number} any more")
                if self._unknown[number] >= 3
                else None
            )
        self._unknown.pop(number, None)
        if state.name not in _MACHINE_GONE + _PROCESS_DIED:
            self._tell_of(number, state)
            return None
        where = f"the Slurm job {number}{f' on {state.node}' if state.node else ''}"
        if state.name == "TIMEOUT":
            return Loss(
                "machine",
                f"{where} reached the time limit of {self.minutes} minutes; a training goes on from its last state, and "
                "one that comes to none within the limit needs a longer time=MINUTES",
            )
        cause: Literal["worker", "machine"] = "machine" if state.name in _MACHINE_GONE else "worker"
        why = [state.name, *([state.reason] if state.reason else [])]
        if cause == "worker" and (end := slurm_commands.exit_of(number)):
            if self._options["setup"] and end == f"exit status {SETUP_FAILED}":
                return Loss("unfit", f"{where} came to no python: setup={self._options['setup']} failed")
            why.append(end)
        return Loss(cause, f"{where} ended: {', '.join(why)}")

    def _tell_of(self, number: str, state: JobState) -> None:
        if state.name == "PENDING" and state.reason not in self._warned_reasons and _FOR_EVER.search(state.reason):
            self._warned_reasons.add(state.reason)
            tell(f"Slurm will not start its job {number} as things are: {state.reason} (squeue --name={self.name})")

    def stop(self) -> None:
        """Cancel whatever has this name."""
        slurm_commands.cancel(self.name)

    def stop_earlier(self, name: str) -> int:
        """Those that wait in the queue among them."""
        live = _live(slurm_commands.job_states(name))
        if live:
            slurm_commands.cancel(name)
        deadline = time.monotonic() + END_SECONDS
        while _live(slurm_commands.job_states(name)):
            if time.monotonic() > deadline:
                raise EngineError(
                    f"jobs of an earlier session do not end: scancel --name={name} by hand, then start this one again"
                )
            time.sleep(0.5)
        return len(live)


def _live(states: Mapping[str, JobState]) -> list[str]:
    return [number for number, state in states.items() if state.name not in _MACHINE_GONE + _PROCESS_DIED]
