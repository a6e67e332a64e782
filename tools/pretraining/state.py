"""The state of an interrupted training: one file, which goes on only with what it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretraining.photographs import Photographs
from pretraining.recipes import Budget, Recipe
from sslbench.backbones.checkpoint import read_torch
from sslbench.errors import BackboneError, SslbenchError

PARTS = {"begun_with", "tensors", "optimiser", "log"}


def begun_with(name: str, recipe: Recipe, budget: Budget, data: Photographs) -> dict[str, Any]:
    """Everything that the result of a training depends on besides the code, as plain data."""
    digest = hashlib.sha256()
    for tensor in (data.images, data.targets):
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return {
        "recipe": name,
        "objective": recipe.objective.__name__,
        "views": asdict(recipe.views),
        "betas": list(recipe.betas),
        "budget": asdict(budget),
        "pictures": digest.hexdigest(),
    }


def read(path: Path, wanted: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The parts of a state on the CPU.

    wanted: `begun_with` of this training. tensors: what its objective holds, for names and shapes.
    Raises SslbenchError for a file that is no such state, and one that says what differs for another training's.
    """
    advice = "remove it to start again"
    try:
        state = read_torch(path)
    except BackboneError as error:
        raise SslbenchError(f"{path} is not the state of a training ({error.__cause__}); {advice}") from error
    if (
        not isinstance(state, dict)
        or state.keys() != PARTS
        or not all(isinstance(state[part], dict) for part in ("begun_with", "tensors", "optimiser"))
    ):
        raise SslbenchError(f"{path} is not the state of a training by this version; {advice}")
    found = state["begun_with"]
    differing = [
        f"{key} {found.get(key)!r}, not {wanted.get(key)!r}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differing:
        raise SslbenchError(f"{path} was begun with {'; '.join(differing)}. Go on with what it had, or {advice}")
    shapes = [{name: tuple(tensor.shape) for name, tensor in part.items()} for part in (state["tensors"], tensors)]
    if shapes[0] != shapes[1]:
        raise SslbenchError(f"{path} holds the tensors of another network; {advice}")
    return state


def write(path: Path, parts: Mapping[str, Any]) -> None:
    """Replace the state at once, so that an interrupt leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(dict(parts), temporary)
    temporary.replace(path)
