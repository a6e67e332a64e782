"""SimCLR v1 and v2: TensorFlow checkpoints, and the two layouts into which others converted them for torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.backbones.checkpoint import read_torch
from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.backbones.checkpoints.resnet50 import COUNTER, STATISTICS, Weights, fit, layers
from sslbench.backbones.checkpoints.torch_file import open_container, read_torchvision, where
from sslbench.sources import Source

if TYPE_CHECKING:
    from torch import Tensor

    from sslbench.backbones.checkpoints.tensor_bundle import TensorBundle

_HUB = "https://huggingface.co"
_V1 = "https://storage.googleapis.com/simclr-gcs/checkpoints/ResNet50_1x.zip"
_V2 = "https://storage.googleapis.com/simclr-checkpoints/simclrv2/pretrained/r50_1x_sk0"
_READER = "sslbench.backbones.checkpoints.simclr:read"
# Of the bundle (heads, optimiser, moving average) and of the converted files (classifier).
_DROP = ("head_supervised/*", "head_contrastive/*", "*/Momentum", "ema_model/*", "global_step", "fc.weight", "fc.bias")

SIMCLR_V1 = CheckpointSpec(
    name="simclr-v1",
    sources=(
        Source(
            "ResNet50_1x.zip",
            (_V1,),
            manual="log in with a Google account at https://storage.cloud.google.com/simclr-gcs/checkpoints/ResNet50_1x.zip",
        ),
    ),
    alternatives=(
        Source("resnet50-1x.pth", (f"{_HUB}/lightly-ai/simclrv1-imagenet1k-resnet50-1x/resolve/main/resnet50-1x.pth",)),
    ),
    reader=_READER,
    page="https://github.com/google-research/simclr",
    licence="Apache-2.0",
    citation="Chen et al. 2020, arXiv 2002.05709",
    epochs=1000,
    containers=("state_dict", "resnet"),
    drop=_DROP,
    preprocessing="paper-nonorm",
    same_padding="pool",
)
SIMCLR_V2 = CheckpointSpec(
    name="simclr-v2",
    sources=tuple(
        Source(f"model.ckpt-250228.{part}", (f"{_V2}/model.ckpt-250228.{part}",))
        for part in ("index", "data-00000-of-00001")
    ),
    alternatives=(
        Source(
            "r50_1x_sk0.pth",
            tuple(
                f"{_HUB}/{owner}/simclrv2-imagenet1k-r50_1x_sk0/resolve/main/r50_1x_sk0.pth"
                for owner in ("SauravMaheshkar", "lightly-ai")
            ),
        ),
    ),
    reader=_READER,
    page="https://github.com/google-research/simclr",
    licence="Apache-2.0",
    citation="Chen et al. 2020, arXiv 2006.10029",
    epochs=800,
    containers=("state_dict", "resnet"),
    drop=_DROP,
    preprocessing="paper-nonorm",
    same_padding="pool",
)

SPECS = (SIMCLR_V1, SIMCLR_V2)

_VARIABLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def read(path: Path, spec: CheckpointSpec) -> Weights:
    """The backbone of a tensor bundle (files, folder or zip) or of a converted torch file."""
    from sslbench.backbones.checkpoints.bundle_files import open_bundle

    bundle = open_bundle(path, where(path, spec))
    if bundle is not None:
        return _read_bundle(bundle, path, spec)
    state = open_container(read_torch(path), path, spec)
    if any(key.startswith("net.") for key in state):
        return _read_nested(state, path, spec)
    return read_torchvision(state, path, spec)


def variable_names() -> dict[str, str]:
    """torchvision's name of each of TensorFlow's 265 variables: layers are numbered as the graph was built."""
    names = {}
    for number, layer in enumerate(layers()):
        suffix = f"_{number}" if number else ""
        names[f"base_model/conv2d{suffix}/kernel"] = f"{layer.convolution}.weight"
        for variable, what in _VARIABLES.items():
            names[f"base_model/batch_normalization{suffix}/{variable}"] = f"{layer.norm}.{what}"
    return names


def _read_bundle(bundle: TensorBundle, path: Path, spec: CheckpointSpec) -> Weights:
    import torch

    def tensor(name: str) -> Tensor:
        # A copy: the bundle may be a read-only map of the file.
        values = torch.from_numpy(bundle.read(name).copy())
        # HWIO to OIHW.
        return values.permute(3, 2, 0, 1) if values.ndim == 4 else values

    return fit(bundle.entries, tensor, rename=variable_names().get, drop=spec.drop, where=where(path, spec))


def nested_names() -> dict[str, str]:
    """torchvision's name of each tensor in the converter's layout that numbers the parts of nested blocks."""
    names = {}
    for layer in layers():
        block = re.fullmatch(r"layer(\d)\.(\d+)\.(?:downsample\.0|conv(\d))", layer.convolution)
        if block is None:
            convolution, norm = "net.0.0", "net.0.1.0"
        elif block[3] is None:
            shortcut = f"net.{block[1]}.blocks.{block[2]}.projection"
            convolution, norm = f"{shortcut}.shortcut", f"{shortcut}.bn.0"
        else:
            parts, number = f"net.{block[1]}.blocks.{block[2]}.net", 2 * int(block[3])
            convolution, norm = f"{parts}.{number - 2}", f"{parts}.{number - 1}.0"
        names[f"{convolution}.weight"] = f"{layer.convolution}.weight"
        names |= {f"{norm}.{what}": f"{layer.norm}.{what}" for what in (*STATISTICS, COUNTER)}
    return names


def _read_nested(state: Mapping[str, Any], path: Path, spec: CheckpointSpec) -> Weights:
    return fit(state, state.__getitem__, rename=nested_names().get, drop=spec.drop, where=where(path, spec))
