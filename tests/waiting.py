"""Where a step would wait for a GPU: seen on torch's `meta` device, which is not the CPU and holds no numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

META = torch.device("meta")
# What makes a tensor of something that lies on the CPU, and what looks at a tensor from there.
_MAKES = (torch.tensor, torch.as_tensor)
_LOOKS = (
    *(Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.nonzero, torch.nonzero),
    *(Tensor.__bool__, Tensor.__float__, Tensor.__int__, Tensor.__index__),
)


class Waits(TorchFunctionMode):
    """Keeps the names of the calls that would wait. The same call between tensors of the CPU waits for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        there = bool(args) and isinstance(args[0], Tensor) and args[0].device == META
        target = kwargs.get("device", args[1] if len(args) > 1 and isinstance(args[1], torch.device) else None)
        waits = (
            (func in _MAKES and str(target) == "meta")
            or (func in _LOOKS and there)
            or (func is Tensor.to and not there and str(target) == "meta" and not kwargs.get("non_blocking"))
            or (func in (Tensor.__getitem__, Tensor.__setitem__) and there and _by_list(args[1]))
            or (func is torch.repeat_interleave and there and "output_size" not in kwargs)
        )
        if waits:
            self.found.append(func.__name__)
        return func(*args, **kwargs)


def _by_list(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list) or (isinstance(part, Tensor) and part.device != META) for part in parts)


def sent(tensor: Tensor, place: torch.device) -> Tensor:
    """In place of `sslbench.training.transfer.sent`, which has to be what sends."""
    return tensor.to(place, non_blocking=True)
