"""Feature inversion as in the study: pictures reconstructed from a network's last map by a deep image prior (appendix A.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sslbench.compat import parse_compat
from sslbench.datasets import Dataset, Targets
from sslbench.errors import DataError, TrainingError, UnknownNameError
from sslbench.protocols import _inversion_options as options
from sslbench.protocols._inversion_options import RECIPES, Options
from sslbench.protocols.base import Development, HeldOut, Material, Part, Predictor, Protocol
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.protocols.registry import ProtocolSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sslbench.backbones import Backbone, Preprocessing
    from sslbench.protocols._inversion_training import Setting
    from sslbench.training.trials import Trials

SEED = 0


class Inverter(Predictor):
    """The network, ready to have pictures inverted; nothing was learned. trials: keeps each finished picture."""

    def __init__(self, setting: Setting, trials: Trials, told: Mapping[str, Any]) -> None:
        self.setting, self.trials, self.hyperparameters = setting, trials, told


class Inversion(Protocol[Inverter]):
    """Some pictures of the test split, each reconstructed alone; see `sslbench.protocols._inversion_options`.

    The switches inversion-output, inversion-resize, inversion-steps and inversion-levels choose where sources differ.
    """

    trains = True

    def __init__(self, variant: str = "", compat: Mapping[str, str] | None = None) -> None:
        parsed = Options.parse(variant)
        if parsed is None:
            raise UnknownNameError(f"unknown variant of inversion {variant!r}; {options.HELP}")
        self.options, self.recipe = parsed, RECIPES[parsed.recipe]
        self.compat = parse_compat(compat or {})

    @property
    def steps(self) -> int:
        """Of each inversion."""
        return (self.options.steps or self.recipe.steps) + (self.compat["inversion-steps"] == "3001")

    @property
    def pictures(self) -> int:
        """That are inverted."""
        return self.options.pictures or self.recipe.pictures

    def check(self, dataset: Dataset) -> None:
        """Raise DataError for fewer test pictures than are to be inverted."""
        split = SPEC.scored_on(dataset)[0]
        there = len(dataset.splits[split].images)
        if there < self.pictures:
            raise DataError(
                f"expected {self.pictures} pictures in the split {split} of {dataset.name} to invert, got {there}; choose fewer "
                f"(pictures={there})"
            )

    def preprocessing(self, own: Preprocessing, compat: Mapping[str, str]) -> Preprocessing:
        """The recipe's size, bicubic, and a centre crop, normalised as the network wants it: the same picture for every one."""
        size = self.recipe.size
        resize = size if compat["inversion-resize"] == "224" else round(size * 256 / 224)
        return replace(own, input_size=(size, size), resize=resize, interpolation="bicubic")

    def ingredients(self, material: Material) -> dict[str, Any]:
        """The network, what the recipe consists of, and which perceptual distances can be taken on this machine."""
        from sslbench.protocols._inversion_lpips import ready

        own = {"details": self._details(), "pictures": self.pictures, "lpips": ready()}
        return {**super().ingredients(material), "recipe": own}

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Inverter:
        """Learn nothing; see whether the network can be inverted."""
        from sslbench.protocols._inversion_training import Setting, last_map

        output = self.compat["inversion-output"]
        setting = Setting(backbone, last_map(backbone), self.recipe, self.steps, output)
        told = {
            "recipe": self.recipe.name, **{name: self._details()[name] for name in ("size", "steps", "rate")},
            "details": self._details(), "seed": SEED,
        }  # fmt: skip
        return Inverter(setting, trials, told)

    def score(self, predictor: Inverter, held_out: HeldOut) -> Outcome:
        """Pictures that lie evenly in the test split, the first of all among them, are inverted and compared."""
        from sslbench.metrics.reconstruction import (
            MAIN,
            chroma_of_grey,
            colour_errors,
            error_of_constant,
            reconstruction_scores,
        )
        from sslbench.protocols._inversion_lpips import perceptual_distances

        backbone = predictor.setting.backbone
        # Sets without splits of their own, as the study's cross-domain ones, have all pictures in one.
        part = next(iter(held_out.parts.values()))
        pictures = self._chosen(part, backbone.preprocessing)
        rows, originals = list(pictures), np.stack(list(pictures.values()))
        painted, losses = self._inverted(predictor, pictures)
        rounded = np.rint(painted).astype(np.uint8)
        judged = rounded if self.compat["inversion-levels"] == "8-bit" else painted
        distances, states = perceptual_distances(originals, judged, str(backbone.device))
        found = reconstruction_scores(colour_errors(originals, judged), distances)
        scores = {name: score for name, (score, _) in found.items()}
        digest = hashlib.sha256(f"{part.images.fingerprint}|{rows}".encode()).hexdigest()[:16]
        others = {name: values for name, (_, values) in found.items() if name != MAIN}
        paired: Paired | None = Paired("resamples", found[MAIN][1], digest, {"images": len(rows)}, others)
        fitted: dict[str, Any] = {
            "rows": rows, "loss": losses, "chroma_of_grey": chroma_of_grey(originals), "lpips": states,
        }  # fmt: skip
        if len(rows) == 1:
            # Nothing tells how another picture would have come out, so nothing may look as if it did.
            paired, fitted["paired"] = None, "no: a single picture tells nothing of others; pictures=N for more"
        samples: dict[str, NDArray[Any]] = {
            "pictures": originals,
            "reconstructions": rounded,
            "rows": np.array(rows, dtype=np.int64),
        }
        return Outcome(scores, MAIN, error_of_constant(originals), paired, samples, fitted=fitted)

    def _details(self) -> dict[str, Any]:
        return {**self.recipe.details(), "steps": self.steps, "output": self.compat["inversion-output"]}

    def _chosen(self, part: Part, preprocessing: Preprocessing) -> dict[int, NDArray[np.uint8]]:
        """Pixels (H, W, 3) as the network is shown them, by row."""
        wanted = [number * len(part.images) // self.pictures for number in range(self.pictures)]
        loaded: Any
        loaded, rows = part.load(wanted)
        if not rows:
            raise DataError(f"none of the test pictures to be inverted can be read (rows {wanted}); correct the files")
        for row, picture in zip(rows, loaded, strict=True):
            size = picture.shape[1::-1] if isinstance(picture, np.ndarray) else picture.size
            if told := preprocessing.too_long(*size):
                raise DataError(f"test picture {row}: {told}")
        return dict(zip(rows, preprocessing.pixels(loaded), strict=True))

    def _inverted(
        self, predictor: Inverter, pictures: Mapping[int, NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], list[list[float]]]:
        """What was painted for each (N, H, W, 3), in levels, and the mean losses of its first and last steps."""
        from sslbench.protocols._inversion_training import invert
        from sslbench.training.progress import grid_bar

        # By content: pictures belong to the held-out split, of which the trials' own key knows nothing.
        grid = [
            {"row": row, "picture": hashlib.sha256(pixels.tobytes()).hexdigest(), "seed": SEED, **self._details()}
            for row, pixels in pictures.items()
        ]
        title = f"{predictor.setting.backbone.name} inversion"
        with grid_bar(title, steps=self.steps * len(grid), trainings=len(grid)) as bar:
            one = partial(invert, setting=predictor.setting, pictures=pictures, bar=bar)
            found = predictor.trials.map(one, grid, stage="inversion", watch=bar.watch(self.steps, ""))
        for result, each in zip(found, grid, strict=True):
            if result.values is None:
                raise TrainingError(
                    f"the inversion of row {each['row']} diverged at step {result.diverged_at} of {self.steps}; check the "
                    "network and its preprocessing"
                )
        return np.stack([result.tensors["picture"].numpy() for result in found]), [r.values["loss"] for r in found]


SPEC = ProtocolSpec(
    "inversion",
    1,
    Inversion,
    "pictures reconstructed from the last map by a deep image prior; mean squared error of their colours",
    takes=(Targets,),
    other_variant=options.canonical,
    variant_help=options.HELP,
    by_name=True,
    learns=(),
    held_out="test-or-pool",
    switches=("inversion-output", "inversion-resize", "inversion-steps", "inversion-levels"),
    transfer=False,
)
