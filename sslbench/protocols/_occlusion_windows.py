"""How far a network's features move when a window of its picture is covered, for every window."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from sslbench.errors import FeatureError
from sslbench.protocols._occlusion_options import Windows


def covered(picture: Tensor, tops: Tensor, lefts: Tensor, side: int, fill: Tensor) -> Tensor:
    """Copies of one picture, each with a square of one colour: (B, 3, H, W), channels last.

    picture: (3, H, W). tops, lefts: int64 (B,) of the squares' upper left corners. fill: (3,).
    """
    down, across = (
        (starts[:, None] <= pixel) & (pixel < starts[:, None] + side)
        for starts, pixel in (
            (tops, torch.arange(picture.shape[1], device=picture.device)),
            (lefts, torch.arange(picture.shape[2], device=picture.device)),
        )
    )
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    return torch.where(inside, fill.view(3, 1, 1), picture).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def relative_distances(
    embed: Callable[[Tensor], Tensor],
    picture: Tensor,
    windows: Windows,
    fill: Tensor,
    *,
    batch: int,
    centred: bool = False,
    between: Callable[[], object] = lambda: None,
) -> npt.NDArray[np.float64]:
    """||f - f'|| / ||f|| for the features f of a picture and f' of the covered one: (P, Q), one for each window.

    embed: (B, D) from normalised pictures (B, 3, H, W). picture: normalised (3, H, W), on the device. fill: (3,), what a window
    is covered with. batch: pictures at once. centred: divide by ||f - mean f||, as in a root relative squared error. between:
    called before each batch. Raises FeatureError for features that are not finite, or that nothing can be measured against.
    """
    device = picture.device
    tops, lefts = (torch.tensor(starts, device=device) for starts in (windows.tops, windows.lefts))
    corners = torch.cartesian_prod(tops, lefts)
    # A window beside the picture covers nothing: the clean picture goes through the same batch, with the same rounding.
    corners = torch.cat([corners.new_full((1, 2), -windows.side), corners])
    clean = picture.new_empty(0)
    moved = torch.empty(len(corners), dtype=torch.float64, device=device)
    for start in range(0, len(corners), batch):
        between()
        some = corners[start : start + batch]
        features = embed(covered(picture, some[:, 0], some[:, 1], windows.side, fill)).float()
        if not start:
            clean = features[0]
        moved[start : start + batch] = torch.linalg.vector_norm(features - clean, dim=1, dtype=torch.float64)
    norm = torch.linalg.vector_norm(clean - clean.mean() * centred, dtype=torch.float64)
    found: npt.NDArray[np.float64] = (moved[1:] / norm).cpu().numpy()
    if not np.isfinite(found).all():
        raise FeatureError(
            "expected finite features that are not all zero (or, with centring, all equal), got others; check checkpoint and "
            "preprocessing"
        )
    return found.reshape(len(windows.tops), len(windows.lefts))


def progress(title: str, total: int) -> tqdm[None]:
    """A bar of windows, on a terminal alone."""
    return tqdm(total=total, desc=title, unit="window", leave=False, disable=not sys.stderr.isatty())
