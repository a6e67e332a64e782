"""Running a user's network and leaving it as it was: attributes, buffers and random numbers."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# What fails in code meant for other inputs or another type of numbers.
UNSUITABLE = (
    ValueError, TypeError, RuntimeError, AttributeError, LookupError, AssertionError, ArithmeticError, ImportError, OSError,
)  # fmt: skip
_CONTAINERS = (dict, OrderedDict, list, set, deque)


@contextmanager
def undisturbed(module: nn.Module, *objects: object) -> Iterator[None]:
    """Evaluation mode without gradients, after which module and objects have the attributes they had.

    Put back are attributes, what lists, dicts and sets among them hold, buffers, and the state of the random number
    generators. What hooks write elsewhere stays.
    """
    owners = [*objects, *module.modules()]
    saved = [_save(vars(owner)) for owner in owners if hasattr(owner, "__dict__")]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    place = device_of(module)
    devices = [place] if place.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad(), torch.autocast(place.type, enabled=False):
            module.eval()
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for attributes, before, contents in saved:
            _restore(attributes, before, contents)
        with torch.inference_mode():
            # Tensors that were made in inference mode can be written in no other.
            for buffer, value in buffers:
                if not same(buffer, value):
                    buffer.copy_(value)


def device_of(module: nn.Module) -> torch.device:
    """Where the weights are; the CPU for a network without any."""
    return next((tensor.device for tensor in module.parameters()), torch.device("cpu"))


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one type have equal values; NaN equals NaN."""
    if one.shape != other.shape:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


_Saved = tuple[dict[str, Any], dict[str, Any], list[tuple[Any, Any]]]


def _save(attributes: dict[str, Any]) -> _Saved:
    contents = [(value, value.copy()) for value in attributes.values() if type(value) in _CONTAINERS]
    return attributes, dict(attributes), contents


def _restore(attributes: dict[str, Any], before: dict[str, Any], contents: list[tuple[Any, Any]]) -> None:
    for name in attributes.keys() - before.keys():
        del attributes[name]
    attributes.update(before)
    for container, content in contents:
        container.clear()
        if isinstance(container, list | deque):
            container.extend(content)
        else:
            container.update(content)
