"""One pass of a network over two pictures, and what each of its parts took and gave: which one is the last, which normalises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from sslbench.backbones.fixed_outputs import fixed_pictures
from sslbench.backbones.undisturbed import UNSUITABLE, device_of, undisturbed
from sslbench.errors import BackboneError

# Neither features nor scores are larger; all maps of a large network at once would fill the memory.
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Call:
    """One call of a part. given: its first argument, and gave: its output, where that is a tensor and not a large one."""

    name: str
    part: nn.Module
    given: Tensor | None
    gave: Tensor | None


@dataclass(frozen=True)
class DryRun:
    """pictures: (2, 3, H, W). output: of the network. calls: of its parts, in the order in which they ended."""

    pictures: Tensor
    output: Tensor
    calls: tuple[Call, ...]


def try_out(name: str, module: nn.Module, size: tuple[int, int]) -> DryRun | str:
    """Run the network once and leave it as it was; if it does not run, why not.

    size: (H, W) in pixels. Raises BackboneError for an output that is no tensor.
    """
    names = {id(part): place for place, part in module.named_modules()}
    pictures = fixed_pictures(size).float().to(device_of(module))
    calls: list[Call] = []

    def kept(value: Any) -> Tensor | None:
        small = isinstance(value, Tensor) and value.numel() <= max(_LARGEST, pictures.numel())
        return value if small else None

    def note(part: nn.Module, given: Any, gave: Any) -> None:
        if id(part) in names:
            calls.append(Call(names[id(part)], part, kept(given[0]) if given else None, kept(gave)))

    handle = register_module_forward_hook(note)
    try:
        with undisturbed(module):
            output = module(pictures.clone())
    except UNSUITABLE as error:
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    finally:
        handle.remove()
    return DryRun(pictures, tensor_output(output, module, name), tuple(calls))


def tensor_output(output: Any, module: nn.Module, name: str = "") -> Tensor:
    """The output itself. Raises BackboneError unless it is a tensor."""
    if isinstance(output, Tensor):
        return output
    held = f" with {', '.join(map(str, list(output)[:6]))}" if isinstance(output, dict) else ""
    raise BackboneError(
        f"{f'{name}: ' if name else ''}expected a tensor from {type(module).__name__}, got {type(output).__name__}{held}; "
        "wrap it in a module that returns one"
    )


def equal(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors hold the same numbers, whatever their shapes; to 1e-5 of the largest."""
    if one is None or other is None or one.numel() != other.numel():
        return False
    one, other = one.detach().reshape(-1).double(), other.detach().reshape(-1).double()
    return bool(torch.allclose(one, other, rtol=0, atol=1e-5 * max(float(one.abs().max()), 1e-30), equal_nan=True))
