"""Object detection as in the study: Faster R-CNN on the network's maps, trained on train and val, tested once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sslbench.datasets import Boxes, Dataset, DeferredObjects
from sslbench.errors import DataError, TrainingError, UnknownNameError, tell
from sslbench.protocols import _detection_options as options
from sslbench.protocols._detection_options import ADAMW, RECIPES, STUDY, Options, Recipe
from sslbench.protocols.base import Development, HeldOut, Material, Part, Predictor, Protocol
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.protocols.registry import ProtocolSpec
from sslbench.training.curves import curve_arrays

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from sslbench.backbones import Backbone
    from sslbench.features.originals import Originals
    from sslbench.heads.detector import Detector
    from sslbench.metrics.detection import Truth
    from sslbench.protocols._detection_pictures import TrainingPictures
    from sslbench.protocols._detection_training import Setting
    from sslbench.training.trials import Trials

MAIN = "AP"
_NOTHING_TO_LEARN = (
    "no picture of train and val has an object to learn from; correct the annotations or the lists of the splits"
)
_NOTHING_TO_SCORE = "no test picture has an object that counts, so that nothing can be scored; correct the annotations"


class Trained(Predictor):
    """weights: of what was trained. curve: samples of its learning curve."""

    def __init__(
        self, setting: Setting, weights: Mapping[str, Tensor], hyperparameters: Mapping[str, Any],
        curve: Mapping[str, npt.NDArray[Any]],
    ) -> None:  # fmt: skip
        self.setting, self.weights, self.hyperparameters, self.curve = setting, weights, hyperparameters, curve


class Detection(Protocol[Trained]):
    """One training on train and val together, with nothing to choose; see `sslbench.protocols._detection_options`."""

    trains = True

    def __init__(self, variant: str) -> None:
        parsed = Options.parse(variant)
        if parsed is None:
            raise UnknownNameError(f"unknown variant of detection {variant!r}; {options.HELP}")
        self.options = parsed

    def check(self, dataset: Dataset) -> None:
        """Raise DataError for a dataset without classes, or with a recipe that does not exist."""
        if not dataset.classes:
            raise DataError(f"detection needs classes of objects, and {dataset.name} has none")
        recipe = dataset.recipes.get(SPEC.name, STUDY.name)
        if recipe not in RECIPES:
            raise DataError(
                f"{dataset.name} names the recipe {recipe!r} for detection; expected one of {', '.join(RECIPES)}"
            )
        held = {
            name: split.targets.objects for name, split in dataset.splits.items() if isinstance(split.targets, Boxes)
        }
        if any(isinstance(objects, DeferredObjects) for objects in held.values()):
            return
        if not any(len(objects) for name in ("train", "val") for objects in held[name]):
            raise DataError(_NOTHING_TO_LEARN)
        if all(objects.difficult.all() for objects in held["test"]):
            raise DataError(_NOTHING_TO_SCORE)

    def ingredients(self, material: Material) -> dict[str, Any]:
        """The network, and what the recipe consists of; which of two it is may follow from the network."""
        named = self.options.recipe or material.dataset.recipes.get(SPEC.name)
        recipes = [RECIPES[named]] if named else [STUDY, ADAMW]
        return {**super().ingredients(material), "recipe": [each.details() for each in recipes]}

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Trained:
        """Train a detector on train and val."""
        from sslbench.protocols._detection_pictures import annotated, one_size
        from sslbench.protocols._detection_training import Setting, train_detector
        from sslbench.protocols._network_parts import batch_norms
        from sslbench.training.progress import grid_bar

        levels = backbone.levels()
        recipe = self._recipe(development, bool(batch_norms(backbone.network.module)))
        setting = Setting(backbone, self.options, recipe, levels, len(development.classes), trials.case)
        # Before a picture is decoded.
        probe = setting.detector(0)
        setting.check_sizes(probe, one_size(development.train))
        facts = _facts(probe)
        del probe
        largest = max(setting.sizes.short)
        parts = [annotated(development.parts[name], largest) for name in ("train", "val")]
        pictures = parts[0] + parts[1]
        if not len(pictures):
            raise DataError(_NOTHING_TO_LEARN)
        absent = _absent(pictures, development.classes)
        if absent:
            tell(f"no object of {', '.join(absent)} is in train or val, so that none can be found")
        hyperparameters = {
            "rate": recipe.rate, "decay": recipe.decay, "steps": setting.steps, "batch": setting.batch, "recipe": recipe.name,
            "sizes": [list(setting.sizes.short), setting.sizes.long], "precision": self.options.precision, "seed": 0,
            "details": recipe.details(),
        }  # fmt: skip
        with grid_bar(f"{backbone.name} detector", steps=setting.steps, trainings=1) as bar:
            train = partial(train_detector, setting=setting, pictures=pictures, bar=bar)
            (found,) = trials.map(train, [hyperparameters], stage="detector", watch=bar.watch(setting.steps, ""))
        if found.values is None:
            raise TrainingError(
                f"the training diverged at step {found.diverged_at} of {setting.steps}, with the recipe {recipe.name} at rate "
                f"{recipe.rate:g}; check the network and its preprocessing, or choose another recipe ({', '.join(RECIPES)})"
            )
        kept = {name: len(part) for name, part in zip(("train", "val"), parts, strict=True)}
        told = {**facts, "pictures": kept, "without_objects": pictures.without, "loss": found.values["loss"]}
        return Trained(setting, found.tensors, {**hyperparameters, **told}, curve_arrays([found.values]))

    def score(self, predictor: Trained, held_out: HeldOut) -> Outcome:
        """Objects are found on the test split once, and scored by both rules."""
        from sslbench.metrics.detection import detection_scores
        from sslbench.metrics.detection_samples import DetectionSamples
        from sslbench.protocols._detection_training import restored

        setting, classes = predictor.setting, held_out.classes
        originals = held_out.test.originals(max(setting.sizes.short))
        truth = _truth(held_out.test, originals)
        if not len(truth.image) or truth.difficult.all():
            raise DataError(_NOTHING_TO_SCORE)
        found = setting.detect(restored(setting, predictor.weights), originals, f"{setting.backbone.name} on test")
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            raise TrainingError("what the trained detector finds is not finite; choose another recipe")
        scored = detection_scores(found, truth, len(classes))
        samples = DetectionSamples(found, truth, originals.rows, originals.full_sizes.numpy(), classes)
        others = {name: values for name, values in scored.resampled.items() if name != MAIN}
        items = held_out.test.targets.take(originals.rows).digest
        paired = Paired("resamples", scored.resampled[MAIN], items, {"images": truth.images}, others)
        undefined = [classes[label] for label in np.flatnonzero(np.isnan(scored.per_class[0, 0]))]
        fitted = {"detections": len(found.image), **({"classes_without_test_object": undefined} if undefined else {})}
        arrays = {**samples.to_arrays(), **predictor.curve}
        return Outcome(scored.scores, MAIN, None, paired, arrays, fitted=fitted)

    def _recipe(self, development: Development, batch_norm: bool) -> Recipe:
        if self.options.recipe is not None:
            return RECIPES[self.options.recipe]
        return RECIPES[development.recipe] if development.recipe else STUDY if batch_norm else ADAMW


def _facts(detector: Detector) -> dict[str, Any]:
    """What of the detector is trained, for the record."""
    own = [parameter for module in (detector.body, detector.pyramid) for parameter in module.parameters()]
    every = list(detector.parameters())
    trained = [sum(parameter.requires_grad for parameter in own), sum(p.numel() for p in every if p.requires_grad)]
    return {
        "trained": f"{trained[0]} of {len(own)} tensors of network and pyramid",
        "parameters": f"{trained[1]} of {sum(parameter.numel() for parameter in every)} trained",
        "pyramid": detector.pyramid.kind,
        "strides": list(detector.pyramid.strides),
    }


def _absent(pictures: TrainingPictures, classes: tuple[str, ...]) -> list[str]:
    there = {label for labels in pictures.labels for label in labels.tolist()}
    return [name for number, name in enumerate(classes, 1) if number not in there]


def _truth(part: Part, originals: Originals) -> Truth:
    """The objects of the pictures that could be read, which are numbered as in `originals`."""
    from sslbench.metrics.detection import Truth

    found = [part.targets.load(row) for row in originals.rows.tolist()]
    image = np.repeat(np.arange(len(found)), [len(objects) for objects in found])
    boxes, labels, difficult = (
        np.concatenate([getattr(objects, name) for objects in found]) for name in ("boxes", "labels", "difficult")
    )
    return Truth(len(found), image, boxes, labels, difficult)


SPEC = ProtocolSpec(
    "detection",
    1,
    Detection,
    "Faster R-CNN on the network's maps, average precision",
    takes=(Boxes,),
    variants=options.SETTINGS,
    other_variant=options.canonical,
    variant_help=options.HELP,
    by_name=True,
)
