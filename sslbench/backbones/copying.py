"""An independent copy of somebody's network: freezing, moving and taking the classifier off must not reach the original."""

from __future__ import annotations

import copy
import pickle
from types import CellType, FunctionType
from typing import Any

from torch import Tensor, nn

from sslbench.backbones.undisturbed import UNSUITABLE
from sslbench.errors import BackboneError

# What a network says of the pictures it wants.
SETTINGS = ("input_size", "mean", "std")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def independent_copy(module: nn.Module, name: str) -> nn.Module:
    """A deep copy. Raises BackboneError for what cannot be copied, such as a lock or an open file among the attributes."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in (*vars(part).values(), *part.buffers(recurse=False)):
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            for tensor in held:
                if isinstance(tensor, Tensor) and not tensor.is_leaf:
                    # Computed from weights, as torch.nn.utils.weight_norm does before each pass; torch copies leaves alone.
                    memo[id(tensor)] = tensor.detach().clone()
    try:
        copied = copy.deepcopy(module, memo)
    except (*UNSUITABLE, copy.Error, pickle.PicklingError) as error:
        raise BackboneError(
            f"{name}: the network cannot be copied ({type(error).__name__}: {next(iter(str(error).splitlines()), '')}), and "
            "yours is to stay as it is. Hand over how it is built instead: sslbench.register_backbone(NAME, FUNCTION), or the "
            "name python:MODULE:FUNCTION"
        ) from error
    for setting in SETTINGS:
        # Graphs of torch.fx leave behind what is not theirs.
        if setting in vars(module) and not hasattr(copied, setting):
            setattr(copied, setting, vars(module)[setting])
    for part in copied.modules():
        for attribute, value in vars(part).items():
            if isinstance(value, FunctionType):
                vars(part)[attribute] = _rebound(value, memo)
        for kind in _HOOKS:
            hooks: dict[int, Any] = getattr(part, kind)
            for number, hook in hooks.items():
                if isinstance(hook, FunctionType):
                    hooks[number] = _rebound(hook, memo)
    return copied


def _rebound(function: FunctionType, memo: dict[int, Any]) -> FunctionType:
    """The function with the copies in the place of the modules that it closes over or finds as globals.

    `copy` takes functions as they are: a `forward` put on an object would go on to run the original network.
    """

    def copied(value: Any) -> Any:
        return memo.get(id(value), value) if isinstance(value, nn.Module) else value

    cells = function.__closure__ or ()
    contents = [_content(cell) for cell in cells]
    names = {name for name in function.__code__.co_names if isinstance(function.__globals__.get(name), nn.Module)}
    found = {name: function.__globals__[name] for name in names}
    if all(copied(value) is value for value in (*contents, *found.values())):
        return function
    new = FunctionType(
        function.__code__,
        {**function.__globals__, **{name: copied(value) for name, value in found.items()}},
        function.__name__,
        function.__defaults__,
        tuple(
            cell if copied(value) is value else CellType(copied(value))
            for cell, value in zip(cells, contents, strict=True)
        ),
    )
    new.__kwdefaults__, new.__qualname__, new.__module__ = (
        function.__kwdefaults__, function.__qualname__, function.__module__,
    )  # fmt: skip
    return new


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Not assigned yet.
        return None
