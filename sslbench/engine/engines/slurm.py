"""The engine `slurm`: cases as jobs of a Slurm partition, by submitit; small ones several to a job, side by side on a GPU."""

from __future__ import annotations

import contextlib
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sslbench.engine.base import Ended, Engine, EngineSpec, Job, Loss, Needs, Option
from sslbench.engine.bundle import run_bundle
from sslbench.engine.cluster import Cluster
from sslbench.engine.member import BEGUN, ENDED, LEFT, end_of_log, read_begun, read_ended
from sslbench.engine.process_cluster import ProcessCluster
from sslbench.engine.session_folder import SessionFolder
from sslbench.engine.slurm_cluster import SlurmCluster
from sslbench.errors import EngineError, tell

_REFUSED_SECONDS, _REFUSED_LONG = 60.0, 600.0


@dataclass(frozen=True)
class _Member:
    """A job on its way. content: pickled. alone: whether it is to have a Slurm job for itself."""

    name: str
    needs: Needs
    content: bytes
    alone: bool = False


@dataclass
class _Bundle:
    """What one Slurm job runs. job: submitit's. members: those that have not ended, by their keys, in order."""

    job: Any
    members: dict[str, _Member]
    answered: bool = False
    loss: Loss | None = None
    lost_at: float = 0.0


class SlurmEngine:
    """Submits jobs in bundles, and reads from files how each of their members ends.

    A bundle that dies takes only the member with it that it was at; those behind it are submitted again. So are those that it
    has not begun when half of its time is over. Where it was at several, any of which may have ended it, each is run again in a
    Slurm job for itself, which tells who it was. At most `slots` Slurm jobs are in the queue at a time. Jobs of a whole GPU and
    more have a Slurm job each; those of a fraction run side by side in one, as many as fill the GPU, those of none one after the
    other. `Job.near` is not heeded: what nodes share they share by disk. All files lie in `engine` of the run's folder.

    Raises EngineError where there is no Slurm or no such partition, and where another session uses the folder.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        self._session = SessionFolder(folder / "engine", options["executor"])
        self._folder = self._session.path
        try:
            self._bundle = options["bundle"]
            cluster: Callable[..., Cluster] = SlurmCluster if options["executor"] == "slurm" else ProcessCluster
            self._cluster = cluster(options, self._folder, self._session.name)
            self._seconds = 60.0 * self._cluster.minutes
            self._session.begin(self._cluster.stop_earlier)
        except BaseException:
            self._session.release()
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
        self._cluster.check([_together([need] * self._concurrency(need), self._concurrency(need)) for need in needs])

    @property
    def has_gpus(self) -> bool:
        """Whether the partition has any."""
        return self._cluster.has_gpus

    def places(self) -> list[str]:
        """None with Slurm, which chooses."""
        return self._cluster.places()

    def exclude(self, place: str) -> None:
        """Leave a node out of all Slurm jobs that are submitted from now on."""
        self._cluster.exclude(place)

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
            # The note of them stays: the next session tries again.
            tell(f"jobs called {self._cluster.name} may be left in Slurm's queue: {error}")
        else:
            self._session.end()
        finally:
            self._session.release()

    def _send(self) -> None:
        while (
            self._waiting
            and (free := self._cluster.slots - len(self._bundles)) > 0
            and time.monotonic() >= self._not_before
        ):
            first = self._waiting[0]
            alike = [member for member in self._waiting if _kind(member) == _kind(first)]
            # Side by side as far as there is room: trials of one grid are waited for together. Yet no GPU for a quarter of one.
            shares = first.needs.gpus < 1 and not first.alone
            size = min(self._bundle, max(self._concurrency(first.needs), -(-len(alike) // free))) if shares else 1
            taken = alike[: free * size]
            count = -(-len(taken) // size)
            for members in (taken[start::count] for start in range(count)):
                # Dealt like cards: those that come first are the most expensive, and go to different jobs.
                if not self._send_bundle(members):
                    return
                gone = {id(member) for member in members}
                self._waiting = deque(member for member in self._waiting if id(member) not in gone)

    def _concurrency(self, needs: Needs) -> int:
        """How many jobs with these needs run side by side in a Slurm job."""
        # A third is a little less than one.
        return min(self._bundle, int(1 / needs.gpus + 1e-6)) if 0 < needs.gpus < 1 else 1

    def _send_bundle(self, members: Sequence[_Member]) -> bool:
        first = members[0]
        concurrency = min(len(members), self._concurrency(first.needs))
        # Alone it gets the room that it had with others: enough for it, unless it is the one that takes more than its part.
        room = self._concurrency(first.needs) if first.alone else concurrency
        sharing = [first.needs] * room if first.alone else [member.needs for member in members]
        needs, threads = _together(sharing, room), _cores(first.needs)
        keyed = {f"{self._keys + position:06d}": member for position, member in enumerate(members)}
        self._keys += len(members)
        content = [(key, member.content) for key, member in keyed.items()]
        try:
            job = self._cluster.submit(
                needs, threads, run_bundle, str(self._folder), content, self._seconds, concurrency
            )
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
        ended = [end for bundle in self._bundles for end in self._ended_members(bundle, files)]
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

    def _ended_members(self, bundle: _Bundle, files: set[str]) -> Iterator[Ended]:
        """What its members' files say."""
        self._again([bundle.members.pop(key) for key in list(bundle.members) if f"{key}{LEFT}" in files])
        for key in [key for key in bundle.members if f"{key}{ENDED}" in files]:
            member = bundle.members.pop(key)
            bundle.answered = True
            place, path = read_begun(self._folder, key)[0], self._folder / f"{key}{ENDED}"
            answer, loss = read_ended(path)
            yield Ended(member.name, answer, loss, place)
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
            ended += self._ended_members(bundle, files)
            ended += self._lost_members(bundle, files)
        return ended

    def _lost_members(self, bundle: _Bundle, files: set[str]) -> Iterator[Ended]:
        """Those that it was at are lost; all are where it was at none, since nothing says that others would fare better.

        Where one of several ended the Slurm job, as for its memory, none is lost: each is put back, to run alone.
        """
        assert bundle.loss is not None
        keys = list(bundle.members)
        begun = [key for key in keys if f"{key}{BEGUN}" in files]
        if bundle.loss.cause == "worker" and len(begun) > 1:
            bundle.members |= {key: replace(bundle.members[key], alone=True) for key in begun}
            at = []
        else:
            at = begun or (keys[:1] if bundle.answered else keys)
        for key in at:
            member = bundle.members.pop(key)
            place, own_log = read_begun(self._folder, key) if key in begun else ("", "")
            log = self._folder / own_log if own_log else Path(bundle.job.paths.stdout)
            yield Ended(member.name, loss=Loss(bundle.loss.cause, bundle.loss.why, end_of_log(log, key)), place=place)
        self._again(list(bundle.members.values()))
        bundle.members.clear()

    def _again(self, members: Sequence[_Member]) -> None:
        """Back to the head of the queue, where they have been."""
        self._waiting.extendleft(reversed(members))


def _kind(member: _Member) -> tuple[float, int, bool]:
    """What jobs have in common that may share a Slurm job, or are submitted together to run alone."""
    return member.needs.gpus, _cores(member.needs), member.alone


def _cores(needs: Needs) -> int:
    return max(1, math.ceil(needs.cpus))


def _together(needs: Sequence[Needs], concurrency: int) -> Needs:
    """What a Slurm job is to have for members of one kind, `concurrency` of them at a time: whole cores and GPUs."""
    memory = sorted((need.memory for need in needs), reverse=True)[:concurrency]
    return Needs(math.ceil(needs[0].gpus), _cores(needs[0]) * len(memory), sum(memory))


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
        "bundle": Option(_number(1), 8, "most cases of less than a GPU in one Slurm job; with 1 none shares a GPU"),
        "executor": Option(_one_of("slurm", "local"), "slurm", "local tries it with processes of this machine"),
    },
    extra="slurm",
)
