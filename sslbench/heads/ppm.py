"""The pyramid pooling head (Zhao et al. 2017, PSPNet), as CSAIL's semantic-segmentation-pytorch builds it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.errors import TrainingError

POOLS = (1, 2, 3, 6)
WIDTH, DROPOUT, MOMENTUM = 512, 0.1, 0.001
# What BatchNorm adds begins here, in the official code.
_FIRST_SHIFT = 1e-4


class PPMHead(nn.Module):
    """Logits from one map and what it is on average over 1, 2 x 2, 3 x 3 and 6 x 6 parts of the picture.

    Each average goes through a 1x1 convolution, BatchNorm and ReLU and is enlarged to the map; beside the map itself they go
    through a 3x3 convolution, BatchNorm, ReLU and dropout of whole channels, and a 1x1 convolution gives the logits.

    Args:
        channels: of the map.
        classes: of logits.
        width: of the convolutions.
        pools: parts of a side in each average.
        dropout: of channels.
        momentum: of BatchNorm's statistics, the part of a batch in them.

    Initial weights come from torch's global generator.
    """

    def __init__(
        self, channels: int, classes: int, *, width: int = WIDTH, pools: Sequence[int] = POOLS, dropout: float = DROPOUT,
        momentum: float = MOMENTUM,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pools = tuple(pools)
        self.branches = nn.ModuleList(conv_norm_relu(channels, width, 1, momentum) for _ in self.pools)
        self.fuse = conv_norm_relu(channels + len(self.pools) * width, width, 3, momentum)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)
        initialise(self)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes, h, w) of maps of which the last one, (B, channels, h, w), counts.

        Raises TrainingError in training for a single picture.
        """
        last = maps[-1]
        check_batch(self, last)
        parts = [last]
        for pool, branch in zip(self.pools, self.branches, strict=True):
            parts.append(enlarged(branch(F.adaptive_avg_pool2d(last, pool)), last))
        return self.classify(self.dropout(self.fuse(torch.cat(parts, dim=1))))  # type: ignore[no-any-return]


def conv_norm_relu(width: int, channels: int, kernel: int, momentum: float) -> nn.Sequential:
    """A convolution that keeps the map's size, without bias, then BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(width, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels, momentum=momentum),
        nn.ReLU(inplace=True),
    )


def initialise(head: nn.Module) -> None:
    """Convolutions by He et al. 2015 over their inputs, BatchNorm with weight 1 and bias 1e-4; biases as torch begins them."""
    for part in head.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.constant_(part.bias, _FIRST_SHIFT)


def enlarged(maps: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the height and width of another map."""
    return F.interpolate(maps, like.shape[2:], mode="bilinear", align_corners=False)


def check_batch(head: nn.Module, maps: Tensor) -> None:
    """Raise TrainingError in training for a single picture, of whose average over everything BatchNorm makes nothing."""
    if head.training and len(maps) < 2:
        raise TrainingError(
            "a pyramid pooling head was given one picture to train on; expected at least 2, since BatchNorm takes its "
            "statistics from one number of each picture there. Use a larger batch (batch=N)"
        )
