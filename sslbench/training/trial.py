"""One training of a grid: it is run once, whoever asks for it, and goes on where it was interrupted."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sslbench.environment import peak_memory
from sslbench.errors import CacheError, CacheWarning, DamagedStateError, DivergedError, TrainingError
from sslbench.store.shared import SharedFiles, shared_files
from sslbench.training.shared_state import pushed_state
from sslbench.training.trial_result import TrialResult, read_result, trial_key, write_result

# From hyperparameters, and a folder for the state or None.
Function = Callable[[Mapping[str, Any], Path | None], TrialResult]


@dataclass(frozen=True)
class Trial:
    """One training of a grid, to be run by whatever process sees the folder; it can be pickled where its function can.

    function: called with the hyperparameters and a folder of its own. It keeps what it needs to go on there, and the folder is
    removed once the trial is finished. hyperparameters, case: plain data. stage: which of a case's trainings it is; the digest of
    these three is the trial's key. folder: of all trials, None to keep nothing. shared: URL of a store that results and states
    are shared through; whoever does not see the folder may run the trial then as well. device: whose memory is measured.
    """

    function: Function
    hyperparameters: Mapping[str, Any]
    case: Mapping[str, Any]
    stage: str
    folder: Path | None
    shared: str = ""
    device: str = "cpu"

    @property
    def key(self) -> str:
        """The name of its files."""
        return trial_key(self._ingredients)

    @property
    def _ingredients(self) -> dict[str, Any]:
        return {"case": dict(self.case), "stage": self.stage, "hyperparameters": dict(self.hyperparameters)}

    def has_result(self) -> bool:
        """Whether there is a file of its result, here or in the store, sound or not."""
        if self.folder is None:
            return False
        name, store = f"{self.key}.json", self._store
        return (self.folder / name).exists() or (store is not None and store.has(f"trials/{name}"))

    def run(self) -> TrialResult:
        """The kept result, or that of training now. Waits while another process trains the same.

        A training that diverges is a result. A damaged result is told with a CacheWarning and trained again; one that cannot be
        written is told so and returned all the same. Raises CacheError for a folder that cannot be written, and whatever else
        the function raises.
        """
        if self.folder is None:
            return self._train(None)
        with self._lock(self.folder):
            result = self._finished(self.folder)
        assert result is not None
        return result

    def run_unless_busy(self) -> TrialResult | None:
        """As `run`, but None where another process is at it, as far as can be told at once."""
        if self.folder is None:
            return self._train(None)
        lock = self._lock(self.folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        try:
            return self._finished(self.folder, wait=False)
        finally:
            lock.release()

    def _lock(self, folder: Path) -> FileLock:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise CacheError(f"the folder {folder} for trials cannot be written: {error}; choose another") from error
        return FileLock(folder / f"{self.key}.lock")

    @property
    def _store(self) -> SharedFiles | None:
        return shared_files(self.shared) if self.shared else None

    def _finished(self, folder: Path, *, wait: bool = True) -> TrialResult | None:
        """Under the lock: read, fetch, or train and store; nothing but the result stays. None where another machine is at it."""
        result, store = self._read_if_sound(folder), self._store
        if result is None and store is not None:
            result = self._fetched(folder, store)
            if result is None and not wait and store.is_busy(self.key):
                return None
        elif result is not None and store is not None:
            self._push(folder, store)
        if result is None:
            turn = nullcontext() if store is None else store.turn(self.key, lambda: self._fetched(folder, store))
            with turn as result:
                if result is None:
                    return self._made(folder)
        self._clean(folder)
        return result

    def _made(self, folder: Path) -> TrialResult:
        store = self._store
        if store is None:
            result = self._train(folder / self.key)
        else:
            with pushed_state(folder / self.key, f"trials/{self.key}", store) as fetched:
                result = self._train(folder / self.key, fetched=fetched)
        try:
            write_result(folder / f"{self.key}.json", self._ingredients, result)
        except OSError as error:
            warnings.warn(
                f"could not store the result of a trial in {folder}: {error}. This run goes on with it in memory; free space",
                CacheWarning,
                stacklevel=4,
            )
            return result
        if store is not None:
            self._push(folder, store, replace=True)
            store.forget(f"trials/{self.key}/state.pt")
        self._clean(folder)
        # From the file, which is mapped: the weights of a whole grid need not fit into memory.
        return read_result(folder / f"{self.key}.json")

    def _clean(self, folder: Path) -> None:
        shutil.rmtree(folder / self.key, ignore_errors=True)
        for leftover in folder.glob(f"{self.key}.*.tmp"):
            leftover.unlink(missing_ok=True)

    def _files(self, folder: Path) -> list[Path]:
        """The tensors first: a result that can be read is whole, in a store as in a folder."""
        return [folder / f"{self.key}.safetensors", folder / f"{self.key}.json"]

    def _push(self, folder: Path, store: SharedFiles, *, replace: bool = False) -> None:
        for path in self._files(folder):
            if path.exists():
                store.share(path, f"trials/{path.name}", replace=replace)

    def _fetched(self, folder: Path, store: SharedFiles) -> TrialResult | None:
        tensors, result = self._files(folder)
        names = f"trials/{tensors.name}", f"trials/{result.name}"
        # Before the tensors, which may be large: where they are all there is, their writer has not ended.
        if not store.has(names[1]) or store.is_rejected(*names):
            return None
        store.fetch(names[0], tensors)
        if not store.fetch(names[1], result):
            return None
        try:
            return read_result(result)
        except CacheError as error:
            for path in (result, tensors):
                path.unlink(missing_ok=True)
            store.reject(*names)
            warnings.warn(
                f"{error}; so it came from {self.shared}, where it is replaced. Training it again",
                CacheWarning,
                stacklevel=6,
            )
            return None

    def _train(self, folder: Path | None, *, fetched: bool = False) -> TrialResult:
        begun = time.perf_counter()
        try:
            result = self._begun(folder, fetched=fetched)
        except DivergedError as error:
            result = TrialResult(None, diverged_at=error.step)
        # As it will be read: a result must not depend on whether it was kept.
        values = json.loads(json.dumps(result.values))
        seconds, peak = time.perf_counter() - begun, peak_memory(self.device)
        return TrialResult(values, result.tensors, result.diverged_at, seconds, peak)

    def _begun(self, folder: Path | None, *, fetched: bool) -> TrialResult:
        try:
            return self.function(self.hyperparameters, folder)
        except DivergedError:
            raise
        except DamagedStateError as error:
            if folder is None:
                raise
            why = str(error)
        except TrainingError as error:
            # That of another machine may be of another device or library, with which nothing is wrong.
            if folder is None or not fetched:
                raise
            why = str(error)
        warnings.warn(f"{why}; training it from its beginning", CacheWarning, stacklevel=6)
        shutil.rmtree(folder, ignore_errors=True)
        return self.function(self.hyperparameters, folder)

    def _read_if_sound(self, folder: Path) -> TrialResult | None:
        path = folder / f"{self.key}.json"
        if not path.exists():
            return None
        try:
            return read_result(path)
        except CacheError as error:
            warnings.warn(f"{error}; training it again", CacheWarning, stacklevel=4)
            return None
