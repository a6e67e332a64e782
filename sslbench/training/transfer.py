"""What a step sends to its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, device


def sent(tensor: Tensor, place: device) -> Tensor:
    """A CPU's tensor on a device, without waiting there for what was begun before.

    Sent from memory that is not pinned, or made by `torch.tensor(..., device=...)`, it makes the CPU wait until a GPU has
    done the step before; the GPU then stands idle until the next one's kernels come.
    """
    return tensor.pin_memory().to(place, non_blocking=True) if place.type == "cuda" else tensor.to(place)
