"""Occlusion attention as in the study: where a frozen network's features move when a window of the picture is covered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Dataset, Targets
from sslbench.errors import BackboneError, DataError, FeatureError
from sslbench.metrics.attention import MAIN
from sslbench.protocols import _occlusion_options as options
from sslbench.protocols._occlusion_options import RECIPES, Options, Windows, windows_of
from sslbench.protocols.base import Development, HeldOut, Material, Part, Predictor, Protocol, rows_digest
from sslbench.protocols.outcome import Outcome, Paired
from sslbench.protocols.registry import ProtocolSpec

if TYPE_CHECKING:
    from sslbench.backbones import Backbone, Preprocessing
    from sslbench.training.trials import Trials

FILL, DISTANCE = "occlusion-fill", "occlusion-distance"


class Looking(Predictor):
    """A network that has learned nothing, and the windows that its pictures are covered with."""

    def __init__(self, backbone: Backbone, windows: Windows, hyperparameters: Mapping[str, Any]) -> None:
        self.backbone, self.windows, self.hyperparameters = backbone, windows, hyperparameters


class Occlusion(Protocol[Looking]):
    """Appendix A.9 of the study; see `sslbench.protocols._occlusion_options` for the recipes."""

    trains = True

    def __init__(self, variant: str, *, compat: Mapping[str, str]) -> None:
        self.options = Options.parse(variant)
        self.recipe = RECIPES[self.options.recipe]
        self.pictures = self.options.pictures or self.recipe.pictures
        self.fill, self.centred = compat[FILL], compat[DISTANCE] == "centred"

    def check(self, dataset: Dataset) -> None:
        """Raise DataError for a split with fewer pictures than are to be looked at."""
        (split, *_) = SPEC.scored_on(dataset)
        if (there := len(dataset.splits[split].targets)) < self.pictures:
            raise DataError(
                f"occlusion looks at the first {self.pictures} pictures of {split}, which has {there}; choose pictures={there} "
                "or fewer"
            )

    def preprocessing(self, own: Preprocessing, compat: Mapping[str, str]) -> Preprocessing:
        """The network's own, at the side of the recipe: the shorter side resized to it, then a centre crop."""
        side = self.recipe.side
        return own if side is None else replace(own, input_size=(side, side), resize=side)

    def ingredients(self, material: Material) -> dict[str, Any]:
        """The network, and what the recipe consists of."""
        return {**super().ingredients(material), "recipe": {**self.recipe.details(), "pictures": self.pictures}}

    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> Looking:
        """Learns nothing. Raises BackboneError for a network that cannot be shown such pictures, before any is loaded."""
        import torch

        from sslbench.backbones.undisturbed import UNSUITABLE

        size = backbone.preprocessing.input_size
        windows = windows_of(self.recipe, self.options.stride, size)
        try:
            backbone.embed(torch.zeros(1, 3, *size, device=backbone.device))
        except UNSUITABLE as error:
            told = next(iter(str(error).splitlines()), "")
            own = "name the variant recipe=own, which covers pictures of the network's own size"
            advice = own if self.recipe.side else "choose a size that it takes (?size=N)"
            raise BackboneError(
                f"{backbone.name} does not take pictures of {size[0]} x {size[1]} pixels ({type(error).__name__}: {told}); "
                f"{advice}"
            ) from error
        hyperparameters = {
            "recipe": self.recipe.name, "input": list(size), "window": windows.side, "stride": windows.stride,
            "windows": len(windows), "pictures": self.pictures,
        }  # fmt: skip
        return Looking(backbone, windows, hyperparameters)

    def score(self, predictor: Looking, held_out: HeldOut) -> Outcome:
        """A map for each of the first test pictures, how much of each is above its mean, and how much lies on objects."""
        from sslbench.metrics.attention import attention_map, attention_scores
        from sslbench.protocols._occlusion_objects import as_shown, objects_of, tell_objects

        part, windows = held_out.first, predictor.windows
        preprocessing = predictor.backbone.preprocessing
        pictures, rows, sizes = _first(part, self.pictures, preprocessing)
        inner = windows.inner
        objects = None
        if tell_objects(part.targets, held_out.classes):
            # Before the network runs for long.
            found = [
                objects_of(part.targets, held_out.classes, row, size) for row, size in zip(rows, sizes, strict=True)
            ]
            objects = np.stack([as_shown(code, preprocessing)[inner] for code in found])
        distances, execution = self._distances(predictor, pictures)
        maps = np.stack(
            [attention_map(each, windows.tops, windows.lefts, windows.side, windows.size)[inner] for each in distances]
        )
        if still := [row for row, each in zip(rows, maps, strict=True) if not each.any()]:
            raise FeatureError(
                f"{predictor.backbone.name}: its features of test picture {still[0]} are the same whatever is covered, so that "
                "it has no attention; check the checkpoint"
            )
        scored = attention_scores(maps, objects)
        samples = {
            "pictures": np.stack([picture[inner] for picture in pictures]), "attention": maps.astype(np.float16),
            "rows": np.array(rows, dtype=np.int64), "diffusion": scored.each,
            **({"objects": objects} if objects is not None else {}),
        }  # fmt: skip
        paired = None
        # Resamples of one picture are all alike, which would make any difference certain.
        if len(rows) > 1:
            others = {name: values for name, values in scored.resampled.items() if name != MAIN}
            items = rows_digest(part.images, part.targets, np.array(rows))
            paired = Paired("resamples", scored.resampled[MAIN], items, {"images": len(rows)}, others)
        fitted = {"rows": rows, "execution": execution}
        return Outcome(scored.scores, MAIN, None, paired, samples, fitted=fitted)

    def _distances(
        self, predictor: Looking, pictures: npt.NDArray[np.uint8]
    ) -> tuple[list[npt.NDArray[np.float64]], str]:
        """Of each picture (P, Q), and how the network was run."""
        import torch

        from sslbench.features.execution import choose_execution
        from sslbench.features.extract import default_batch
        from sslbench.protocols._occlusion_windows import progress, relative_distances
        from sslbench.threads import look

        backbone, windows = predictor.backbone, predictor.windows
        device = backbone.device
        batch, total = default_batch(device.type), len(pictures) * (len(windows) + 1)
        shown = backbone.preprocessing.normalise(torch.from_numpy(pictures).to(device))
        colours = self._fills(pictures, backbone.preprocessing).to(device)
        with torch.inference_mode():
            execution = choose_execution(backbone, images=total, batch=batch, device=str(device), dtype=None)
        found = []
        with progress(f"{backbone.name} occluded", total) as bar:

            def embed(images: torch.Tensor) -> torch.Tensor:
                bar.update(len(images))
                return execution.embed(images)

            # A compiled network would be compiled anew for another number of threads.
            between = (lambda: None) if execution.name == "compiled" else look
            for picture, fill in zip(shown, colours, strict=True):
                found.append(
                    relative_distances(
                        embed, picture, windows, fill, batch=batch, centred=self.centred, between=between
                    )
                )
        return found, execution.label

    def _fills(self, pictures: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> Any:
        """float32 (N, 3): what windows of each picture are covered with, after normalisation."""
        import torch

        if self.fill == "mean":
            return torch.zeros(len(pictures), 3)
        black = preprocessing.normalise(torch.zeros(1, 1, 1, 3, dtype=torch.uint8))[:, :, 0, 0]
        if self.fill == "black":
            return black.expand(len(pictures), 3)
        return preprocessing.normalise(torch.from_numpy(pictures)).mean(dim=(2, 3))


def _first(
    part: Part, count: int, preprocessing: Preprocessing
) -> tuple[npt.NDArray[np.uint8], list[int], list[tuple[int, int]]]:
    """The first pictures that can be read, resized and cropped, uint8 (N, H, W, 3), their rows, and (H, W) before."""
    from PIL import Image

    found: list[npt.NDArray[np.uint8]] = []
    rows: list[int] = []
    sizes: list[tuple[int, int]] = []
    for row in range(len(part.images)):
        if len(found) == count:
            break
        given, kept = part.load([row])
        if not kept:
            continue
        picture = Image.fromarray(given[0]) if isinstance(given[0], np.ndarray) else given[0]
        if picture is None or (told := preprocessing.too_long(*picture.size)):
            raise DataError(f"test picture {row}: {told}")
        found.append(np.asarray(preprocessing.geometry(picture), dtype=np.uint8))
        rows.append(row)
        sizes.append((picture.height, picture.width))
    if not found:
        raise DataError("no test picture can be read")
    return np.stack(found), rows, sizes


SPEC = ProtocolSpec(
    "occlusion",
    1,
    Occlusion,
    "how much of a picture moves the frozen features when it is covered",
    takes=(Targets,),
    variants=("",),
    other_variant=options.canonical,
    variant_help=options.HELP,
    by_name=True,
    learns=(),
    # The cross-domain sets are one split each.
    held_out="test-or-pool",
    switches=(FILL, DISTANCE),
    transfer=False,
)
