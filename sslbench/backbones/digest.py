"""Digest of weights: what the network is, whatever file it came from; and a checksum quick enough to look again each time."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import google_crc32c

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn


def weights_digest(module: nn.Module, recipe: str) -> str:
    """`tensors_digest` of the state dict."""
    return tensors_digest(module.state_dict(), recipe)


def tensors_digest(tensors: Mapping[str, Tensor], recipe: str) -> str:
    """SHA-256 (first 16 hex digits) over `recipe` and every tensor: name, dtype, shape and bytes.

    recipe: what the weights alone do not tell, such as the architecture's name.
    """
    digest = hashlib.sha256(recipe.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(_bytes(_dense(tensor)).data)
    return digest.hexdigest()[:16]


def checksum(tensor: Tensor) -> str:
    """Dtype, shape, layout and CRC-32C of the bytes in the order in which they lie, without a copy: 25 ms for a ResNet-50.

    It changes with any element, however that was written. Another layout of the same values gives another text.
    """
    import torch

    tensor = tensor.detach().cpu()
    order, array = "", None
    # Most tensors are of this kind, and there are hundreds of them in a network, each of which costs every call below.
    if tensor.dtype == torch.float32 and tensor.layout == torch.strided and tensor.is_contiguous():
        array = tensor.numpy()
    else:
        dense = _dense(tensor)
        axes = sorted(range(dense.ndim), key=dense.stride, reverse=True)
        order, array = str(axes), _bytes(dense.permute(axes))
    # Where the library has no compiled part it is hundreds of times slower than zlib. Compiled it takes arrays alone, no views.
    crc: int = google_crc32c.extend(0, array) if google_crc32c.implementation == "c" else zlib.crc32(array.data)
    return f"{tensor.dtype}|{tuple(tensor.shape)}|{order}|{crc:08x}"


def _dense(tensor: Tensor) -> Tensor:
    import torch

    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.cpu().resolve_conj().resolve_neg()


def _bytes(dense: Tensor) -> npt.NDArray[np.uint8]:
    import torch

    flat = dense.contiguous().reshape(-1)
    found: Any = flat.view(torch.uint8).numpy() if flat.numel() else torch.empty(0, dtype=torch.uint8).numpy()
    return found  # type: ignore[no-any-return]
