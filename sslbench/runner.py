"""The runner: takes one case from names to a record, and opens what is held out only after selection. It knows no metric."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from sslbench.backbones import load_backbone
from sslbench.compat import concerning
from sslbench.config import Settings
from sslbench.datasets import Dataset, dataset_spec, load_dataset
from sslbench.environment import environment, largest_peaks, peak_memory
from sslbench.errors import DataError, SslbenchError, tell
from sslbench.features.device_store import FeatureStore
from sslbench.material import CaseMaterial
from sslbench.metrics import Score, metric_spec
from sslbench.protocols import protocol_spec
from sslbench.protocols.base import Development, HeldOut, Predictor, Protocol
from sslbench.protocols.outcome import Outcome
from sslbench.results.record import Record, case_name, dump, pack_paired
from sslbench.results.references import find_references, verdict
from sslbench.results.runs import Run
from sslbench.tasks import Task, case_id
from sslbench.threads import giving_way, share_cores
from sslbench.training.trials import TrialEndedError, Trials

if TYPE_CHECKING:
    from sslbench.backbones import Backbone

BACKBONES_HELD = 2


@dataclass(frozen=True)
class Case:
    """One backbone on one task. `backbone` is a name that `load_backbone` takes."""

    backbone: str
    task: Task

    @property
    def name(self) -> str:
        """Unique within a run."""
        return case_name(self.backbone, self.task.id)

    @property
    def id(self) -> str:
        """The pytest id."""
        return case_id(self.backbone, self.task)


class Runner:
    """Runs cases with one feature store and a few loaded backbones, and stores records in a run.

    run: None keeps nothing on disk but what the cache has: features, pictures, trials.
    """

    def __init__(self, settings: Settings, run: Run | None = None) -> None:
        self.settings = settings
        self.run = run
        share_cores(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
        self.store = FeatureStore(settings)
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()
        self._datasets: dict[str, Dataset] = {}

    def backbone(self, name: str) -> Backbone:
        """A loaded backbone; the least recently used one is released when there are too many."""
        if name not in self._backbones:
            self._backbones[name] = load_backbone(
                name, cache_dir=self.settings.cache_dir, offline=self.settings.offline
            )
            if len(self._backbones) > BACKBONES_HELD:
                self._backbones.popitem(last=False)
        self._backbones.move_to_end(name)
        return self._backbones[name]

    def add_backbone(self, backbone: Backbone) -> None:
        """Use an already built backbone for the cases that bear its name."""
        self._backbones[backbone.name] = backbone

    def prepare(self, case: Case) -> PreparedCase:
        """Load what identifies a case: the backbone and the dataset's targets, no image yet.

        Raises DataError where the targets already tell that the task cannot be run on the dataset.
        """
        name = case.task.dataset
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name, self.settings)
        dataset = self._datasets[name]
        spec = protocol_spec(case.task.protocol)
        protocol = spec.build(case.task.variant, _compat(case.task, self.settings))
        try:
            spec.check(dataset)
            protocol.check(dataset)
        except DataError as error:
            raise DataError(f"{case.task.id}: {error}") from error
        return PreparedCase(self, case, self.backbone(case.backbone), dataset, protocol)


class PreparedCase:
    """A case whose ingredients are known: it can be recognised in a run, or be run."""

    def __init__(
        self, runner: Runner, case: Case, backbone: Backbone, dataset: Dataset, protocol: Protocol[Any]
    ) -> None:
        self.case = case
        self.dataset = dataset
        self._runner = runner
        self._spec = protocol_spec(case.task.protocol)
        self.compat = _compat(case.task, runner.settings)
        shown = protocol.preprocessing(backbone.preprocessing, self.compat)
        if shown != backbone.preprocessing:
            backbone = backbone.seeing(shown)
        self.backbone = backbone
        self.material = CaseMaterial(backbone, dataset, runner.store)
        self._protocol = protocol
        self._executed = False

    @cached_property
    def key(self) -> str:
        """Digest of every ingredient that may change the score."""
        ingredients = {
            **self._protocol.ingredients(self.material),
            "task": [self.case.task.id, self._spec.version, self.dataset.fingerprint, self.dataset.metric],
            "compat": self.compat,
            "pool": self.dataset.pool,
        }
        return hashlib.sha256(dump(ingredients)).hexdigest()[:32]

    def resume(self) -> Record | None:
        """The record of an earlier run with the same ingredients, its verdict taken anew, or None."""
        run = self._runner.run
        record = run.read(self.case.name) if run is not None else None
        if run is None or record is None or record.key != self.key or not run.samples_sound(record):
            return None
        scores = {name: Score.from_json(score) for name, score in record.scores.items()}
        references = find_references(self.case.backbone, record.task, scores, record.main_score, record.hyperparameters)
        judged = verdict(record.main, references.get(record.main_score))
        fresh = {**record.to_json(), "references": references, "verdict": judged}
        return Record.from_json(fresh)

    def execute(self, *, hand_over: bool = False) -> Record:
        """Run the case and store its record and samples.

        hand_over: leave a grid of which several trials have no result to other processes, by a HandedOverError.
        Raises DataError for images that cannot be read, or where too few are left without those that were skipped.
        """
        return self._store(self._computed(hand_over=hand_over))

    def train(self, trial: str) -> None:
        """Run one trial of the case and keep its result.

        trial: its key. Raises SslbenchError where the case has no such trial.
        """
        with contextlib.suppress(TrialEndedError):
            self._computed(only=trial)
            raise SslbenchError(
                f"{self.case.name} has no trial {trial}: code, data or options are not those it was found with; run it again"
            )

    def _computed(self, *, hand_over: bool = False, only: str = "") -> _Ran:
        if self._executed:
            # The network may have been changed since.
            self.material = CaseMaterial(self.backbone, self.dataset, self._runner.store)
            self.__dict__.pop("key", None)
        self._executed = True
        if self._runner.store.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self._runner.store.device)
        try:
            with giving_way():
                return self._run(self._protocol, hand_over=hand_over, only=only)
        except DataError as error:
            if not self.material.skipped:
                raise
            left_out = ", ".join(f"{count} of {split}" for split, count in self.material.skipped.items())
            raise DataError(f"{error}. Unreadable images were left out: {left_out}") from error

    def _run(self, protocol: Protocol[Any], *, hand_over: bool, only: str) -> _Ran:
        runner, material, spec, dataset = self._runner, self.material, self._spec, self.dataset
        metric = metric_spec(dataset.metric) if dataset.metric is not None else None
        clock = _Clock(material)
        recipe = dataset.recipes.get(spec.name, "")
        development = Development(material.parts(spec.learns), dataset.classes, metric, recipe)
        if protocol.trains:
            if runner.settings.dtype != "float32":
                tell(
                    f"{self.case.task.id}: the dtype {runner.settings.dtype} is that of extracted features, of which this "
                    "protocol has none; it computes in float32, or as its variant says (precision=bfloat16)"
                )
            self.backbone.require(material.seen.digest)
            self.backbone.to(runner.store.device)
        folder, shared = runner.settings.cache_dir / "trials", runner.settings.shared_cache
        device = runner.store.device
        trials = Trials(folder, self._what_fit_sees(), shared, hand_over=hand_over, only=only, device=device)
        predictor = protocol.fit(development, self.backbone, trials)
        hyperparameters = _stated(predictor, self.case.task)
        fitted = clock.lap() + trials.seconds_elsewhere()
        # The test split is opened here, after selection.
        held_out = HeldOut(material.parts(spec.scored_on(dataset)), dataset.classes, metric, recipe)
        outcome = protocol.score(predictor, held_out)
        if not isinstance(outcome, Outcome):
            raise SslbenchError(f"{self.case.task.id}: `score` has to give an Outcome, got a {type(outcome).__name__}")
        scored = clock.lap() + trials.seconds_elsewhere()
        return _Ran(outcome, hyperparameters, fitted, scored, trials.peaks)

    def _what_fit_sees(self) -> dict[str, Any]:
        """What a training can depend on beside its hyperparameters: the key of its trials.

        Less than the case's: another way of scoring, or of keeping features, must not throw weights away.
        """
        spec, splits = self._spec, self.dataset.splits
        return {
            "protocol": [spec.name, self.case.task.variant, spec.training_version],
            "network": self.material.network_recipe(),
            "learns": {name: [splits[name].images.fingerprint, splits[name].targets.digest] for name in spec.learns},
            "classes": list(self.dataset.classes),
            "metric": self.dataset.metric,
            "compat": self.compat,
        }

    def _store(self, ran: _Ran) -> Record:
        runner, task, material, outcome = self._runner, self.case.task, self.material, ran.outcome
        main = outcome.scores[outcome.main]
        described = {
            "id": task.id,
            "version": f"{self._spec.version}{f':draws-{outcome.draws}' if outcome.draws else ''}",
            "protocol": task.protocol,
            "dataset": task.dataset,
            "variant": task.variant,
            "fingerprint": self.dataset.fingerprint,
            "compat": self.compat,
            "details": {**self.dataset.details, **({"skipped_images": material.skipped} if material.skipped else {})},
            "guess": outcome.guess,
        }
        references = find_references(self.case.backbone, described, outcome.scores, outcome.main, ran.hyperparameters)
        samples = runner.run.write_samples(self.case.name, dict(outcome.samples)) if runner.run is not None else None
        rate = material.extracted_images / material.extract_seconds if material.extract_seconds else None
        record = Record(
            case=self.case.name,
            key=self.key,
            backbone={
                **self.backbone.to_json(material.seen),
                "dtype": "float32" if self._protocol.trains else runner.settings.dtype,
                "stored": runner.settings.stored,
                "extraction": {"name": runner.settings.extraction, "execution": sorted(material.executions)},
            },
            task=described,
            scores={name: score.to_json() for name, score in outcome.scores.items()},
            main_score=outcome.main,
            hyperparameters={**ran.hyperparameters, **outcome.fitted},
            references=references,
            verdict=verdict(main, references.get(outcome.main)),
            timings={
                "extract": material.extract_seconds,
                "fit": ran.fit_seconds,
                "score": ran.score_seconds,
                "images_per_second": rate,
                "threads": torch.get_num_threads(),
            },
            peak_memory=largest_peaks([peak_memory(runner.store.device), *ran.peaks]),
            environment=environment(runner.store.device),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            paired=_packed(outcome),
            samples=samples,
        )
        if runner.run is not None:
            runner.run.write(record)
        return record


def resumed_record(case: PreparedCase, rerun: str) -> Record | None:
    """The record of an earlier run that still counts, or None.

    rerun: `missing`, `failed` where one whose verdict is `below` does not count, or `all` where none does.
    """
    if rerun == "all":
        return None
    try:
        record = case.resume()
    except SslbenchError:
        # A network that cannot be run; the run meets it again, and tells.
        return None
    return None if record is not None and rerun == "failed" and record.verdict == "below" else record


@dataclass(frozen=True)
class _Ran:
    outcome: Outcome
    hyperparameters: dict[str, Any]
    fit_seconds: float
    score_seconds: float
    peaks: Sequence[Mapping[str, int | None]]


class _Clock:
    """Seconds of a protocol's own work, without those that obtaining features took."""

    def __init__(self, material: CaseMaterial) -> None:
        self._material = material
        self._before = time.perf_counter() - material.obtaining

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter() - self._material.obtaining
        passed, self._before = now - self._before, now
        return passed


def _stated(predictor: object, task: Task) -> dict[str, Any]:
    """What a predictor says was chosen, before anything is scored with it: a record has to be able to hold it."""
    if not isinstance(predictor, Predictor):
        raise SslbenchError(f"{task.id}: `fit` has to give a Predictor, got a {type(predictor).__name__}")
    try:
        stated: dict[str, Any] = json.loads(dump(dict(predictor.hyperparameters)))
    except (TypeError, ValueError) as error:
        raise SslbenchError(f"{task.id}: hyperparameters have to be plain data for the record: {error}") from error
    return stated


def _packed(outcome: Outcome) -> dict[str, Any]:
    paired = outcome.paired
    if paired is None:
        return {}
    others = {
        name: pack_paired("resamples", values, paired.items, images=outcome.scores[name].n)
        for name, values in paired.others.items()
    }
    packed = pack_paired(paired.kind, paired.values, paired.items, **paired.facts)
    return {**packed, "others": others} if others else packed


def _compat(task: Task, settings: Settings) -> dict[str, str]:
    """The choices of the compat switches that concern a task."""
    declaration = dataset_spec(task.dataset)
    switches = concerning(task.protocol, task.dataset, declaration.compat)
    return {name: settings.choice(name) for name in switches}
