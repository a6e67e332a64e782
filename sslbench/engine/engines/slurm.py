"""The engine `slurm`: cases as jobs of a Slurm partition, by submitit; small ones several to a job."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import re
import secrets
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sslbench.engine.base import Ended, Engine, EngineSpec, Job, Loss, Needs, Option
from sslbench.engine.bundle import BEGUN, ENDED, LEFT, marker, read_ended, run_bundle
from sslbench.engine.cluster import Cluster
from sslbench.engine.process_cluster import ProcessCluster
from sslbench.engine.slurm_cluster import SlurmCluster
from sslbench.errors import EngineError, tell
from sslbench.files import write_atomic

_JOBS_FILE = "slurm-jobs.json"
_NAME = re.compile(r"sslbench-[0-9a-f]{8}")
_LOG_BYTES = 8192
_REFUSED_SECONDS, _REFUSED_LONG = 60.0, 600.0


@dataclass(frozen=True)
class _Member:
    """A job on its way. content: pickled."""

    name: str
    needs: Needs
    content: bytes


@dataclass
class _Bundle:
    """What one Slurm job runs. job: submitit's. members: those that have not ended, by their keys, in order."""

    job: Any
    members: dict[str, _Member]
    answered: bool = False
    loss: Loss | None = None
    lost_at: float = 0.0


def _kind(needs: Needs) -> tuple[bool, int, int]:
    """What jobs have in common that may share a Slurm job."""
    return needs.gpus < 1, math.ceil(needs.gpus), math.ceil(needs.cpus)


class SlurmEngine:
    """Submits jobs in bundles, and reads from files how each of their members ends.

    A bundle that dies takes only the member with it that it was at; those behind it are submitted again. So are those that it has
    not begun when half of its time is over. At most `slots` Slurm jobs are in the queue at a time. Jobs of a whole GPU and more
    have a Slurm job each; those of a fraction share one, one after the other. `Job.near` is not heeded: what nodes share they
    share by disk. All files lie in `engine` of the run's folder.

    Raises EngineError where there is no Slurm or no such partition, and where another session uses the folder.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        folder = folder / "engine"
        self._lock = _locked(folder)
        try:
            self._bundle = options["bundle"]
            name = f"sslbench-{secrets.token_hex(4)}"
            self._folder, self._jobs_file = folder / name, folder / _JOBS_FILE
            cluster: Callable[..., Cluster] = SlurmCluster if options["executor"] == "slurm" else ProcessCluster
            self._cluster = cluster(options, self._folder, name)
            self._seconds = 60.0 * self._cluster.minutes
            self._stop_earlier(options["executor"])
            # Answers in it are pickles: whoever may write there may run code here.
            self._folder.mkdir(mode=0o700)
            # Before the first job: who finds this after the session was killed finds all its jobs by their name.
            write_atomic(self._jobs_file, json.dumps({"executor": options["executor"], "name": name}).encode())
        except BaseException:
            self._lock.release()
            raise
        self._accepted = False
        self._waiting: deque[_Member] = deque()
        self._bundles: list[_Bundle] = []
        self._keys = 0
        self._running = 0
        self._refused_since = self._not_before = 0.0
        self._closed = False

    def check(self, needs: Sequence[Needs]) -> None:
        """Compare with the partition, and have Slurm judge account and quality of service. Raises EngineError."""
        self._cluster.check(needs)

    @property
    def has_gpus(self) -> bool:
        """Whether the partition has any."""
        return self._cluster.has_gpus

    def places(self) -> list[str]:
        """None with Slurm, which chooses."""
        return self._cluster.places()

    def submit(self, job: Job) -> None:
        """Put it into the queue; the next `collect` bundles what waits."""
        self._waiting.append(_Member(job.name, job.needs, pickle.dumps(job)))

    def collect(self, seconds: float) -> list[Ended]:
        """Submit what waits, where there is room, and look until something has ended. With 0 seconds it only looks.

        Raises what a job raised, and EngineError where Slurm is gone, or refuses all that is submitted.
        """
        deadline, pause = time.monotonic() + seconds, 0.02
        while True:
            if seconds > 0:
                self._send()
            ended = self._look()
            left = deadline - time.monotonic()
            if ended or left <= 0:
                return ended
            time.sleep(min(pause, left))
            pause = min(1.5 * pause, 1.0)

    def running(self) -> int:
        """How many were seen to begin, and not to end."""
        return self._running

    def close(self) -> None:
        """Cancel all Slurm jobs that have not ended. Logs are left."""
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        self._bundles.clear()
        try:
            self._cluster.stop()
        except EngineError as error:
            # The file of jobs stays: the next session tries again.
            tell(f"jobs called {self._cluster.name} may be left in Slurm's queue: {error}")
        else:
            self._jobs_file.unlink(missing_ok=True)
            _tidy(self._folder)
        finally:
            self._lock.release()

    def _send(self) -> None:
        while (
            self._waiting
            and (free := self._cluster.slots - len(self._bundles)) > 0
            and time.monotonic() >= self._not_before
        ):
            first = self._waiting[0].needs
            alike = [member for member in self._waiting if _kind(member.needs) == _kind(first)]
            # Side by side as far as there is room: trials of one grid are waited for together.
            size = min(self._bundle, -(-len(alike) // free)) if first.gpus < 1 else 1
            taken = alike[: free * size]
            count = -(-len(taken) // size)
            for members in (taken[start::count] for start in range(count)):
                # Dealt like cards: those that come first are the most expensive, and go to different jobs.
                if not self._send_bundle(members):
                    return
                gone = {id(member) for member in members}
                self._waiting = deque(member for member in self._waiting if id(member) not in gone)

    def _send_bundle(self, members: Sequence[_Member]) -> bool:
        needs = replace(members[0].needs, memory=max(member.needs.memory for member in members))
        keyed = {f"{self._keys + position:06d}": member for position, member in enumerate(members)}
        self._keys += len(members)
        content = [(key, member.content) for key, member in keyed.items()]
        try:
            job = self._cluster.submit(needs, run_bundle, str(self._folder), content, self._seconds)
        except EngineError:
            # Slurm lets users have so many jobs, which also others of theirs count to, and may be away for a moment.
            now = time.monotonic()
            self._refused_since = self._refused_since or now
            if not self._accepted or (not self._bundles and now - self._refused_since > _REFUSED_LONG):
                raise
            self._not_before = now + _REFUSED_SECONDS
            return False
        self._refused_since = 0.0
        self._bundles.append(_Bundle(job, keyed))
        self._accepted = True
        return True

    def _look(self) -> list[Ended]:
        files = self._files()
        ended = [end for bundle in self._bundles for end in self._told(bundle, files)]
        self._bundles = [bundle for bundle in self._bundles if bundle.members]
        ended += self._losses()
        self._bundles = [bundle for bundle in self._bundles if bundle.members]
        self._running = sum(f"{key}{BEGUN}" in files for bundle in self._bundles for key in bundle.members)
        return ended

    def _files(self) -> set[str]:
        # On NFS a listing may be old; this has its client ask the server.
        with contextlib.suppress(PermissionError):
            self._folder.chmod(self._folder.stat().st_mode)
        return {file.name for file in self._folder.iterdir()}

    def _told(self, bundle: _Bundle, files: set[str]) -> Iterator[Ended]:
        """What its members' files say."""
        self._again([bundle.members.pop(key) for key in list(bundle.members) if f"{key}{LEFT}" in files])
        for key in [key for key in bundle.members if f"{key}{ENDED}" in files]:
            member = bundle.members.pop(key)
            bundle.answered = True
            place, path = self._place(key), self._folder / f"{key}{ENDED}"
            yield Ended(member.name, read_ended(path), place=place)
            # Each look lists the folder.
            path.unlink(missing_ok=True)
            path.with_suffix(BEGUN).unlink(missing_ok=True)

    def _losses(self) -> list[Ended]:
        now = time.monotonic()
        ended: list[Ended] = []
        open_ones = [bundle for bundle in self._bundles if bundle.loss is None]
        for number, loss in self._cluster.lost([bundle.job for bundle in open_ones]).items():
            for bundle in open_ones:
                if bundle.job.job_id == number:
                    bundle.loss, bundle.lost_at = loss, now
        dead = [
            bundle
            for bundle in self._bundles
            if bundle.loss is not None and now - bundle.lost_at >= self._cluster.settle_seconds
        ]
        files = self._files() if dead else set()
        for bundle in dead:
            # Written between the last look and the end.
            ended += self._told(bundle, files)
            ended += self._lost_members(bundle, files)
        return ended

    def _lost_members(self, bundle: _Bundle, files: set[str]) -> Iterator[Ended]:
        """The member that it was at is lost; all are where it was at none, since nothing says that others would fare better."""
        assert bundle.loss is not None
        keys = list(bundle.members)
        begun = [key for key in keys if f"{key}{BEGUN}" in files]
        at = begun or keys[:1]
        for key in at if begun or bundle.answered else keys:
            member = bundle.members.pop(key)
            place = self._place(key) if key in begun else ""
            yield Ended(member.name, loss=Loss(bundle.loss.cause, bundle.loss.why, self._log(bundle, key)), place=place)
        self._again(list(bundle.members.values()))
        bundle.members.clear()

    def _again(self, members: Sequence[_Member]) -> None:
        """Back to the head of the queue, where they have been."""
        self._waiting.extendleft(reversed(members))

    def _place(self, key: str) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / f"{key}{BEGUN}").read_text()
        return ""

    def _log(self, bundle: _Bundle, key: str) -> str:
        try:
            with Path(bundle.job.paths.stdout).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
                text = file.read().decode(errors="replace")
        except OSError as error:
            return f"its log cannot be read: {error}"
        return text.rpartition(marker(key))[2].strip()

    def _stop_earlier(self, executor: str) -> None:
        """End what a session left behind that was killed."""
        if not self._jobs_file.exists():
            return
        left = _read_jobs_file(self._jobs_file)
        if left["executor"] != executor:
            raise EngineError(
                f"an earlier session with executor={left['executor']} was killed; start one like it, which ends its "
                f"jobs, or end them ({left['name']}) by hand and remove {self._jobs_file}"
            )
        if count := self._cluster.stop_earlier(left["name"]):
            tell(f"ended {count} job(s) of an earlier session that was killed; trainings go on from their last states")
        _tidy(self._jobs_file.parent / left["name"])
        self._jobs_file.unlink()


def _read_jobs_file(path: Path) -> dict[str, str]:
    """What an earlier session wrote. By the name jobs are ended and a folder is emptied, so that it has to be one of ours."""
    try:
        left: dict[str, str] = json.loads(path.read_bytes())
        if _NAME.fullmatch(left["name"]) and isinstance(left["executor"], str):
            return left
    except (ValueError, KeyError, TypeError):
        pass
    raise EngineError(
        f"{path} is damaged: expected the name of an earlier session's jobs, sslbench- and eight digits. See that no such jobs "
        "are left (squeue), then remove the file"
    )


def _locked(folder: Path) -> FileLock:
    """The folder, for one session at a time: a second would take the first one's jobs for those of a dead one."""
    lock = FileLock(folder / "slurm.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise EngineError(
            f"another session submits jobs from {folder}; wait for its end, or give this one other results"
        ) from None
    except OSError as error:
        raise EngineError(f"cannot write logs of Slurm jobs to {folder}: {error}") from None
    return lock


def _tidy(folder: Path) -> None:
    """Leave of a session's folder the logs alone, and nothing where there are none."""
    for file in folder.glob("*"):
        if file.suffix != ".out" or not file.stat().st_size:
            file.unlink(missing_ok=True)
    if folder.exists() and not any(folder.iterdir()):
        shutil.rmtree(folder)


def _number(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"expected a whole number from {least}, got {text!r}")
        return int(text)

    return read


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got {text!r}")
        return text

    return read


def _start(options: Mapping[str, Any], folder: Path) -> Engine:
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise EngineError("the engine slurm needs submitit: pip install 'sslbench[slurm]'") from None
    return SlurmEngine(options, folder)


ENGINE = EngineSpec(
    "slurm",
    "jobs of a Slurm partition, by submitit",
    _start,
    {
        "partition": Option(str, "", "where jobs run; Slurm's default otherwise"),
        "account": Option(str, "", "who is charged"),
        "qos": Option(str, "", "quality of service"),
        "time": Option(
            _number(1), 0, "minutes of one Slurm job, 240 or what the partition allows; a training goes on in the next"
        ),
        "gpu": Option(str, "", "the kind of GPU, as sinfo -o %G names it, such as a100"),
        "gres": Option(str, "", "further resources of each job"),
        "constraint": Option(str, "", "features that nodes must have"),
        "setup": Option(str, "", "shell commands before python, such as module load cuda"),
        "slots": Option(_number(1), 0, "most Slurm jobs in the queue at a time; 64, with executor=local the cores"),
        "bundle": Option(
            _number(1), 8, "most cases of less than a GPU in one Slurm job, where slots are too few for all"
        ),
        "executor": Option(_one_of("slurm", "local"), "slurm", "local tries it with processes of this machine"),
    },
    extra="slurm",
)
