"""Few-shot recognition: nearest class centroid over random episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Dataset, Labels
from sslbench.errors import DataError
from sslbench.metrics import episode_mean
from sslbench.protocols.base import Development, HeldOut, Predictor, Protocol
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.protocols.registry import ProtocolSpec
from sslbench.threads import look

if TYPE_CHECKING:
    from sslbench.backbones import Backbone, Preprocessing
    from sslbench.features.stacked import Pool
    from sslbench.training.trials import Trials

# Ericsson et al. 2021, section 4.2 and ssl-transfer few_shot.py.
WAY = 5
QUERY = 15
EPISODES = 600
DRAW_SEED = 0
# 1.15 x 224 = 257 in the official few_shot.py (rounded down).
SCALE = 1.15
# Queries held at a time, on the CPU what stays in its caches and on a GPU what keeps it busy.
CHUNK_BYTES = (12 << 20, 256 << 20)
# Distances do not depend on the origin; float32 does. Where an episode's centroids lie farther from the origin than so many
# times their spread its queries are shifted; below that float32 loses 1e-5 of a distance, and a pass over all queries is spared.
FAR = 100.0


@dataclass(frozen=True)
class Episodes:
    """Few-shot episodes over pooled rows.

    rows: int64 (E, way, shot + query), support rows first. digest: identifies the draws.
    """

    rows: npt.NDArray[np.int64]
    digest: str


def official_geometry(preprocessing: Preprocessing) -> Preprocessing:
    """The geometry of the study's few-shot code at the input size and with the statistics of `preprocessing`.

    The picture is stretched to int(1.15 x input_size), bilinear, without regard to its shape, then centre-cropped
    (ssl-transfer `few_shot.py` and its `SetDataManager`; for 224: 257x257). Normalisation stays the backbone's own.
    """
    height, width = preprocessing.input_size
    return replace(preprocessing, resize=(int(height * SCALE), int(width * SCALE)), interpolation="bilinear")


class FewShot(Protocol[Predictor]):
    """5-way, 15 queries a class, 600 episodes; squared Euclidean distance to the mean of the raw support features.

    The study drew with torch's global generator over twelve data workers, which cannot be repeated; here one NumPy
    PCG64 stream, seeded with the shots, draws from the targets alone, so that every backbone sees the same episodes.
    """

    way = WAY
    query = QUERY

    def __init__(self, variant: str) -> None:
        shot = variant.removesuffix("shot")
        if not shot.isdecimal() or int(shot) < 1:
            raise DataError(f"few-shot variants are named like 20shot, got {variant!r}")
        self.shot = int(shot)

    def preprocessing(self, own: Preprocessing, compat: Mapping[str, str]) -> Preprocessing:
        """On the study's sets that of its few-shot code, unless the switch fewshot-geometry says otherwise."""
        return official_geometry(own) if compat.get("fewshot-geometry") == "official" else own

    def check(self, dataset: Dataset) -> None:
        """Five classes, each with images for support and queries."""
        pooled = [dataset.splits[name].targets for name in dataset.pool]
        self.check_targets(
            np.concatenate([part.values for part in pooled if isinstance(part, Labels)]), dataset.classes
        )

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Predictor:
        """Nothing is learned beyond the episodes, and nothing is selected."""
        predictor = Predictor()
        predictor.hyperparameters = {"way": WAY, "shot": self.shot, "query": QUERY, "episodes": EPISODES}
        return predictor

    def score(self, predictor: Predictor, held_out: HeldOut) -> Outcome:
        """The mean accuracy over the episodes, which are drawn from all splits pooled."""
        from sslbench.features.stacked import Pool

        parts = [part.labelled() for part in held_out.parts.values()]
        episodes = self.draw(np.concatenate([part.targets for part in parts]), held_out.classes)
        predictions = self.predict(Pool([part.x for part in parts]), episodes)
        right = self.count_right(predictions)
        queries = self.way * self.query
        return Outcome(
            scores={"accuracy": episode_mean(right / queries)},
            main="accuracy",
            guess=100 / self.way,
            paired=Paired("episodes", right, episodes.digest, {"per_episode": queries}),
            samples={"right": right, "predictions": predictions},
            draws=episodes.digest,
        )

    def check_targets(self, targets: npt.NDArray[np.int64], classes: Sequence[str]) -> None:
        """Raise DataError for targets that `draw` cannot use."""
        size = self.shot + QUERY
        if len(classes) < WAY:
            raise DataError(f"{WAY}-way episodes need at least {WAY} classes, got {len(classes)}")
        counts = np.bincount(targets, minlength=len(classes))
        small = [f"{name!r} {count}" for name, count in zip(classes, counts, strict=True) if count < size]
        if small:
            raise DataError(
                f"{self.shot} shots and {QUERY} queries need {size} images of each class; fewer are there "
                f"of {len(small)} of {len(classes)} classes: {', '.join(small)}. Use fewer shots or add images"
            )

    def draw(self, targets: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Episodes:
        """Draw classes without replacement, then support and query images of each without replacement.

        A function of the targets alone. Raises DataError for a class with too few images.
        """
        self.check_targets(targets, classes)
        size = self.shot + QUERY
        members = [np.flatnonzero(targets == label) for label in range(len(classes))]
        rng = np.random.Generator(np.random.PCG64([DRAW_SEED, self.shot]))
        rows = np.empty((EPISODES, WAY, size), dtype=np.int64)
        for episode in range(EPISODES):
            for slot, label in enumerate(rng.permutation(len(classes))[:WAY]):
                rows[episode, slot] = rng.choice(members[label], size, replace=False)
        return Episodes(rows, hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16])

    def predict(self, pool: Pool, episodes: Episodes) -> npt.NDArray[np.int8]:
        """The nearest centroid's slot for each of the 75 queries of each episode, those of slot 0 first: (E, 75)."""
        import torch

        rows = torch.from_numpy(episodes.rows).to(pool.device)
        support = rows[:, :, : self.shot].flatten(0, 1).contiguous()
        queries = rows[:, :, self.shot :].flatten(1, 2).contiguous()
        step = max(1, CHUNK_BYTES[pool.device.type == "cuda"] // (WAY * QUERY * pool.width * 4))
        memory = torch.empty(min(step, len(rows)) * WAY * QUERY, pool.width, device=pool.device)
        nearest = []
        for first in range(0, len(rows), step):
            look()
            # The sums are shot times the centroids, and so are all terms: no pass over them for a division.
            centroids = pool.sums(support[WAY * first : WAY * (first + step)]).view(-1, WAY, pool.width)
            origin = centroids.mean(dim=1, keepdim=True)
            centroids -= origin
            origin /= self.shot
            spread = torch.linalg.vector_norm(centroids, dim=2).square()
            near = (FAR / self.shot) ** 2 * spread.mean(dim=1, keepdim=True)
            far = torch.linalg.vector_norm(origin, dim=2).square() > near
            along = torch.bmm(centroids, origin.transpose(1, 2))[..., 0]
            x = pool.rows(queries[first : first + step], out=memory)
            if far.any():
                x -= torch.where(far[..., None], origin, 0.0)
                along = along.masked_fill(far, 0.0)
            offset = spread / (2 * self.shot) + along
            # Half the squared distance but for the query's own square, which is the same for every centroid.
            distance = offset[..., None] - torch.bmm(centroids, x.transpose(1, 2))
            nearest.append(distance.argmin(dim=1).to(torch.int8))
        return torch.cat(nearest).cpu().numpy()

    def count_right(self, predictions: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        """Right answers (E,) among the queries of each episode."""
        truth = np.repeat(np.arange(self.way), self.query)
        return np.asarray((predictions == truth).sum(axis=1), dtype=np.int64)

    def right_answers(self, pool: Pool, episodes: Episodes) -> npt.NDArray[np.int64]:
        """Right answers (E,) of each episode."""
        return self.count_right(self.predict(pool, episodes))


SPEC = ProtocolSpec(
    "fewshot",
    1,
    FewShot,
    "nearest centroid over 600 five-way episodes",
    variants=("5shot", "20shot", "50shot"),
    learns=(),
    held_out="pool",
)
