"""The runner: takes one case from names to a record, and opens the test split only after selection."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from sslbench.backbones import load_backbone
from sslbench.backbones.preprocessing import official_fewshot
from sslbench.compat import concerning
from sslbench.config import Settings
from sslbench.datasets import Dataset, dataset_spec, load_dataset
from sslbench.environment import environment
from sslbench.errors import DataError
from sslbench.features.extract import feature_recipe
from sslbench.features.pool import Pool
from sslbench.features.store import FeatureStore
from sslbench.metrics import METRICS, MetricSpec, Score, correct, episode_mean, metric_spec, metrics_for
from sslbench.protocols import protocol_spec
from sslbench.protocols.base import Episodes, EpisodicProtocol, Labelled, SplitProtocol
from sslbench.protocols.needs import check_dataset, check_fit, check_scored
from sslbench.results.record import Record, case_name, dump, pack_paired
from sslbench.results.references import find_reference, verdict
from sslbench.results.runs import Run
from sslbench.tasks import Task, case_id
from sslbench.threads import giving_way, share_cores

if TYPE_CHECKING:
    from sslbench.backbones import Backbone
    from sslbench.backbones.identity import Seen

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


class CaseFeatures:
    """Features of one case on the device, each split extracted or read from the cache when first asked for."""

    def __init__(self, backbone: Backbone, dataset: Dataset, store: FeatureStore) -> None:
        self.backbone = backbone
        self.dataset = dataset
        self.extract_seconds = 0.0
        self.extracted_images = 0
        self.skipped: dict[str, int] = {}
        self.executions: set[str] = set()
        self._store = store

    @cached_property
    def seen(self) -> Seen:
        """The network as it was when its case first asked: a look costs a pass over the weights, so one serves the case."""
        return self.backbone.look()

    def split(self, name: str) -> Labelled:
        """One split: x float32 (N, D) on the device, and its targets."""
        split = self.dataset.splits[name]
        # Once a case: a network may write into itself while it runs.
        again = not self.extracted_images
        features = self._store.get(self.backbone, split.images, digest=self.seen.digest, again=again)
        self.executions.add(features.execution)
        if features.seconds:
            self.extract_seconds += features.seconds
            self.extracted_images += len(split.images)
        if dropped := len(split.images) - len(features.rows):
            self.skipped[name] = dropped
        return Labelled(features.x, split.targets[features.rows])

    def pooled(self) -> tuple[Pool, npt.NDArray[np.int64]]:
        """The dataset's pool and its targets: what few-shot episodes are drawn from."""
        parts = [self.split(name) for name in self.dataset.pool]
        return Pool([part.x for part in parts]), np.concatenate([part.targets for part in parts])


@dataclass(frozen=True)
class Outcome:
    """What a protocol gave: scores by name, the main one, and what is stored beside the record.

    guess: the main score of who does not look at the pictures.
    """

    scores: dict[str, Score]
    main: str
    guess: float
    hyperparameters: dict[str, Any]
    paired: dict[str, Any]
    samples: dict[str, npt.NDArray[Any]]
    fit_seconds: float
    score_seconds: float


class Runner:
    """Runs cases with one feature store and a few loaded backbones, and stores records in a run.

    run: None keeps nothing on disk but features.
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
        protocol = protocol_spec(case.task.protocol).build(case.task.variant, _compat(case.task, self.settings))
        try:
            check_dataset(protocol, dataset)
        except DataError as error:
            raise DataError(f"{case.task.id}: {error}") from error
        return PreparedCase(self, case, self.backbone(case.backbone), dataset)


class PreparedCase:
    """A case whose ingredients are known: it can be recognised in a run, or be run."""

    def __init__(self, runner: Runner, case: Case, backbone: Backbone, dataset: Dataset) -> None:
        self.case = case
        self.dataset = dataset
        self._runner = runner
        self._spec = protocol_spec(case.task.protocol)
        self.compat = _compat(case.task, runner.settings)
        if self.compat.get("fewshot-geometry") == "official":
            backbone = backbone.seeing(official_fewshot(backbone.preprocessing))
        self.backbone = backbone
        self.features = CaseFeatures(backbone, dataset, runner.store)
        self._executed = False

    @cached_property
    def key(self) -> str:
        """Digest of every ingredient that may change the score."""
        settings = self._runner.settings
        splits = sorted(self.dataset.splits.items())
        ingredients = {
            "features": {
                name: feature_recipe(
                    self.backbone,
                    split.images,
                    settings.dtype,
                    settings.stored,
                    settings.extraction,
                    digest=self.features.seen.digest,
                )
                for name, split in splits
            },
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
        reference = find_reference(self.case.backbone, record.task, record.main, record.hyperparameters)
        fresh = {**record.to_json(), "reference": reference, "verdict": verdict(record.main, reference)}
        return Record.from_json(fresh)

    def execute(self) -> Record:
        """Run the case and store its record and samples.

        Raises DataError for images that cannot be read, or where too few are left without those that were skipped.
        """
        if self._executed:
            # The network may have been changed since.
            self.features = CaseFeatures(self.backbone, self.dataset, self._runner.store)
            self.__dict__.pop("key", None)
        self._executed = True
        cuda = self._runner.store.device.startswith("cuda")
        if cuda:
            torch.cuda.reset_peak_memory_stats(self._runner.store.device)
        protocol = self._spec.build(self.case.task.variant, self.compat)
        try:
            with giving_way():
                outcome, version = self._run(protocol)
        except DataError as error:
            if not self.features.skipped:
                raise
            left_out = ", ".join(f"{count} of {split}" for split, count in self.features.skipped.items())
            raise DataError(f"{error}. Unreadable images were left out: {left_out}") from error
        return self._store(outcome, version, cuda)

    def _run(self, protocol: SplitProtocol | EpisodicProtocol) -> tuple[Outcome, str]:
        """The outcome, and the version of the task that it is of."""
        version = str(self._spec.version)
        if isinstance(protocol, SplitProtocol):
            return _run_splits(protocol, self.features), version
        pool, targets = self.features.pooled()
        episodes = protocol.draw(targets, self.dataset.classes)
        return _run_episodes(protocol, episodes, pool), f"{version}:draws-{episodes.digest}"

    def _store(self, outcome: Outcome, version: str, cuda: bool) -> Record:
        runner, task, features = self._runner, self.case.task, self.features
        main = outcome.scores[outcome.main]
        described = {
            "id": task.id,
            "version": version,
            "protocol": task.protocol,
            "dataset": task.dataset,
            "variant": task.variant,
            "fingerprint": self.dataset.fingerprint,
            "compat": self.compat,
            "details": {**self.dataset.details, **({"skipped_images": features.skipped} if features.skipped else {})},
            "guess": outcome.guess,
        }
        reference = find_reference(self.case.backbone, described, main, outcome.hyperparameters)
        samples = runner.run.write_samples(self.case.name, outcome.samples) if runner.run is not None else None
        rate = features.extracted_images / features.extract_seconds if features.extract_seconds else None
        record = Record(
            case=self.case.name,
            key=self.key,
            backbone={
                **self.backbone.to_json(features.seen),
                "dtype": runner.settings.dtype,
                "stored": runner.settings.stored,
                "extraction": {"name": runner.settings.extraction, "execution": sorted(features.executions)},
            },
            task=described,
            scores={name: score.to_json() for name, score in outcome.scores.items()},
            main_score=outcome.main,
            hyperparameters=outcome.hyperparameters,
            reference=reference,
            verdict=verdict(main, reference),
            timings={
                "extract": features.extract_seconds,
                "fit": outcome.fit_seconds,
                "score": outcome.score_seconds,
                "images_per_second": rate,
                "threads": torch.get_num_threads(),
            },
            peak_memory={
                "rss": _peak_rss(),
                "device": torch.cuda.max_memory_allocated(runner.store.device) if cuda else None,
            },
            environment=environment(runner.store.device),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            paired=outcome.paired,
            samples=samples,
        )
        if runner.run is not None:
            runner.run.write(record)
        return record


def _run_splits(protocol: SplitProtocol, features: CaseFeatures) -> Outcome:
    dataset, metric = features.dataset, metric_spec(features.dataset.metric)
    train, val = features.split("train"), features.split("val")
    check_fit(protocol, dataset, train.targets, val.targets)
    start = time.perf_counter()
    predictor = protocol.fit(train, val, num_classes=len(dataset.classes), metric=metric)
    fitted = time.perf_counter()
    # The test split is opened here, after selection, and decided once.
    test = features.split("test")
    check_scored(dataset, "test", test.targets)
    opened = time.perf_counter()
    decision = predictor.decide(test.x)
    items = hashlib.sha256(f"{dataset.splits['test'].images.fingerprint}|".encode())
    items.update(np.ascontiguousarray(test.targets, dtype="<i8").tobytes())
    digest = items.hexdigest()[:16]
    score, paired = _scored(metric, decision, test.targets, digest)
    scores = {metric.name: score}
    for name in metrics_for(several_labels=dataset.multi_label):
        # The others of a kind that takes no bootstrap are given beside it.
        if METRICS[name].resampled is None and name not in scores:
            scores[name] = METRICS[name](decision, test.targets)
    return Outcome(
        scores=scores,
        main=metric.name,
        guess=metric.blind(test.targets, len(dataset.classes)),
        hyperparameters=dict(predictor.hyperparameters),
        paired=paired,
        samples={"decision": decision.astype(np.float32), "targets": test.targets},
        fit_seconds=fitted - start,
        score_seconds=time.perf_counter() - opened,
    )


def _scored(
    metric: MetricSpec, decision: npt.NDArray[Any], targets: npt.NDArray[Any], items: str
) -> tuple[Score, dict[str, Any]]:
    """The main score, and which test images were right; where none is right by itself, the score on resamples."""
    if metric.resampled is not None:
        score, resampled = metric.resampled(decision, targets)
        return score, pack_paired("resamples", resampled, items, images=len(targets))
    extra = {"targets": base64.b64encode(targets.astype("<u2").tobytes()).decode()} if metric.within_classes else {}
    return metric(decision, targets), pack_paired("correct", correct(decision, targets), items, **extra)


def _run_episodes(protocol: EpisodicProtocol, episodes: Episodes, pool: Pool) -> Outcome:
    start = time.perf_counter()
    predictions = protocol.predict(pool, episodes)
    right = protocol.count_right(predictions)
    queries = protocol.way * protocol.query
    return Outcome(
        scores={"accuracy": episode_mean(right / queries)},
        main="accuracy",
        guess=100 / protocol.way,
        hyperparameters={"way": protocol.way, "shot": protocol.shot, "query": protocol.query, "episodes": len(right)},
        paired=pack_paired("episodes", right, episodes.digest, per_episode=queries),
        samples={"right": right, "predictions": predictions},
        fit_seconds=0.0,
        score_seconds=time.perf_counter() - start,
    )


def _compat(task: Task, settings: Settings) -> dict[str, str]:
    """The choices of the compat switches that concern a task."""
    declaration = dataset_spec(task.dataset)
    switches = concerning(task.protocol, study=declaration.study, declared=declaration.compat)
    return {name: settings.choice(name) for name in switches}


def _peak_rss() -> int:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024
