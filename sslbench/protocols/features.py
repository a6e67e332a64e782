"""Scores of frozen features by themselves: nothing is learned, and labels count in two of them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.datasets import Labels, Targets
from sslbench.errors import DataError
from sslbench.protocols.base import Development, HeldOut, Predictor, Protocol, rows_digest
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.protocols.registry import ProtocolSpec

if TYPE_CHECKING:
    from sslbench.backbones import Backbone
    from sslbench.training.trials import Trials


class FeatureScores(Protocol[Predictor]):
    """`sslbench.metrics.representation` of the test split's pooled features."""

    def __init__(self, variant: str = "") -> None:
        if variant:
            raise DataError(f"the features protocol has no variant {variant!r}")

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Predictor:
        """Nothing is learned."""
        return Predictor()

    def score(self, predictor: Predictor, held_out: HeldOut) -> Outcome:
        """Of the pictures that could be read. Raises DataError for features of which no score can be made."""
        from sslbench.metrics.representation import MAIN, representation_scores

        part = held_out.test
        features = part.features()
        labels = part.targets.values[features.rows] if isinstance(part.targets, Labels) else None
        try:
            found = representation_scores(features.x.float().cpu().numpy(), labels)
        except ValueError as error:
            raise DataError(f"nothing can be said of these features: {error}") from error
        items = rows_digest(part.images, part.targets, features.rows)
        others = {name: values for name, values in found.resampled.items() if name != MAIN}
        paired = Paired("resamples", found.resampled[MAIN], items, {"images": len(features.rows)}, others)
        return Outcome(found.scores, MAIN, None, paired, fitted={"width": features.x.shape[1]})


SPEC = ProtocolSpec(
    "features",
    1,
    FeatureScores,
    "how many directions frozen features use and how they spread; nothing is learned",
    takes=(Targets,),
    # It measures no transfer, so that `*` does not stand for it.
    by_name=True,
    learns=(),
    transfer=False,
)
