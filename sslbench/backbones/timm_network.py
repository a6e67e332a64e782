"""Networks that follow timm's interface."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sslbench.backbones.backbone import Network
from sslbench.backbones.pooling import check_pooling, pool_map, pool_tokens
from sslbench.errors import BackboneError


class TimmNetwork(Network):
    """A timm model built with `num_classes=0`.

    `model` pooling is the model's own head without the classifier (global average for CNNs, class token or mean with
    its own norm for ViTs).
    """

    def __init__(self, module: nn.Module, pooling: str = "model") -> None:
        self.module = module
        self.pooling = check_pooling(pooling)
        self._timm: Any = module
        self._prefix: int = getattr(module, "num_prefix_tokens", 0)
        # Prefix tokens may be registers only.
        self._class_token: bool = self._prefix > 0 and getattr(module, "cls_token", module) is not None

    def embed(self, images: Tensor) -> Tensor:
        """(B, D)."""
        if self.pooling.startswith("last-"):
            return self._last(images, int(self.pooling.removeprefix("last-")))
        features = self._timm.forward_features(images)
        if self.pooling == "model":
            embeddings: Tensor = self._timm.forward_head(features, pre_logits=True)
            return embeddings.flatten(1)
        if features.ndim == 3:
            if "cls" in self.pooling and not self._class_token:
                raise BackboneError(
                    f"pooling {self.pooling!r} needs a class token, which this network does not have; use avg"
                )
            return pool_tokens(features, self._prefix, self.pooling)
        if getattr(self._timm, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        return pool_map(features, self.pooling)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """CNNs: the last map at each stride of 4, 8, 16, 32. ViTs: four patch grids, evenly spaced in depth."""
        strides = [info["reduction"] for info in self._timm.feature_info]
        if len(set(strides)) == 1:
            depth = len(strides)
            indices = sorted({depth * quarter // 4 - 1 for quarter in range(1, 5)} - {-1})
        else:
            last = {stride: index for index, stride in enumerate(strides)}
            indices = [last[stride] for stride in sorted(last) if stride >= 4]
        return self._intermediates(images, indices)

    def _intermediates(self, images: Tensor, indices: list[int] | int, **options: Any) -> list[Any]:
        if not hasattr(self._timm, "forward_intermediates"):
            raise BackboneError(f"timm's {type(self._timm).__name__} gives no intermediate features")
        depth = len(self._timm.feature_info)
        if isinstance(indices, int) and indices > depth:
            raise BackboneError(
                f"pooling last-{indices} asked for, but {type(self._timm).__name__} has {depth} blocks or stages"
            )
        return list(self._timm.forward_intermediates(images, indices=indices, intermediates_only=True, **options))

    def _last(self, images: Tensor, blocks: int) -> Tensor:
        if self._class_token:
            outputs = self._intermediates(images, blocks, return_prefix_tokens=True, norm=True)
            return torch.cat([prefix[:, 0] for _, prefix in outputs], dim=1)
        return torch.cat([output.mean(dim=(2, 3)) for output in self._intermediates(images, blocks)], dim=1)
