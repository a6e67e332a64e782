"""ResNet-50 as torchvision names it, and the rule that a checkpoint must give exactly its tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sslbench.backbones.checkpoint import misfits
from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS = (3, 4, 6, 3)
WIDTH = 64
STATISTICS = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Layer:
    """A convolution (shape OIHW) and the BatchNorm behind it."""

    convolution: str
    norm: str
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Weights:
    """The 318 tensors under torchvision's names, and the keys of the file that were left out on purpose."""

    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]


def layers() -> Iterator[Layer]:
    """The 53 layers in the order in which TensorFlow numbers them: a block's shortcut comes before its convolutions."""
    yield Layer("conv1", "bn1", (WIDTH, 3, 7, 7))
    channels = WIDTH
    for group, blocks in enumerate(BLOCKS):
        inner, outer = WIDTH << group, WIDTH << group + 2
        for block in range(blocks):
            name = f"layer{group + 1}.{block}"
            if block == 0:
                yield Layer(f"{name}.downsample.0", f"{name}.downsample.1", (outer, channels, 1, 1))
            shapes = (inner, channels, 1, 1), (inner, inner, 3, 3), (outer, inner, 1, 1)
            for number, shape in enumerate(shapes, 1):
                yield Layer(f"{name}.conv{number}", f"{name}.bn{number}", shape)
            channels = outer


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Shape by name of the 318 tensors; 265 without the counters."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers():
        shapes[f"{layer.convolution}.weight"] = layer.shape
        shapes |= {f"{layer.norm}.{what}": (layer.shape[0],) for what in STATISTICS}
        shapes[f"{layer.norm}.{COUNTER}"] = ()
    return shapes


def fit(
    keys: Collection[str],
    read: Callable[[str], Tensor],
    *,
    rename: Callable[[str], str | None],
    drop: Collection[str],
    where: str,
) -> Weights:
    """Consume every key that no glob of `drop` matches, and give every tensor of the network.

    read: the tensor of a key, in torch's layout. rename: torchvision's name of a key; None if the key has none. Counters
    are inserted as zeros when the file has none at all; no frozen BatchNorm reads them.
    Raises BackboneError that lists what is left over, missing or of another shape.
    """
    import torch

    wanted = tensor_shapes()
    dropped = tuple(sorted(key for key in keys if any(fnmatchcase(key, glob) for glob in drop)))
    given: dict[str, Tensor] = {}
    left = []
    for key in sorted(set(keys) - set(dropped)):
        name = rename(key)
        if name in wanted and name not in given:
            given[name] = read(key)
        else:
            left.append(key)
    counters = {name for name in wanted if name.endswith(COUNTER)}
    if not counters & given.keys():
        given |= {name: torch.zeros((), dtype=torch.int64) for name in counters}
    if problems := misfits(left, given, wanted):
        raise BackboneError(
            f"{where}: not the ResNet-50 that is expected. {problems}. Is it the file of another checkpoint? Weights that "
            "are not the published ones load as file:PATH?arch=resnet50&preprocessing=paper"
        )
    tensors = {}
    for name in wanted:
        tensor = given[name].detach().to(torch.int64 if name in counters else torch.float32)
        # Tensors of a file may share memory, and safetensors stores none that do.
        tensors[name] = tensor.clone(memory_format=torch.contiguous_format)
    return Weights(tensors, dropped)
