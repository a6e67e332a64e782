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
from sslbench.metrics import METRICS, SELECTION, Score, correct, episode_mean, voc_map11_resampled
from sslbench.protocols import protocol_spec
from sslbench.protocols.base import Episodes, EpisodicProtocol, Labelled, SplitProtocol
from sslbench.results.record import Record, case_name, dump, pack_paired
from sslbench.results.references import find_reference, verdict
from sslbench.results.runs import Run
from sslbench.tasks import Task, case_id

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

    def split(self, name: str) -> Labelled:
        """One split: x float32 (N, D) on the device, and its targets."""
        split = self.dataset.splits[name]
        features = self._store.get(self.backbone, split.images)
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
    """What a protocol gave: scores by name, the main one, and what is stored beside the record."""

    scores: dict[str, Score]
    main: str
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
        _share_threads()
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
        """Load what identifies a case: the backbone's digest and the dataset's targets, no image yet."""
        name = case.task.dataset
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name, self.settings)
        return PreparedCase(self, case, self.backbone(case.backbone), self._datasets[name])


class PreparedCase:
    """A case whose ingredients are known: it can be recognised in a run, or be run."""

    def __init__(self, runner: Runner, case: Case, backbone: Backbone, dataset: Dataset) -> None:
        self.case = case
        self.dataset = dataset
        self._runner = runner
        self._spec = protocol_spec(case.task.protocol)
        declaration = dataset_spec(case.task.dataset)
        switches = concerning(case.task.protocol, study=declaration.study, declared=declaration.compat)
        self.compat = {name: runner.settings.choice(name) for name in switches}
        if self.compat.get("fewshot-geometry") == "official":
            backbone = backbone.seeing(official_fewshot(backbone.preprocessing))
        self.backbone = backbone
        self.features = CaseFeatures(backbone, dataset, runner.store)

    @cached_property
    def key(self) -> str:
        """Digest of every ingredient that may change the score."""
        settings = self._runner.settings
        splits = sorted(self.dataset.splits.items())
        ingredients = {
            "features": {
                name: feature_recipe(self.backbone, split.images, settings.dtype, settings.stored, settings.extraction)
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
        # Records of several labels had nothing to pair at first.
        if not record.paired:
            return None
        reference = find_reference(self.case.backbone, record.task, record.main, record.hyperparameters)
        fresh = {**record.to_json(), "reference": reference, "verdict": verdict(record.main, reference)}
        return Record.from_json(fresh)

    def execute(self) -> Record:
        """Run the case and store its record and samples."""
        cuda = self._runner.store.device.startswith("cuda")
        if cuda:
            torch.cuda.reset_peak_memory_stats(self._runner.store.device)
        protocol = self._spec.build(self.case.task.variant, self.compat)
        takes_several = isinstance(protocol, SplitProtocol) and protocol.multi_label
        if self.dataset.multi_label and not takes_several:
            raise DataError(
                f"{self.case.task.id}: this protocol takes one class an image, but {self.dataset.name} is multi-label"
            )
        version = str(self._spec.version)
        if isinstance(protocol, EpisodicProtocol):
            pool, targets = self.features.pooled()
            episodes = protocol.draw(targets, self.dataset.classes)
            outcome = _run_episodes(protocol, episodes, pool)
            version = f"{version}:draws-{episodes.digest}"
        else:
            outcome = _run_splits(protocol, self.features)
        return self._store(outcome, version, cuda)

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
        }
        reference = find_reference(self.case.backbone, described, main, outcome.hyperparameters)
        samples = runner.run.write_samples(self.case.name, outcome.samples) if runner.run is not None else None
        rate = features.extracted_images / features.extract_seconds if features.extract_seconds else None
        record = Record(
            case=self.case.name,
            key=self.key,
            backbone={
                **self.backbone.to_json(),
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
    dataset = features.dataset
    train, val = features.split("train"), features.split("val")
    start = time.perf_counter()
    predictor = protocol.fit(train, val, num_classes=len(dataset.classes), metric=SELECTION[dataset.metric])
    fitted = time.perf_counter()
    # The test split is opened here, after selection, and decided once.
    test = features.split("test")
    opened = time.perf_counter()
    decision = predictor.decide(test.x)
    items = hashlib.sha256(f"{dataset.splits['test'].images.fingerprint}|".encode())
    items.update(np.ascontiguousarray(test.targets, dtype="<i8").tobytes())
    digest = items.hexdigest()[:16]
    if dataset.multi_label:
        # No picture is right on its own: the score on resamples is paired instead.
        score, resampled = voc_map11_resampled(decision, test.targets)
        scores = {dataset.metric: score}
        paired = pack_paired("resamples", resampled, digest, images=len(test.targets))
    else:
        names = dict.fromkeys([dataset.metric, "top1", "mean_per_class"])
        scores = {name: METRICS[name](decision, test.targets) for name in names}
        paired = _paired_outcomes(dataset.metric, decision, test.targets, digest)
    return Outcome(
        scores=scores,
        main=dataset.metric,
        hyperparameters=dict(predictor.hyperparameters),
        paired=paired,
        samples={"decision": decision.astype(np.float32), "targets": test.targets},
        fit_seconds=fitted - start,
        score_seconds=time.perf_counter() - opened,
    )


def _paired_outcomes(metric: str, decision: npt.NDArray[Any], targets: npt.NDArray[Any], items: str) -> dict[str, Any]:
    """Which test images were right."""
    # The paired test of mean per-class accuracy resamples within classes, so it needs them.
    classes = {"targets": base64.b64encode(targets.astype("<u2").tobytes()).decode()}
    return pack_paired("correct", correct(decision, targets), items, **(classes if metric == "mean_per_class" else {}))


def _run_episodes(protocol: EpisodicProtocol, episodes: Episodes, pool: Pool) -> Outcome:
    start = time.perf_counter()
    predictions = protocol.predict(pool, episodes)
    right = protocol.count_right(predictions)
    queries = protocol.way * protocol.query
    return Outcome(
        scores={"accuracy": episode_mean(right / queries)},
        main="accuracy",
        hyperparameters={"way": protocol.way, "shot": protocol.shot, "query": protocol.query, "episodes": len(right)},
        paired=pack_paired("episodes", right, episodes.digest, per_episode=queries),
        samples={"right": right, "predictions": predictions},
        fit_seconds=0.0,
        score_seconds=time.perf_counter() - start,
    )


def _share_threads() -> None:
    """Give each xdist worker its share of the cores instead of a full thread pool each."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def _peak_rss() -> int:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024
