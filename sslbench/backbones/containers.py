"""Which mapping in a training script's file is the network's state dict: student or teacher, weights or their average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

# Name of the file's own mapping, beside which others may lie.
TOP = "."
_DEPTH = 8


def choose(content: Any, path: Path, *, key: str = "", needed: int = 0) -> dict[str, Tensor]:
    """The tensors of the one state dict in a file, or of that which `key` names.

    key: keys that lead to it, joined by dots; `.` is the file's own mapping. needed: how many tensors the network has. A mapping
    of fewer than half as many is no network (a queue, the centre of a loss, a head), where another has enough.
    Raises BackboneError where there is none, or several and no `key`, with what there is.
    """
    found = dict(state_dicts(content))
    if not found:
        raise BackboneError(f"{path}: expected a state dict, {_described(content)}")
    if key:
        if key not in found:
            raise BackboneError(f"{path}: there is no state dict {key!r}; key= takes {_listed(found)}")
        return found[key]
    most = max(map(len, found.values()))
    networks = {place: tensors for place, tensors in found.items() if 2 * len(tensors) >= min(needed or most, most)}
    if len(networks) > 1:
        first = max(networks, key=lambda place: len(networks[place]))
        raise BackboneError(
            f"{path}: it holds {len(networks)} state dicts, {_listed(networks)}; say which one is meant, such as &key={first}"
        )
    return next(iter(networks.values()))


def state_dicts(content: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping from names to tensors, with the keys that lead to it, joined by dots."""
    yield from _below(content, "", 0, set())


def _below(content: Any, place: str, depth: int, seen: set[int]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    import torch

    if depth > _DEPTH or id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, Mapping):
        tensors = {
            key: value for key, value in content.items() if isinstance(value, torch.Tensor) and isinstance(key, str)
        }
        if tensors:
            yield place or TOP, tensors
        # States of optimisers are numbered.
        items = [(key, value) for key, value in content.items() if isinstance(key, str)]
    elif isinstance(content, list | tuple):
        items = [(str(number), value) for number, value in enumerate(content)]
    else:
        return
    for key, value in items:
        yield from _below(value, f"{place}.{key}" if place else key, depth + 1, seen)


def _listed(found: Mapping[str, Mapping[str, Any]]) -> str:
    shown = [f"{place} ({len(tensors)} tensors)" for place, tensors in found.items()]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"got {type(content).__name__}"
    # Objects that were read as data tell which class they were of.
    kinds = {str(key): getattr(value, "name", "") for key, value in content.items()}
    objects = [f"{key}: an object of {name}" for key, name in kinds.items() if isinstance(name, str) and name]
    whole = f" ({', '.join(objects[:3])}; save its state_dict() where its code is)" if objects else ""
    return f"found no tensor under {sorted(map(str, content))[:8]}{whole}"
