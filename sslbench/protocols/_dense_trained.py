"""Segmentation and normals as in the study: a head on the network's maps, trained on train and val, tested once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sslbench.datasets import Dataset, Masks, Normals
from sslbench.errors import DataError, TrainingError, UnknownNameError
from sslbench.protocols._dense_options import DenseTask, Recipe, check_masks
from sslbench.protocols.base import Development, HeldOut, Material, Predictor, Protocol
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.training.curves import curve_arrays

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from sslbench.backbones import Backbone
    from sslbench.heads.dense_network import DenseNetwork
    from sslbench.metrics.dense import DenseScores
    from sslbench.metrics.dense_samples import DensePredictions
    from sslbench.protocols._dense_coding import Coding
    from sslbench.protocols._dense_training import Setting
    from sslbench.training.trials import Trials

_NOTHING_TO_LEARN = (
    "no pixel of train and val counts, so that there is nothing to learn from; correct the files or what is ignored"
)
_NOTHING_TO_SCORE = (
    "no pixel of the test pictures counts, so that nothing can be scored; correct the files or what is ignored"
)


class Trained(Predictor):
    """weights: what training changed. curve: samples of its learning curve."""

    def __init__(
        self, setting: Setting, weights: Mapping[str, Tensor], hyperparameters: Mapping[str, Any],
        curve: Mapping[str, npt.NDArray[Any]],
    ) -> None:  # fmt: skip
        self.setting, self.weights, self.hyperparameters, self.curve = setting, weights, hyperparameters, curve


class TrainedDense(Protocol[Trained]):
    """One training on train and val together, with nothing to choose; see `sslbench.protocols._dense_options`.

    Pictures are normalised as the network's own preprocessing says: for SimCLR not at all, which is appendix A.1 of the study.
    Its segmentation code has no such option and gives SimCLR ImageNet's mean and deviation.
    """

    trains = True

    def __init__(self, task: DenseTask, variant: str, compat: Mapping[str, str] | None = None) -> None:
        parsed = task.options(variant)
        if parsed is None:
            raise UnknownNameError(f"unknown variant of {task.name} {variant!r}; {task.help}")
        self.task, self.options, self.compat = task, parsed, dict(compat or {})

    def check(self, dataset: Dataset) -> None:
        """Raise DataError for masks of fewer than two classes, or a recipe that does not exist."""
        check_masks(dataset, self.task.name)
        recipe = dataset.recipes.get(self.task.name, self.task.study.name)
        if recipe not in self.task.recipes:
            raise DataError(
                f"{dataset.name} names the recipe {recipe!r} for {self.task.name}; expected one of {', '.join(self.task.recipes)}"
            )

    def ingredients(self, material: Material) -> dict[str, Any]:
        """The network, and what the recipe consists of; which of two it is may follow from the network."""
        named = self.options.recipe or material.dataset.recipes.get(self.task.name)
        recipes = [self.task.recipes[each] for each in ([named] if named else ["study", "adamw"])]
        return {**super().ingredients(material), "recipe": [each.details() for each in recipes]}

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Trained:
        """Train a head, and the network where it is to be trained, on train and val."""
        from sslbench.protocols._dense_coding import Classes, check_learned
        from sslbench.protocols._dense_pictures import pictures_of
        from sslbench.protocols._dense_training import Setting, train_dense
        from sslbench.protocols._detection_pictures import one_size
        from sslbench.training.progress import grid_bar

        levels = backbone.levels()
        recipe = self._recipe(development, backbone).sized(self.options.size)
        coding = self._coding(development)
        setting = Setting(backbone, self.task, self.options, recipe, coding, levels, self.compat, trials.case)
        # Before a picture is decoded.
        probe = setting.network(0)
        setting.check_sizes(probe, one_size(development.train))
        facts = _facts(probe)
        del probe
        pictures = pictures_of({name: development.parts[name] for name in ("train", "val")}, max(recipe.short), coding)
        if isinstance(coding, Classes):
            check_learned(pictures.class_pixels(), development.classes)
        elif not pictures.any_learnable():
            raise DataError(_NOTHING_TO_LEARN)
        hyperparameters = {
            "rate": recipe.rate, "decay": recipe.decay, "steps": setting.steps, "batch": setting.batch, "recipe": recipe.name,
            "sizes": [list(recipe.short), recipe.longest], "encoder": "frozen" if setting.frozen else "finetune",
            "precision": self.options.precision or "float32", "seed": 0, **coding.told, "details": recipe.details(),
        }  # fmt: skip
        with grid_bar(f"{backbone.name} {self.task.name}", steps=setting.steps, trainings=1) as bar:
            train = partial(train_dense, setting=setting, pictures=pictures, bar=bar)
            (found,) = trials.map(train, [hyperparameters], stage="dense", watch=bar.watch(setting.steps, ""))
        if found.values is None:
            raise TrainingError(
                f"the training diverged at step {found.diverged_at} of {setting.steps}, with the recipe {recipe.name} at rate "
                f"{recipe.rate:g}; check the network and its preprocessing, or choose another recipe "
                f"({', '.join(self.task.recipes)})"
            )
        told = {**facts, "pictures": pictures.counts(), "tested": list(setting.scales), "loss": found.values["loss"]}
        return Trained(setting, found.tensors, {**hyperparameters, **told}, curve_arrays([found.values]))

    def score(self, predictor: Trained, held_out: HeldOut) -> Outcome:
        """What is predicted of the test split, once, each picture at its full size."""
        from sslbench.protocols._dense_coding import Classes, check_scored
        from sslbench.protocols._dense_pictures import pictures_of
        from sslbench.protocols._dense_training import restored

        setting = predictor.setting
        pictures = pictures_of({"test": held_out.test}, max(setting.scales), setting.coding)
        if isinstance(setting.coding, Classes):
            check_scored(pictures.class_pixels(), held_out.classes)
        scores, kept = _scores(held_out)
        network = restored(setting, predictor.weights)
        counted, rows = False, pictures.pictures.originals[0].rows
        for place, predicted in setting.predictions(network, pictures, f"{setting.backbone.name} on test"):
            truth = pictures.target(place)
            figure = scores.add(truth, predicted)
            kept.add(int(rows[place]), truth, predicted, figure)
            # Not a number where no pixel of the picture counts.
            counted = counted or not math.isnan(figure)
        if not counted:
            raise DataError(_NOTHING_TO_SCORE)
        scored, main = scores.scored(), scores.main
        others = {name: values for name, values in scored.resampled.items() if name != main}
        items = held_out.test.targets.take(rows).digest
        paired = Paired("resamples", scored.resampled[main], items, {"images": scored.images}, others)
        return Outcome(scored.scores, main, None, paired, {**scored.arrays, **kept.to_arrays(), **predictor.curve})

    def _coding(self, development: Development) -> Coding:
        from sslbench.protocols._dense_coding import Classes, codewords_of

        if isinstance(development.train.targets, Normals):
            return codewords_of(development.train)
        return Classes(len(development.classes))

    def _recipe(self, development: Development, backbone: Backbone) -> Recipe:
        from sslbench.protocols._network_parts import batch_norms

        named = self.options.recipe or development.recipe
        if named:
            return self.task.recipes[named]
        still = (self.options.encoder or self.task.encoder) == "frozen"
        return self.task.recipes["study" if still or batch_norms(backbone.network.module) else "adamw"]


def _facts(network: DenseNetwork) -> dict[str, Any]:
    """What of it is trained and on which maps, for the record."""
    body, every = list(network.body.parameters()), list(network.parameters())
    trained = [sum(parameter.requires_grad for parameter in body), sum(p.numel() for p in every if p.requires_grad)]
    return {
        "trained": f"{trained[0]} of {len(body)} tensors of the network",
        "parameters": f"{trained[1]} of {sum(parameter.numel() for parameter in every)} trained",
        "maps": network.levels.kind,
        "stride": list(network.levels.strides[0]),
    }


def _scores(held_out: HeldOut) -> tuple[DenseScores, DensePredictions]:
    """What adds up truth and predictions of the test pictures, and what keeps some of them to be looked at."""
    from sslbench.metrics.angles import Angles
    from sslbench.metrics.dense_samples import DensePredictions
    from sslbench.metrics.overlap import Overlap

    targets, classes = held_out.test.targets, held_out.classes
    if isinstance(targets, Masks):
        return Overlap(len(classes), targets.ignore), DensePredictions("masks", classes, targets.ignore)
    return Angles(), DensePredictions("normals")
