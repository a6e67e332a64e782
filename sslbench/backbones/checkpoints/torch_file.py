"""Checkpoints in torch's own files (zip or legacy pickle): open the container, strip the prefix, drop the heads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.backbones.checkpoint import read_torch
from sslbench.backbones.checkpoints.resnet50 import Weights, fit
from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from sslbench.backbones.checkpoints.declaration import CheckpointSpec


def read(path: Path, spec: CheckpointSpec) -> Weights:
    """The backbone of a file whose tensors bear torchvision's names behind `spec.prefix`."""
    return read_torchvision(open_container(read_torch(path), path, spec), path, spec)


def read_torchvision(state: Mapping[str, Any], path: Path, spec: CheckpointSpec) -> Weights:
    """The backbone of a state dict with torchvision's names behind `spec.prefix`."""

    def rename(key: str) -> str | None:
        return key.removeprefix(spec.prefix) if key.startswith(spec.prefix) else None

    return fit(state, state.__getitem__, rename=rename, drop=spec.drop, where=where(path, spec))


def open_container(content: Any, path: Path, spec: CheckpointSpec) -> Mapping[str, Any]:
    """The state dict below the first of `spec.containers` that is there, else the content itself."""
    import torch

    for key in spec.containers:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        found = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        expected = f", or one below {' or '.join(spec.containers)}" if spec.containers else ""
        raise BackboneError(f"{where(path, spec)}: expected a state dict{expected}; found {found}")
    return content


def where(path: Path, spec: CheckpointSpec) -> str:
    """How errors name a file that is read for a checkpoint."""
    return f"{spec.name}: {path}"
