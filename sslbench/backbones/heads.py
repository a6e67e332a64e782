"""Classifiers of networks that are given as modules: which layer gives class scores, and how it is taken off.

Names alone do not tell: a hidden layer may be called `fc`, and a classifier may lie in a container or in a wrapper. What
decides is a dry run: a layer with a classifier's name whose output is what the network gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslbench.backbones.dry_run import Call, DryRun, equal
from sslbench.errors import BackboneError

NAMES = frozenset((
    "fc", "head", "heads", "head_dist", "classifier", "classifiers", "classif", "last_linear", "logits", "cls_head",
    "classification_head",
))  # fmt: skip
TOP_LEVEL = ("fc", "head", "heads", "classifier")
_SCORES = (nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Sigmoid)

Retry = Callable[[], "DryRun | str"]


@dataclass(frozen=True)
class Head:
    """removed: names of the layers that were taken off, joined by commas. note: for the record, what stays and why."""

    removed: str = ""
    note: str = ""


def take_off_by_name(module: nn.Module) -> str:
    """Replace linear layers at the top level by the identity, by their names alone; returns the last such name."""
    removed = ""
    for name in TOP_LEVEL:
        if isinstance(getattr(module, name, None), nn.Linear):
            setattr(module, name, nn.Identity())
            removed = name
    return removed


def take_off(where: str, module: nn.Module, dry_run: DryRun, retry: Retry) -> Head:
    """Replace the classifier by the identity, so that the network gives what its last linear layer reads.

    retry: runs the network once more. Raises BackboneError when class scores would be taken for features: the network goes on
    computing with them, and not by a module that can be taken off too.
    """
    layers = [call for call in dry_run.calls if _widths(call.part) is not None]
    last = next((call for call in reversed(layers) if equal(call.gave, dry_run.output)), None)
    if last is None:
        return _behind(where, module, dry_run, layers, retry)
    if not _is_named(last.name):
        return _whole(module, dry_run, retry) or Head(note=f"{last.name} ({_shape(last)}) gives the output and stays")
    with_rest = _replaced(module, [last], retry)
    if with_rest is not None and equal(with_rest.output, last.given):
        return Head(last.name)
    _put_back(module, [last])
    return Head(note=f"{last.name} ({_shape(last)}) gives the output and could not be taken off")


def _behind(where: str, module: nn.Module, dry_run: DryRun, layers: list[Call], retry: Retry) -> Head:
    """A classifier whose scores are changed further: by a softmax, a mean of two heads, a pooling behind it."""
    width = dry_run.output.shape[1] if dry_run.output.ndim == 2 else -1
    suspects = [call for call in layers if _is_named(call.name) and (_widths(call.part) or (0, 0))[1] == width]
    if not suspects:
        return _whole(module, dry_run, retry) or Head()
    first = dry_run.calls.index(suspects[0])
    scores = [call for call in dry_run.calls[first:] if isinstance(call.part, _SCORES)]
    names = ", ".join(call.name for call in suspects)
    again = _replaced(module, [*suspects, *scores], retry)
    wanted = (_widths(suspects[0].part) or (0, 0))[0]
    fits = again is not None and again.output.ndim == 2 and again.output.shape[1] == wanted
    if fits and (scores or not _are_scores(dry_run.output, suspects)):
        return Head(names)
    _put_back(module, [*suspects, *scores])
    if _are_scores(dry_run.output, suspects):
        raise BackboneError(
            f"{where}: {names} gives class scores with which the network goes on computing (a softmax?), so that it cannot be "
            f"taken off. Return the features from forward(), or set {names} to nn.Identity() and leave the rest out"
        )
    return Head(note=f"{names} ({_shape(suspects[0])}) could not be taken off: the network does not run without it")


def _whole(module: nn.Module, dry_run: DryRun, retry: Retry) -> Head | None:
    """A head of a class of its own that takes features (B, D) and gives the output."""
    for call in dry_run.calls:
        own = [part for part in call.part.parameters() if part.numel()]
        if (
            not call.name
            or not own
            or call.name.rpartition(".")[2] not in NAMES
            or not equal(call.gave, dry_run.output)
        ):
            continue
        if call.given is not None and call.given.ndim == 2 and call.gave is not None:
            again = _replaced(module, [call], retry)
            if again is not None and equal(again.output, call.given):
                return Head(call.name)
            _put_back(module, [call])
        return Head(note=f"{call.name} ({type(call.part).__name__}) gives the output and could not be taken off")
    return None


def _are_scores(output: Tensor, suspects: list[Call]) -> bool:
    """Whether the output is a softmax, its logarithm, or a sigmoid of what the suspects gave."""
    outputs = output.detach().double()
    ones = torch.ones(len(outputs), dtype=torch.float64, device=outputs.device)
    shares = bool((outputs >= 0).all()) and torch.allclose(outputs.sum(1), ones, atol=1e-4)
    logarithms = torch.allclose(outputs.exp().sum(1), ones, atol=1e-4)
    given = [call.gave.double() for call in suspects if call.gave is not None and call.gave.shape == output.shape]
    return shares or logarithms or any(torch.allclose(outputs, gave.sigmoid(), atol=1e-5) for gave in given)


def _is_named(name: str) -> bool:
    return any(part in NAMES for part in name.split("."))


def _widths(part: nn.Module) -> tuple[int, int] | None:
    """(in, out) of a linear layer, quantised and hand-written ones included, or of a 1x1 convolution."""
    if isinstance(part, nn.Conv2d):
        return (part.in_channels, part.out_channels) if part.kernel_size == (1, 1) else None
    given, gave = getattr(part, "in_features", None), getattr(part, "out_features", None)
    if isinstance(given, int) and isinstance(gave, int) and type(part).__name__.endswith("Linear"):
        return given, gave
    return None


def _shape(call: Call) -> str:
    given, gave = _widths(call.part) or (0, 0)
    return f"{type(call.part).__name__}, {given} to {gave}"


def _replaced(module: nn.Module, calls: list[Call], retry: Retry) -> DryRun | None:
    for call in calls:
        _set(module, call.name, nn.Identity())
    again = retry()
    return again if isinstance(again, DryRun) else None


def _put_back(module: nn.Module, calls: list[Call]) -> None:
    for call in calls:
        _set(module, call.name, call.part)


def _set(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, part)
