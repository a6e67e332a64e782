"""Digest of weights: what the network is, whatever file it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def weights_digest(module: nn.Module, recipe: str) -> str:
    """`tensors_digest` of the state dict."""
    return tensors_digest(module.state_dict(), recipe)


def tensors_digest(tensors: Mapping[str, Tensor], recipe: str) -> str:
    """SHA-256 (first 16 hex digits) over `recipe` and every tensor: name, dtype, shape and bytes.

    recipe: what the weights alone do not tell, such as the architecture's name.
    """
    import torch

    digest = hashlib.sha256(recipe.encode())
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()[:16]
