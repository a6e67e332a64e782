"""A detector: a trainable network, a pyramid on its maps, and Faster R-CNN on that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sslbench.heads.faster_rcnn import Design, FasterRCNN, Wanted
from sslbench.heads.pyramid import pyramid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sslbench.backbones.backbone import Level, Network


class Detector(nn.Module):
    """A network of its own with new heads, drawn from a seed.

    Args:
        network: to be trained; which of its parameters are says `requires_grad`.
        levels: of its maps.
        classes: of objects.
        design: of the heads.
        name: of the network, for messages.
        still: modules of the network that stay in evaluation mode.
        seed: of the heads' weights.
        bfloat16: whether network, pyramid and layers of the heads compute in bfloat16; proposals and losses never do.

    Raises:
        BackboneError: maps of which no pyramid can be made.
    """

    def __init__(
        self,
        network: Network,
        levels: Sequence[Level],
        classes: int,
        design: Design,
        *,
        name: str,
        still: Iterable[nn.Module] = (),
        seed: int = 0,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self._network, self._still, self._bfloat16 = network, list(still), bfloat16
        self.body = network.module
        device = next(self.body.parameters()).device
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would reseed the GPUs too.
            torch.default_generator.manual_seed(seed)
            self.pyramid = pyramid(levels, design.channels, name)
            self.head = FasterRCNN(classes, self.pyramid.strides, design)
        self.pyramid.to(device)
        self.head.to(device)

    def losses(self, images: Tensor, sizes: list[tuple[int, int]], truth: Wanted) -> dict[str, Tensor]:
        """The four losses of normalised pictures (B, 3, H, W); for the rest see `FasterRCNN.forward`."""
        return self(images, sizes, truth)[1]  # type: ignore[no-any-return]

    def detections(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """Of each picture `boxes` (M, 4), `scores` and `labels` from 1, at most 100; in evaluation mode."""
        return self(images, sizes)[0]  # type: ignore[no-any-return]

    def forward(
        self, images: Tensor, sizes: list[tuple[int, int]], truth: Wanted | None = None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections, and losses; see `FasterRCNN.forward`."""
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            maps = self.pyramid(self._network.feature_maps(images))
            return self.head(images, sizes, [each.float() for each in maps], truth)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Detector:
        """What is still stays in evaluation mode."""
        super().train(mode)
        for part in self._still:
            part.eval()
        return self
