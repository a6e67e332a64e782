"""One picture's inversion: a deep image prior fitted until a frozen network sees in it what it sees in the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.errors import BackboneError
from sslbench.protocols._inversion_network import Shape, SkipNetwork
from sslbench.protocols._inversion_options import Recipe
from sslbench.protocols._training_run import trained
from sslbench.training.loop import Plan, Step
from sslbench.training.progress import GridBar
from sslbench.training.seeds import seed_of
from sslbench.training.trial_result import TrialResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sslbench.backbones import Backbone, Preprocessing

CHECKPOINT_STEPS, CHECKPOINT_SECONDS = 10, 30.0


def last_map(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    """The network's last map of normalised pictures, through which gradients flow to the pictures and to nothing else.

    It is that of a copy, since nothing may change the backbone. Raises BackboneError for a network that has no maps, or whose map
    does not depend on the picture by a gradient.
    """
    # It says what is wrong with a network that gives none.
    backbone.levels()
    network = backbone.trainable()
    network.module.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def last(images: Tensor) -> Tensor:
        return network.feature_maps(images)[-1]

    side = backbone.preprocessing.input_size
    tried = torch.zeros(1, 3, *side, device=backbone.device, requires_grad=True)
    with torch.enable_grad():
        found = last(tried)
    if not found.requires_grad:
        raise BackboneError(
            f"{backbone.name}: no gradient flows from its last map to the picture, without which nothing can be inverted; take "
            "`no_grad`, `detach` and the like out of its forward pass"
        )
    return last


class InversionLearner:
    """The prior and what it is fitted to: mean squared difference of last maps. There is nothing to draw in a step.

    pixels: uint8 (H, W, 3), as the network is shown them. output: `normalised`, the prior paints what the network takes, or
    `sigmoid`, red, green and blue from 0 to 1. plain: computed as written, see `SkipNetwork`.
    """

    def __init__(
        self, last: Callable[[Tensor], Tensor], preprocessing: Preprocessing, pixels: NDArray[np.uint8], recipe: Recipe, *,
        output: str, seed: int, device: torch.device, plain: bool = False,
    ) -> None:  # fmt: skip
        self._last, self._preprocessing, self._output, self._plain = last, preprocessing, output, plain
        self._size = recipe.size
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(1, recipe.inputs, recipe.noise, recipe.noise, generator=generator) * recipe.amplitude
        self._noise = noise.to(device).contiguous(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = SkipNetwork(Shape(recipe.channels, recipe.kernels, recipe.skip, recipe.inputs))
        self.model: nn.Module = network.to(device).to(memory_format=torch.channels_last)
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(self.model.parameters(), recipe.rate, fused=True)
        self._mean, self._std = (
            torch.tensor(x, device=device).view(3, 1, 1) for x in (preprocessing.mean, preprocessing.std)
        )
        image = preprocessing.normalise(torch.from_numpy(pixels.copy())[None].to(device))
        with torch.no_grad():
            self._wanted = last(image.contiguous(memory_format=torch.channels_last))

    def batch(self, step: Step) -> None:
        """Nothing: every step is on the same noise."""

    def loss(self, batch: None) -> Tensor:
        """How far the last map of what is painted is from the picture's."""
        painted = self._painted()
        images = (painted - self._mean) / self._std if self._output == "sigmoid" else painted
        return F.mse_loss(self._last(images.flip(1) if self._preprocessing.bgr else images), self._wanted)

    def picture(self) -> Tensor:
        """What is painted, float32 (H, W, 3) in levels of 0 to 255, on the CPU."""
        with torch.no_grad():
            painted = self._painted()
            if self._output != "sigmoid":
                painted = painted * self._std + self._mean
            return (painted.clamp(0, 1) * 255)[0].permute(1, 2, 0).contiguous().cpu()

    def _painted(self) -> Tensor:
        found: Tensor = self.model(self._noise, plain=self._plain)[:, :, : self._size, : self._size]
        return found.sigmoid() if self._output == "sigmoid" else found


@dataclass(frozen=True)
class Setting:
    """What the inversions of a case share. steps: of each. output: as for `InversionLearner`."""

    backbone: Backbone
    last: Callable[[Tensor], Tensor]
    recipe: Recipe
    steps: int
    output: str

    def learner(self, pixels: NDArray[np.uint8], seed: int) -> InversionLearner:
        """For one picture."""
        return InversionLearner(
            self.last, self.backbone.preprocessing, pixels, self.recipe, output=self.output, seed=seed,
            device=self.backbone.device,
        )  # fmt: skip


def seed_for(seed: int, row: int) -> int:
    """Of noise and first weights: the same for every network, which are compared picture by picture."""
    return seed_of("inversion", seed, row)


def invert(
    hyperparameters: Mapping[str, Any], folder: Path | None, *, setting: Setting, pictures: Mapping[int, NDArray[np.uint8]],
    bar: GridBar,
) -> TrialResult:  # fmt: skip
    """The picture of a row: `picture`, as `InversionLearner.picture` gives it, and the first and last mean losses.

    hyperparameters: `row`, `seed`, and all else that the result depends on. pictures: pixels by row.
    """
    row, steps = hyperparameters["row"], setting.steps
    bar.begin(f"picture {row}")
    seed = seed_for(hyperparameters["seed"], row)
    learner, log, _ = trained(
        lambda: setting.learner(pictures[row], seed), Plan(steps, min(CHECKPOINT_STEPS, steps)), schedule=lambda progress: 1.0,
        begun_with=hyperparameters, folder=folder, device=setting.backbone.device, save_seconds=CHECKPOINT_SECONDS, bar=bar,
    )  # fmt: skip
    return TrialResult({"loss": [log[0]["loss"], log[-1]["loss"]]}, {"picture": learner.picture()})
