"""UPerNet's head (Xiao et al. 2018), as CSAIL's semantic-segmentation-pytorch builds it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.heads.ppm import MOMENTUM, POOLS, WIDTH, check_batch, conv_norm_relu, enlarged, initialise


class UPerNetHead(nn.Module):
    """Logits from maps of several strides: pyramid pooling on the coarsest, a feature pyramid over the others, all of it fused.

    Averages of the coarsest map are enlarged before their convolution, so that their BatchNorm counts each part by its area.
    Otherwise than in `sslbench.heads.ppm.PPMHead` there is no dropout.

    Args:
        channels: of each map, fine to coarse.
        classes: of logits.
        width: of the convolutions.
        pools: parts of a side in each average.
        momentum: of BatchNorm's statistics.

    Initial weights come from torch's global generator.
    """

    def __init__(
        self, channels: Sequence[int], classes: int, *, width: int = WIDTH, pools: Sequence[int] = POOLS,
        momentum: float = MOMENTUM,
    ) -> None:  # fmt: skip
        super().__init__()
        *finer, coarsest = channels
        self.pools = tuple(pools)
        self.branches = nn.ModuleList(conv_norm_relu(coarsest, width, 1, momentum) for _ in self.pools)
        self.top = conv_norm_relu(coarsest + len(self.pools) * width, width, 3, momentum)
        self.laterals = nn.ModuleList(conv_norm_relu(each, width, 1, momentum) for each in finer)
        self.smooth = nn.ModuleList(conv_norm_relu(width, width, 3, momentum) for _ in finer)
        self.fuse = conv_norm_relu(len(channels) * width, width, 3, momentum)
        self.classify = nn.Conv2d(width, classes, 1)
        initialise(self)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes, h, w) at the finest map's size, of maps (B, C, h, w), fine to coarse.

        Raises TrainingError in training for a single picture.
        """
        *finer, coarsest = maps
        check_batch(self, coarsest)
        parts = [coarsest]
        for pool, branch in zip(self.pools, self.branches, strict=True):
            parts.append(branch(enlarged(F.adaptive_avg_pool2d(coarsest, pool), coarsest)))
        current = self.top(torch.cat(parts, dim=1))
        levels = [current]
        for lateral, smooth, each in reversed(list(zip(self.laterals, self.smooth, finer, strict=True))):
            current = lateral(each) + enlarged(current, each)
            levels.insert(0, smooth(current))
        fused = self.fuse(torch.cat([levels[0], *(enlarged(level, levels[0]) for level in levels[1:])], dim=1))
        return self.classify(fused)  # type: ignore[no-any-return]
