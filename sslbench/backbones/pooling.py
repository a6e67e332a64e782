"""Pooling: one embedding a picture out of feature maps or tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sslbench.errors import BackboneError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

POOLINGS = ("model", "avg", "cls", "patch-mean", "cls+patch-mean", "last-N")


def check_pooling(pooling: str) -> str:
    """Return `pooling` or raise BackboneError with the known ones."""
    if pooling in POOLINGS[:-1] or re.fullmatch(r"last-[1-9]\d*", pooling):
        return pooling
    raise BackboneError(f"unknown pooling {pooling!r}; known: {', '.join(POOLINGS)} (N blocks or stages)")


def pool_tokens(tokens: Tensor, prefix: int, pooling: str) -> Tensor:
    """(B, D) from tokens (B, prefix + patches, C), the class token first.

    `avg` is `patch-mean` here. Raises BackboneError for `cls` on a network without a class token.
    """
    import torch

    if "cls" in pooling and not prefix:
        raise BackboneError(f"pooling {pooling!r} needs a class token, which this network does not have; use avg")
    mean = tokens[:, prefix:].mean(dim=1)
    if pooling == "cls":
        return tokens[:, 0]
    if pooling == "cls+patch-mean":
        return torch.cat([tokens[:, 0], mean], dim=1)
    return mean


def pool_map(features: torch.Tensor, pooling: str) -> Tensor:
    """(B, C) from a feature map (B, C, H, W): the spatial mean."""
    if "cls" in pooling:
        raise BackboneError(f"pooling {pooling!r} needs a class token, which a convolutional network does not have")
    return features.mean(dim=(2, 3))
