"""The trials that a cache keeps: results, and the states of trainings that were interrupted or are running."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sslbench.errors import BackboneError, CacheError
from sslbench.features.cache_locks import is_locked, lock_of

# Locks do not reach every network disk: what is younger may be a file that another machine is writing.
_YOUNG_SECONDS = 3600
_KEY = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class TrialFiles:
    """All that stands in `CACHE/trials` of one trial.

    result: `KEY.json`, whether it is there or not. files: of the result. state: those below the folder `KEY`. leftovers: what an
    interrupted writer left.
    """

    result: Path
    files: tuple[Path, ...]
    state: tuple[Path, ...]
    leftovers: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.files, *self.state, *self.leftovers)

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(path.stat().st_size for path in self.all if path.exists())

    @property
    def modified(self) -> float:
        """When the last of them was written."""
        return max((path.stat().st_mtime for path in self.all if path.exists()), default=0.0)

    @property
    def label(self) -> str:
        """Protocol, stage and hyperparameters, or what is there instead of a result; empty for a damaged one."""
        from sslbench.training.trial_result import read_description

        if not self.files:
            running = is_locked(lock_of(self.result))
            return (
                "training that runs now" if running else "training that was interrupted" if self.state else "leftovers"
            )
        try:
            return _label(read_description(self.result))
        except CacheError:
            return ""

    def problem(self) -> str | None:
        """What is wrong with the result or the state, or None; reads all of it."""
        return self._problem_of_result() or self._problem_of_state()

    def _problem_of_result(self) -> str | None:
        from sslbench.training.trial_result import read_result

        try:
            if self.files:
                read_result(self.result)
        except CacheError as error:
            # Another process may have removed it meanwhile.
            return str(error) if self.result.exists() else None
        return None

    def _problem_of_state(self) -> str | None:
        from sslbench.backbones.checkpoint import read_torch

        for path in self.state:
            try:
                if path.name == "state.pt":
                    read_torch(path)
            except BackboneError as error:
                return f"damaged state of a training: {error}" if path.exists() else None
        return None

    def prune(self, *, everything: bool, older_than_days: float | None) -> list[Path]:
        """Remove what is damaged, leftovers, and on request what is old or all; what was removed, without the lock.

        Nothing of a trial that a process is at.
        """
        lock = lock_of(self.result)
        try:
            with FileLock(lock, timeout=0):
                doomed = self._doomed(everything=everything, older_than_days=older_than_days)
                for path in doomed:
                    path.unlink(missing_ok=True)
                if not any(path.exists() for path in self.state):
                    shutil.rmtree(self.result.with_suffix(""), ignore_errors=True)
                if not any(path.exists() for path in self.all):
                    lock.unlink(missing_ok=True)
                return doomed
        except (Timeout, OSError):
            return []

    def _doomed(self, *, everything: bool, older_than_days: float | None) -> list[Path]:
        age = time.time() - self.modified
        if everything or (older_than_days is not None and age > older_than_days * 86400):
            return list(self.all)
        damaged = self._problem_of_result() is not None
        doomed = list(self.files) if damaged else []
        # What a sound result makes useless: its writer was interrupted before it removed it.
        finished = bool(self.files) and not damaged and age > _YOUNG_SECONDS
        if finished or self._problem_of_state() is not None:
            doomed += self.state
        return doomed + (list(self.leftovers) if age > _YOUNG_SECONDS else [])


def trials(cache: Path) -> Iterator[TrialFiles]:
    """What a cache has of each trial, sorted by key."""
    folder = cache / "trials"
    keys = {path.name.partition(".")[0] for path in folder.glob("*")}
    for key in sorted(filter(_KEY.fullmatch, keys)):
        result, tensors = folder / f"{key}.json", folder / f"{key}.safetensors"
        files = tuple(path for path in (result, tensors) if path.exists())
        leftovers = tuple(sorted(folder.glob(f"{key}.*.tmp")))
        if not result.exists():
            # The tensors are written first: the result that belongs to them never came.
            files, leftovers = (), (*files, *leftovers)
        state = tuple(sorted(path for path in (folder / key).rglob("*") if path.is_file()))
        yield TrialFiles(result, files, state, leftovers)


def trial_bytes(cache: Path) -> int:
    """Of all trials."""
    return sum(trial.bytes for trial in trials(cache))


def prune_trials(cache: Path, *, everything: bool, older_than_days: float | None) -> list[Path]:
    """What `TrialFiles.prune` removed of all of them."""
    return [
        path for trial in trials(cache) for path in trial.prune(everything=everything, older_than_days=older_than_days)
    ]


def _label(content: Mapping[str, Any]) -> str:
    protocol = content["case"].get("protocol", "trial")
    name = " ".join(str(part) for part in protocol[:2] if part) if isinstance(protocol, list) else str(protocol)
    settings = ", ".join(f"{key}={value}" for key, value in content["hyperparameters"].items())
    diverged = f" (diverged at step {content['diverged_at']})" if content["diverged_at"] is not None else ""
    return f"{name}, {content['stage']}: {settings}{diverged}"
