"""The one Backbone type: a frozen network with its own preprocessing, pooled embeddings and feature maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sslbench.backbones.digest import weights_digest
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from PIL.Image import Image


class Network(ABC):
    """How one family of networks gives embeddings and maps; `module` holds every weight."""

    module: nn.Module

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """(B, D) from normalised images (B, 3, H, W)."""

    @abstractmethod
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, H, W), fine to coarse."""


@dataclass
class Backbone:
    """A pretrained network and its own preprocessing, frozen.

    name: as the user gave it. pooling: one of `sslbench.backbones.pooling.POOLINGS`.
    details: facts for the record (where the weights came from, tensors dropped on purpose, ...).
    """

    name: str
    network: Network
    preprocessing: Preprocessing
    recipe: str
    pooling: str = "model"
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network.module.eval().requires_grad_(False)

    @cached_property
    def digest(self) -> str:
        """Digest of the weights and of what defines the computation beside them."""
        return weights_digest(self.network.module, self.recipe)

    def seeing(self, preprocessing: Preprocessing) -> Backbone:
        """The same network behind another preprocessing; the weights are shared."""
        other = replace(self, preprocessing=preprocessing)
        # The digest is of the weights alone, and hashing those of a large network takes a while.
        other.__dict__["digest"] = self.digest
        return other

    @property
    def params(self) -> int:
        """Number of parameters, buffers not counted."""
        return sum(parameter.numel() for parameter in self.network.module.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a network without any."""
        first = next(self.network.module.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    def to(self, device: str | torch.device) -> Backbone:
        """Move the weights; returns self."""
        self.network.module.to(device)
        return self

    def preprocess(self, images: npt.NDArray[np.uint8] | Sequence[Image]) -> Tensor:
        """Normalised float32 (B, 3, H, W) on the CPU from uint8 (B, h, w, 3) or RGB PIL pictures."""
        return self.preprocessing.normalise(torch.from_numpy(np.array(self.preprocessing.pixels(images))))

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """Pooled embeddings (B, D) from normalised images (B, 3, H, W).

        Raises BackboneError when the network gives anything but two dimensions.
        """
        # A caller may have put the shared module in training mode (fine-tuning); frozen means frozen.
        self.network.module.eval()
        embeddings = self.network.embed(images)
        if embeddings.ndim != 2 or len(embeddings) != len(images):
            raise BackboneError(
                f"{self.name}: expected embeddings ({len(images)}, D), got {tuple(embeddings.shape)}; "
                "return pooled features from the network or name a pooling"
            )
        return embeddings

    @torch.inference_mode()
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, H, W): strides 4 to 32 for convolutional networks, the patch grid four times for ViTs."""
        self.network.module.eval()
        return self.network.feature_maps(images)

    def to_json(self) -> dict[str, Any]:
        """What a record says of the backbone."""
        return {
            "name": self.name,
            "digest": self.digest,
            "preprocessing": self.preprocessing.to_json(),
            "pooling": self.pooling,
            "params": self.params,
            "details": dict(self.details),
        }
