"""A network with a head that gives logits for each cell of a grid over the picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sslbench.heads.levels import Levels

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Network


class DenseNetwork(nn.Module):
    """A network of its own, what is taken of its maps, and a head.

    Args:
        network: to be trained; which of its parameters are says `requires_grad`.
        levels: takes the head's maps from the network's.
        head: gives logits (B, K, h, w) of these, at the finest one's size.
        still: modules of the network that stay in evaluation mode.
        frozen: whether no parameter of the network is trained, so that it needs no gradients.
        bfloat16: whether all of it computes in bfloat16; the logits are float32 in any case.
    """

    def __init__(
        self, network: Network, levels: Levels, head: nn.Module, *, still: Iterable[nn.Module] = (), frozen: bool = False,
        bfloat16: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self._network, self._still, self._frozen, self._bfloat16 = network, list(still), frozen, bfloat16
        self.body = network.module
        device = next(self.body.parameters()).device
        # As the network's maps lie in memory.
        self.levels = levels.to(device).to(memory_format=torch.channels_last)
        self.head = head.to(device).to(memory_format=torch.channels_last)

    @property
    def divisor(self) -> int:
        """What height and width of a picture have to be multiples of."""
        return self.levels.divisor

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the logits of pictures of a height and width."""
        high, wide = (round(side / stride) for side, stride in zip(shape, self.levels.strides[0], strict=True))
        return high, wide

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 (B, K, h, w) of normalised pictures (B, 3, H, W)."""
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
                maps = self._network.feature_maps(images)
            logits: Tensor = self.head(self.levels(maps))
        return logits.float()

    def train(self, mode: bool = True) -> DenseNetwork:
        """What is still stays in evaluation mode."""
        super().train(mode)
        for part in self._still:
            part.eval()
        return self

    def learned(self) -> dict[str, Tensor]:
        """By name all that a training changes: trained parameters, and the buffers of what is not still."""
        still = {id(part) for part in self._still}
        found: dict[str, Tensor] = {name: each for name, each in self.named_parameters() if each.requires_grad}
        for path, part in self.named_modules():
            if id(part) not in still:
                for name, value in part.named_buffers(path, recurse=False):
                    found[name] = value
        return found
