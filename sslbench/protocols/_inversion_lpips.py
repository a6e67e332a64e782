"""Perceptual distances (LPIPS, Zhang et al. 2018, arXiv 1801.03924) of reconstructions, where their networks are on this machine.

torchmetrics has the distances and their linear weights; the networks below them are torchvision's, which torch.hub would fetch by
itself. A case fetches nothing: a network that is not there leaves its distance out, and the record says what is missing.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sslbench.offline import offline

# By the name of the score: what torchmetrics calls the network, and torchvision its weights.
NETWORKS: dict[str, tuple[Literal["alex", "vgg", "squeeze"], str]] = {
    "lpips_alexnet": ("alex", "AlexNet_Weights"),
    "lpips_vgg": ("vgg", "VGG16_Weights"),
    "lpips_squeezenet": ("squeeze", "SqueezeNet1_1_Weights"),
}


def ready() -> list[str]:
    """The scores that can be had on this machine."""
    return [name for name in NETWORKS if _state(name) == "ready"]


def perceptual_distances(
    pictures: NDArray[Any], reconstructions: NDArray[Any], device: str
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Distances of each picture (N,) by the name of the score, and of each score whether it is there, or what to do for it.

    pictures, reconstructions: (N, H, W, 3) in levels of 0 to 255.
    """
    states = {name: _state(name) for name in NETWORKS}
    found = {
        name: _distances(name, pictures, reconstructions, device) for name, state in states.items() if state == "ready"
    }
    return found, states


def _state(name: str) -> str:
    if importlib.util.find_spec("torchmetrics") is None:
        return "manual: pip install 'sslbench[inversion]'"
    path, url = _file(NETWORKS[name][1])
    folder = "torch.hub's folder of checkpoints ($TORCH_HOME/hub/checkpoints, by default below ~/.cache/torch)"
    if not path.is_file():
        return f"manual: put {path.name} ({url}) into {folder}"
    about = path.stat()
    if not _published(path, about.st_size, about.st_mtime_ns):
        return f"manual: {path.name} in {folder} is not the published file; replace it ({url})"
    return "ready"


def _file(weights: str) -> tuple[Path, str]:
    """Where torch.hub keeps the weights of a network of torchvision's, and where they come from."""
    import torch
    import torchvision

    url = str(getattr(torchvision.models, weights).DEFAULT.url)
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2], url


@lru_cache(maxsize=16)
def _published(path: Path, size: int, changed: int) -> bool:
    """Whether a file is the one that its name is of, which ends in the beginning of its digest.

    size, changed: bytes and time of the last change, so that half a gigabyte is not read for every case.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2])


def _distances(name: str, pictures: NDArray[Any], reconstructions: NDArray[Any], device: str) -> NDArray[np.float64]:
    import torch
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    # Should the file vanish meanwhile, an error is better than a download.
    with offline():
        metric = LearnedPerceptualImagePatchSimilarity(NETWORKS[name][0], normalize=True).to(device)
    values = []
    with torch.no_grad():
        for pair in zip(pictures, reconstructions, strict=True):
            one, other = (
                torch.from_numpy(np.ascontiguousarray(x)).to(device).float().permute(2, 0, 1)[None] / 255 for x in pair
            )
            values.append(float(metric(one, other)))
    return np.array(values)
