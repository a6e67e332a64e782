"""Checkpoint files into state dicts, executing nothing in them, and state dicts into networks, every tensor consumed."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.backbones.checkpoints.file_kind import check_weights_file, is_safetensors
from sslbench.backbones.containers import choose
from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor, nn

# What torch's readers raise for files that are cut short or altered.
_UNREADABLE = (struct.error, RuntimeError, EOFError, ValueError, LookupError, AssertionError, TypeError, AttributeError)


def read_state_dict(path: Path, *, key: str = "", needed: int = 0) -> dict[str, Tensor]:
    """The tensors of a checkpoint file: safetensors, torch's zip or its former format.

    key: which of several state dicts, by the keys that lead to it, joined by dots. needed: how many tensors the network has, to
    tell state dicts from other mappings with tensors. A file cannot run code (`read_torch`). Raises BackboneError for a
    missing file, one that holds no state dict, or several of which `key` names none.
    """
    check_weights_file(path)
    with path.open("rb") as file:
        head = file.read(9)
    if is_safetensors(head):
        return choose(_read_safetensors(path), path, key=key, needed=needed)
    return choose(read_torch(path), path, key=key, needed=needed)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise BackboneError(
            f"{path}: a safetensors file that is damaged or cut short ({error}); fetch it again"
        ) from error


def read_torch(path: Path) -> Any:
    """Whatever a torch file holds (zip or former format), by torch's reader that runs no code.

    Where torch stops at an object of another class, such as a training script's arguments, the file is read as data
    (`read_torch_data`). Raises BackboneError.
    """
    import torch

    check_weights_file(path)
    try:
        with warnings.catch_warnings():
            # Torch warns of protocols that the second reader knows.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        from sslbench.backbones.checkpoints.torch_data import read_torch_data

        return read_torch_data(path)
    except (*_UNREADABLE, OSError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise BackboneError(
            f"{path}: not a checkpoint that can be read (safetensors, or a file of torch.save): {first}. If it is cut short, "
            "fetch it again"
        ) from error


def load_weights(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    prefix: str,
    drop: list[str],
    where: str,
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
    advice: str = "",
) -> list[str]:
    """Load every tensor into `module` and return the names dropped on purpose.

    prefix: stripped from the keys. drop: globs of keys (before stripping) to leave out, such as heads and queues. adapt: asked
    for tensors of the right shapes when some have another one and nothing else is wrong. advice: what to do if that fails.
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
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    problems = misfits(left, given, shapes)
    only_shapes = not left and given.keys() == shapes.keys()
    if problems and only_shapes and adapt is not None:
        adapted = adapt(given)
        if not misfits(sorted(adapted.keys() - shapes.keys()), adapted, shapes):
            given, problems = adapted, ""
    if problems:
        told = (advice or "Check arch= and size=") if only_shapes else _advice(left, wanted, prefix)
        raise BackboneError(f"{where}: the checkpoint does not fit the network. {problems}. {told}")
    module.load_state_dict(given)
    return dropped


def _advice(left: list[str], wanted: Collection[str], prefix: str) -> str:
    """What to do about tensors that do not fit. left: keys of the file that nobody consumed."""
    # One prefix before names of the network, if most of what is left over has it.
    before = Counter(key[: -len(name)] for key in left for name in wanted if key.endswith(name) and key != name)
    found, times = before.most_common(1)[0] if before else ("", 0)
    strip = f"prefix={found}" if found and found != prefix and 2 * times > len(wanted) else "prefix=..."
    return f"Check arch=, strip a prefix with {strip}, leave tensors out on purpose with drop=GLOB|GLOB"


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
