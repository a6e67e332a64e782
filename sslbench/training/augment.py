"""Random views of a batch, computed at once on whatever device the batch is on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

# ITU-R 601 luma, which PIL and torchvision use for greyscale.
LUMA = (0.299, 0.587, 0.114)
# RGB to YIQ; hue is an angle in the plane of I and Q.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@dataclass(frozen=True)
class Views:
    """How a view is drawn: crop, flip and, for most self-supervised objectives, colour.

    size: side of the view in pixels. min_area: smallest part of the picture in a crop, as a fraction of its area;
    side ratios lie between 3/4 and 4/3. jitter: strength of brightness, contrast and saturation, a quarter of which is
    the greatest turn of the hue (a fraction of the circle), applied with probability 0.8. grey: probability of a
    greyscale view. SimCLR (Chen et al. 2020, appendix A) with strength 0.5 is jitter 0.4 and grey 0.2; like its own
    recipe for small pictures (appendix B.9), this one does not blur.
    """

    size: int
    min_area: float = 0.2
    jitter: float = 0.0
    grey: float = 0.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """One float32 view (B, 3, size, size) in [0, 1] of each uint8 picture (B, 3, H, W)."""
        views = _crops(images.float() / 255, self.size, self.min_area, generator)
        if self.jitter or self.grey:
            matrix, offset = self._colours(views, generator)
            views = torch.baddbmm(offset, matrix, views.flatten(2)).clamp_(0, 1).view_as(views)
        return views

    def _colours(self, views: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Brightness, contrast, saturation, hue and grey as one affine map of RGB: (B, 3, 3) and (B, 3, 1).

        torchvision clips after each step and turns the hue in HSV; here one matrix does it all and clips once, at a
        fraction of the time.
        """
        count, device = len(views), views.device

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, 1, 1, generator=generator, device=device)

        strength = self.jitter
        brightness, contrast, saturation = (uniform(1 - strength, 1 + strength) for _ in range(3))
        turn = uniform(-strength / 4, strength / 4)
        jittered, grey = uniform(0, 1) < 0.8, uniform(0, 1) < self.grey
        identity = torch.eye(3, device=device)
        luma = torch.tensor(LUMA, device=device).expand(3, 3)
        brightness, contrast, saturation, turn = (
            torch.where(jittered, value, neutral)
            for value, neutral in ((brightness, 1.0), (contrast, 1.0), (saturation, 1.0), (turn, 0.0))
        )
        saturate = torch.where(grey, luma, saturation * identity + (1 - saturation) * luma)
        matrix = _hue_turn(turn) @ saturate * (brightness * contrast)
        # Contrast pulls towards the picture's own mean grey, which neither hue nor saturation changes.
        mean = (views.mean(dim=(2, 3)) @ luma[0]).view(-1, 1, 1)
        return matrix, ((1 - contrast) * brightness * mean).expand(-1, 3, 1)


def _hue_turn(turn: Tensor) -> Tensor:
    """(B, 3, 3) from fractions of the colour circle (B, 1, 1)."""
    to_yiq = torch.tensor(_YIQ, device=turn.device)
    cos, sin = torch.cos(2 * math.pi * turn), torch.sin(2 * math.pi * turn)
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    rows = [torch.cat(row, dim=2) for row in ((one, zero, zero), (zero, cos, -sin), (zero, sin, cos))]
    matrix: Tensor = torch.linalg.inv(to_yiq) @ torch.cat(rows, dim=1) @ to_yiq
    return matrix


def _crops(images: Tensor, size: int, min_area: float, generator: Generator) -> Tensor:
    """Random resized crops, flipped half of the time, sampled bilinearly."""
    draw = torch.rand(5, len(images), generator=generator, device=images.device)
    area = min_area + (1 - min_area) * draw[0]
    ratio = torch.exp((draw[1] * 2 - 1) * math.log(4 / 3))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    flip = torch.where(draw[4] < 0.5, -1.0, 1.0)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 0, 2] = width * flip, (draw[2] * 2 - 1) * (1 - width)
    theta[:, 1, 1], theta[:, 1, 2] = height, (draw[3] * 2 - 1) * (1 - height)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
