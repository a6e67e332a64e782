"""Preprocessing: how a picture becomes the tensor a backbone was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.errors import BackboneError
from sslbench.studies import studies

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Of a picture between the resize and the crop: 200 MB, a shape of 1,300 to 1 at 224.
MOST_PIXELS = 1 << 26
_INTERPOLATIONS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop and normalise, in that order, on 8-bit RGB.

    Attributes:
        input_size: (H, W) in pixels.
        resize: The shorter side in pixels before the crop, or (H, W) to which the picture is stretched before the crop; None
            stretches it to `input_size`.
        interpolation: `nearest`, `lanczos`, `bilinear` or `bicubic`, antialiased as PIL does.
        mean: Of red, green and blue, in images in [0, 1].
        std: Likewise.
        bgr: Whether the network takes blue, green, red.

    Raises:
        BackboneError: For an unknown interpolation, and for a size that the resized picture does not reach.

    Example:
        >>> import sslbench
        >>> sslbench.Preprocessing(input_size=(224, 224), resize=256).resized(width=640, height=480)
        (341, 256)
    """

    input_size: tuple[int, int] = (224, 224)
    resize: int | tuple[int, int] | None = 224
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    bgr: bool = False

    def __post_init__(self) -> None:
        if self.interpolation not in _INTERPOLATIONS:
            raise BackboneError(f"unknown interpolation {self.interpolation!r}; known: {', '.join(_INTERPOLATIONS)}")
        if isinstance(self.resize, tuple):
            too_small = any(side < wanted for side, wanted in zip(self.resize, self.input_size, strict=True))
        else:
            too_small = self.resize is not None and self.resize < min(self.input_size)
        if min(self.input_size) < 1 or too_small:
            raise BackboneError(f"input_size {self.input_size} must be positive and at most resize {self.resize}")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON data, for cache keys and records."""
        facts = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if not self.bgr:
            # Keys of features and records are older than this setting.
            del facts["bgr"]
        return facts

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) before the crop. The longer side is `int(resize * long / short)`, as in torchvision."""
        if self.resize is None:
            return self.input_size[1], self.input_size[0]
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def too_long(self, width: int, height: int) -> str:
        """What is wrong with a picture that would take too much memory between the resize and the crop; empty for others."""
        resized_width, resized_height = self.resized(width, height)
        if resized_width * resized_height <= MOST_PIXELS:
            return ""
        return (
            f"its {width} x {height} pixels would become {resized_width} x {resized_height} before the crop, more than "
            f"{MOST_PIXELS:,}; cut it into pieces"
        )

    def _corner(self, width: int, height: int) -> tuple[int, int]:
        """(left, top) of the crop, `int(round(...))` as in torchvision."""
        return round((width - self.input_size[1]) / 2.0), round((height - self.input_size[0]) / 2.0)

    def geometry(self, image: Image) -> Image:
        """Resize and centre-crop one RGB picture."""
        from PIL.Image import Resampling

        height, width = self.input_size
        # PIL returns a copy when the size is that already.
        image = image.resize(self.resized(*image.size), Resampling(_INTERPOLATIONS[self.interpolation]))
        if image.size == (width, height):
            return image
        left, top = self._corner(*image.size)
        return image.crop((left, top, left + width, top + height))

    @property
    def on_tensors(self) -> bool:
        """Whether `tensor_geometry` comes within 2 levels of `geometry`.

        Not where the picture is stretched: recent Pillow may then begin with the other direction, and clipping between the
        two moves single pixels by 20 levels.
        """
        return self.interpolation in ("bilinear", "bicubic") and isinstance(self.resize, int)

    def tensor_geometry(self, picture: torch.Tensor) -> torch.Tensor:
        """The same on uint8 (3, h, w), for a geometry that is `on_tensors`: the weights are rounded otherwise."""
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        width, height = self.resized(picture.shape[2], picture.shape[1])
        if picture.shape[1:] != (height, width):
            picture = resize(picture, [height, width], InterpolationMode(self.interpolation), antialias=True)
        left, top = self._corner(width, height)
        return picture[:, top : top + self.input_size[0], left : left + self.input_size[1]]

    def pixels(self, images: npt.NDArray[np.uint8] | Sequence[Image]) -> npt.NDArray[np.uint8]:
        """uint8 (B, H, W, 3) at input_size from a uint8 array (B, h, w, 3) or RGB PIL pictures."""
        from PIL import Image as pil

        if isinstance(images, np.ndarray):
            if images.shape[1:3] == self.input_size and self.resize in (None, min(self.input_size)):
                return images
            images = [pil.fromarray(image) for image in images]
        return np.stack([np.asarray(self.geometry(image), dtype=np.uint8) for image in images])

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 (B, 3, H, W) from uint8 (B, H, W, 3), on the same device."""
        import torch

        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1)
        images = pixels.permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)
        return images.flip(1) if self.bgr else images


def presets() -> Mapping[str, Preprocessing]:
    """What studies showed their networks, by name."""
    return {name: Preprocessing(**vars(geometry)) for study in studies() for name, geometry in study.presets.items()}


def from_timm(config: Mapping[str, Any], size: int | tuple[int, int] | None = None) -> Preprocessing:
    """The preprocessing that a timm model declares (`timm.data.resolve_model_data_config`).

    size: another input size in pixels, or (H, W); the picture is then taken whole instead of cropped.
    """
    height, width = config["input_size"][1:] if size is None else (size, size) if isinstance(size, int) else size
    mode = config.get("crop_mode", "center")
    if mode not in ("center", "squash") or (mode == "squash" and size is None and config["crop_pct"] != 1):
        raise BackboneError(
            f"timm crop_mode {mode!r} (crop_pct {config['crop_pct']}) is not supported; name a preset with "
            "?preprocessing=paper"
        )
    # A crop fraction belongs to the native size; small inputs are taken whole, since a 73-pixel resize of a 64-pixel
    # picture only blurs it.
    fraction = config["crop_pct"] if size is None else 1.0
    return Preprocessing(
        input_size=(height, width),
        resize=None if mode == "squash" else math.floor(min(height, width) / fraction),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
