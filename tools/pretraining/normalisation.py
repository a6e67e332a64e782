"""What the zoo's networks are shown: ImageNet's statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) from [0, 1]."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return (images - mean) / std
