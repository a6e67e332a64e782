"""Trials: a training function over a grid of hyperparameters, of which nothing that is finished is trained again."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from sslbench.environment import peak_memory
from sslbench.errors import CacheError, CacheWarning, DamagedStateError, DivergedError, TrainingError
from sslbench.files import replacing, write_atomic
from sslbench.store.shared import SharedFiles, shared_files
from sslbench.training.shared_state import pushed_state

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "sslbench-trial-1"


@dataclass(frozen=True)
class TrialResult:
    """What one training gave.

    values: plain data, as JSON keeps it (a tuple becomes a list). tensors: such as weights, on the CPU. diverged_at: the step,
    counted from 1, at which the loss or a weight was not finite any more; values are None then. seconds: that it took, in the
    process that ended it; 0 where an earlier version kept it. peak_memory: of that process, as `sslbench.environment.peak_memory`
    gives it; empty where an earlier version kept it.
    """

    values: Any
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    diverged_at: int | None = None
    seconds: float = 0.0
    peak_memory: Mapping[str, int | None] = field(default_factory=dict)


class HandedOverError(Exception):
    """A grid of which other processes are to run trials first. keys: those of its trials that have no result."""

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__("other processes are to run trials of this grid")
        self.keys = tuple(keys)


class TrialEndedError(Exception):
    """The one trial that was to be run has its result."""


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
        return _key(self._ingredients)

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
            self._write(folder, result)
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

    def _write(self, folder: Path, result: TrialResult) -> None:
        """The tensors first: a result that can be read is whole."""
        content = {
            "format": FORMAT,
            **json.loads(json.dumps(self._ingredients)),
            "values": result.values,
            "diverged_at": result.diverged_at,
            "seconds": result.seconds,
            "peak_memory": dict(result.peak_memory),
            "tensors": _write_tensors(folder / f"{self.key}.safetensors", result.tensors) if result.tensors else None,
        }
        text = json.dumps({**content, "checksum": _digest(content)}, indent=1)
        write_atomic(folder / f"{self.key}.json", f"{text}\n".encode())


@dataclass(frozen=True)
class Trials:
    """Trainings that share a folder and a case.

    folder: where results are kept, and the states of trainings that were interrupted; None for nowhere. case: what every result
    depends on besides its hyperparameters, as plain data: the case's key, a version. shared: as of `Trial`. hand_over: whether a
    grid of which several trials have no result is left to other processes. only: the key of the one trial to run, empty for all.
    device: as of `Trial`. peaks: `TrialResult.peak_memory` of the results so far.
    """

    folder: Path | None
    case: Mapping[str, Any]
    shared: str = ""
    hand_over: bool = False
    only: str = ""
    device: str = "cpu"
    peaks: list[Mapping[str, int | None]] = field(default_factory=list, compare=False, repr=False)
    _before: list[float] = field(default_factory=list, compare=False, repr=False)

    def map(
        self,
        function: Function,
        grid: Iterable[Mapping[str, Any]],
        *,
        stage: str,
        watch: Callable[[Mapping[str, Any], TrialResult], None] = lambda hyperparameters, result: None,
    ) -> list[TrialResult]:
        """The results in the grid's order; see `Trial.run`.

        stage: tells trainings of one case apart that have the same hyperparameters, such as the search on train from the last
        training on train and val. watch: told of each result as it comes.
        Raises TypeError for hyperparameters that are no plain data, and, where that was asked for, HandedOverError or
        TrialEndedError.

        An interrupted grid goes on where it stopped. Several processes may have the same grid at a time, and share it: what
        another one is at comes last, and is waited for.
        """
        trials = [
            Trial(function, hyperparameters, self.case, stage, self.folder, self.shared, self.device)
            for hyperparameters in grid
        ]
        for trial in trials:
            if self.only and trial.key == self.only:
                trial.run()
                raise TrialEndedError
        if self.hand_over:
            missing = [trial.key for trial in trials if not trial.has_result()]
            if len(missing) > 1:
                raise HandedOverError(missing)
        results: list[TrialResult | None] = []
        for trial in trials:
            results.append(self._counted(trial.run_unless_busy))
            if (found := results[-1]) is not None:
                watch(trial.hyperparameters, found)
        whole: list[TrialResult] = []
        for trial, result in zip(trials, results, strict=True):
            if result is None:
                result = self._counted(trial.run)
                assert result is not None
                watch(trial.hyperparameters, result)
            whole.append(result)
        return whole

    def _counted(self, run: Callable[[], TrialResult | None]) -> TrialResult | None:
        begun = time.perf_counter()
        result = run()
        if result is not None:
            self._before.append(max(0.0, result.seconds - (time.perf_counter() - begun)))
            self.peaks.append(result.peak_memory)
        return result

    def seconds_elsewhere(self) -> float:
        """Seconds that trials of `map` took in other processes or sessions, since this was last asked."""
        total = sum(self._before)
        self._before.clear()
        return total


def largest(peaks: Iterable[Mapping[str, int | None]]) -> dict[str, int | None]:
    """The most bytes of each kind in any of them; None where none has measured it."""
    found: dict[str, int | None] = {}
    for peak in peaks:
        for name, size in peak.items():
            found[name] = max((each for each in (found.get(name), size) if each is not None), default=None)
    return found


def read_description(path: Path) -> dict[str, Any]:
    """What a trial's `KEY.json` says: `case`, `stage`, `hyperparameters`, `values`, `diverged_at` and the digest of its tensors.

    Raises CacheError for a damaged one.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        checksum = content.pop("checksum")
        if content["format"] != FORMAT or checksum != _digest(content):
            raise ValueError("its checksum does not match its content")
        if _key(content) != path.stem:
            raise ValueError("its name does not belong to its content")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"damaged result {path} of a trial: {error}") from error
    return content


def read_result(path: Path) -> TrialResult:
    """A trial's result from its `KEY.json`. Raises CacheError for a damaged one, or one without its tensors."""
    content, weights = read_description(path), path.with_suffix(".safetensors")
    try:
        tensors: Mapping[str, Tensor] = {}
        if content["tensors"] is not None:
            if _file_digest(weights) != content["tensors"]:
                raise ValueError(f"{weights.name} is not the file that it names")
            from safetensors.torch import load_file

            tensors = load_file(weights)
        # Earlier versions kept neither of the last two.
        seconds, peak = content.get("seconds", 0.0), content.get("peak_memory", {})
        return TrialResult(content["values"], tensors, content["diverged_at"], seconds, peak)
    except (OSError, ValueError, KeyError) as error:
        raise CacheError(f"damaged result {path} of a trial: {error}") from error


def _key(content: Mapping[str, Any]) -> str:
    return _digest({name: content[name] for name in ("case", "stage", "hyperparameters")})[:32]


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write them and return the file's digest."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # The format knows neither strides nor shared memory.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary)
        except SafetensorError as error:
            # How this library tells of a full disk.
            raise OSError(str(error)) from error
        return _file_digest(temporary)
