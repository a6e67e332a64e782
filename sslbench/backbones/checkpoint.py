"""Checkpoint files into state dicts: torch zip, torch legacy and safetensors, executing nothing."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Where training scripts keep the weights, tried in this order (the study's own rule, ssl-transfer
# download_and_prepare_models.py).
_CONTAINERS = ("state_dict", "model", "resnet")

# What torch's readers raise for files that are cut short or altered.
_UNREADABLE = (
    pickle.UnpicklingError, struct.error, RuntimeError, EOFError, ValueError, LookupError, AssertionError, TypeError,
    AttributeError,
)  # fmt: skip


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file.

    Torch files are read with `weights_only=True`, so a file cannot run code. Raises BackboneError for a missing file
    or one that holds no state dict.
    """
    if not path.is_file():
        raise BackboneError(f"there is no checkpoint file {path.absolute()}")
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise BackboneError(f"{path}: damaged safetensors file ({error}); fetch it again") from error
    return _tensors(read_torch(path), path)


def read_torch(path: Path) -> Any:
    """Whatever a torch file holds (zip or legacy pickle), read with `weights_only=True`. Raises BackboneError."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise BackboneError(
            f"{path}: not a checkpoint that can be read safely (safetensors, or torch with weights_only=True): {error}. "
            "If it is cut short, fetch it again"
        ) from error


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    import torch

    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise BackboneError(f"{path}: expected a state dict, got {type(content).__name__}")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise BackboneError(f"{path}: expected a state dict, found no tensor under {sorted(map(str, content))[:8]}")
    return tensors


def load_weights(
    module: nn.Module, tensors: Mapping[str, Tensor], *, prefix: str, drop: list[str], where: str
) -> list[str]:
    """Load every tensor into `module` and return the names dropped on purpose.

    prefix: stripped from the keys. drop: globs of keys (before stripping) to leave out, such as heads and queues.
    Raises BackboneError that lists what was left over, missing or of another shape; nothing is loaded then.
    """
    import torch

    dropped = sorted(key for key in tensors if any(fnmatchcase(key, glob) for glob in drop))
    wanted = module.state_dict()
    given: dict[str, Tensor] = {}
    left = []
    for key in sorted(tensors.keys() - set(dropped)):
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and name in wanted:
            given[name] = tensors[key]
        else:
            left.append(key)
    # Checkpoints older than PyTorch 0.4.1 lack the counter, which no frozen BatchNorm reads.
    counters = {name: torch.zeros((), dtype=torch.int64) for name in wanted if name.endswith("num_batches_tracked")}
    given = {**counters, **given}
    if problems := misfits(left, given, {name: tuple(tensor.shape) for name, tensor in wanted.items()}):
        raise BackboneError(
            f"{where}: the checkpoint does not fit the network. {problems}. Check arch=, strip a prefix with "
            "prefix=..., leave tensors out on purpose with drop=GLOB|GLOB"
        )
    module.load_state_dict(given)
    return dropped


def misfits(left: list[str], given: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """What of `given` does not fit the shapes `wanted`, for an error; empty when everything does.

    left: keys of the file that nobody consumed.
    """
    shapes = [
        f"{name}: file {tuple(given[name].shape)}, network {wanted[name]}"
        for name in sorted(given.keys() & wanted.keys())
        if tuple(given[name].shape) != wanted[name]
    ]
    problems = (("left over", left), ("missing", sorted(wanted.keys() - given.keys())), ("of another shape", shapes))
    return "; ".join(
        f"{len(items)} {what}: {', '.join(items[:6])}{', ...' if len(items) > 6 else ''}"
        for what, items in problems
        if items
    )
