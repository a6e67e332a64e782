"""The one Backbone type: a frozen network with its own preprocessing, pooled embeddings and feature maps."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sslbench.backbones.copying import independent_copy
from sslbench.backbones.identity import Described, FromCode, Seen, identity
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.backbones.undisturbed import UNSUITABLE, device_of
from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from PIL.Image import Image


# Where the networks are of which a recipe can tell everything.
_DESCRIBED = ("sslbench.backbones.timm_network", "sslbench.backbones.controls")


class Network(ABC):
    """How one family of networks gives embeddings and maps; `module` holds every weight."""

    module: nn.Module

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """(B, D) from normalised images (B, 3, H, W)."""

    @abstractmethod
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, H, W), fine to coarse."""


@dataclass(frozen=True)
class Level:
    """One of the maps that a network gives. stride: pixels of the picture to one of the map's, as (height, width)."""

    channels: int
    stride: tuple[float, float]


@dataclass
class Backbone:
    """A pretrained network and its own preprocessing, frozen; `load_backbone` makes one.

    Attributes:
        name: As the user gave it.
        network: The network: its weights, how it embeds pictures and which maps it gives.
        preprocessing: How a picture becomes what the network takes.
        recipe: What defines the computation beside the weights.
        pooling: One of `sslbench.backbones.pooling.POOLINGS`.
        details: Facts for the record: where the weights came from, tensors dropped on purpose, and so on.
        from_code: Whether the recipe does not tell the whole computation, so that code, settings and outputs of the network are
            part of its digest too; so they are whatever this says unless the network is of this package's own make.
    """

    name: str
    network: Network
    preprocessing: Preprocessing
    recipe: str
    pooling: str = "model"
    details: Mapping[str, Any] = field(default_factory=dict)
    from_code: bool = True

    def __post_init__(self) -> None:
        self.network.module.eval()
        for parameter in self.network.module.parameters():
            # Not all at once by the module: scripted ones refuse.
            parameter.requires_grad_(False)
        # From now on changes by hand count.
        self._identity()

    def look(self) -> Seen:
        """Which network it is now, after whatever was changed in place: weights, attributes, hooks, code.

        A look costs a checksum of the weights, 30 ms of CPU for a ResNet-50. After a change the weights are hashed again, and
        a network `from_code` is run on two fixed pictures, twice in float64.
        """
        return self._identity().look(self.network, self.recipe, self.preprocessing.input_size)

    def _identity(self) -> Described | FromCode:
        # Somebody may have put a network of another kind into a backbone that has a recipe.
        described = type(self.network).__module__ in _DESCRIBED
        return identity(self.network, from_code=self.from_code or not described)

    @property
    def digest(self) -> str:
        """Digest of the weights and of what defines the computation beside them, by a `look`."""
        return self.look().digest

    def require(self, digest: str) -> None:
        """Look once more. Raises BackboneError when the network is another one than that of the digest."""
        if self.digest != digest:
            raise BackboneError(
                f"{self.name}: the network was changed after its case had been prepared; prepare the case again"
            )

    def seeing(self, preprocessing: Preprocessing) -> Backbone:
        """The same network behind another preprocessing; the weights are shared."""
        return replace(self, preprocessing=preprocessing)

    def trainable(self) -> Network:
        """An independent network with the same weights, to be trained: nothing that happens to it reaches this one.

        It lies where this one does, in training mode, and all its parameters take gradients. Raises BackboneError for a network
        that has none or cannot be copied.
        """
        if not self.params:
            raise BackboneError(f"{self.name} has no parameters to train; use random-init as the control")
        module = self.network.module
        own = independent_copy(module, self.name)
        # The network may know its module by several names.
        network: Network = copy.deepcopy(self.network, {id(module): own})
        for parameter in own.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        own.train()
        return network

    def levels(self) -> tuple[Level, ...]:
        """Channels and strides of its feature maps, fine to coarse, from one pass over an empty picture of its own size.

        Raises BackboneError for a network that gives no maps.
        """
        height, width = self.preprocessing.input_size
        try:
            maps: Any = self.feature_maps(torch.zeros(1, 3, height, width, device=self.device))
        except UNSUITABLE as error:
            told = next(iter(str(error).splitlines()), "")
            raise BackboneError(
                f"{self.name}: it gives no maps of pictures of its own size, {height} x {width} "
                f"({type(error).__name__}: {told}); choose a size that it takes (?size=N)"
            ) from error
        if (
            not isinstance(maps, list | tuple)
            or not all(isinstance(m, Tensor) and m.ndim == 4 for m in maps)
            or not maps
        ):
            got = [tuple(m.shape) if isinstance(m, Tensor) else type(m).__name__ for m in maps or ()]
            raise BackboneError(f"{self.name}: expected feature maps (B, C, H, W), fine to coarse, got {got or maps!r}")
        return tuple(Level(m.shape[1], (height / m.shape[2], width / m.shape[3])) for m in maps)

    @property
    def params(self) -> int:
        """Number of parameters, buffers not counted."""
        return sum(parameter.numel() for parameter in self.network.module.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a network without any."""
        return device_of(self.network.module)

    def to(self, device: str | torch.device) -> Backbone:
        """Move the weights; returns self."""
        self.network.module.to(device)
        return self

    def preprocess(self, images: npt.NDArray[np.uint8] | Sequence[Image]) -> Tensor:
        """Normalised float32 (B, 3, H, W) on the CPU from uint8 (B, h, w, 3) or RGB PIL pictures."""
        return self.preprocessing.normalise(torch.from_numpy(np.array(self.preprocessing.pixels(images))))

    @torch.no_grad()
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

    @torch.no_grad()
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, H, W): strides 4 to 32 for convolutional networks, the patch grid four times for ViTs."""
        self.network.module.eval()
        return self.network.feature_maps(images)

    def to_json(self, seen: Seen | None = None) -> dict[str, Any]:
        """What a record says of the backbone. seen: an earlier look, if there was none since the features were made."""
        seen = seen or self.look()
        return {
            "name": self.name,
            "digest": seen.digest,
            "preprocessing": self.preprocessing.to_json(),
            "pooling": self.pooling,
            "params": self.params,
            "details": {**self.details, **({"identity": seen.note} if seen.note else {})},
        }
