"""Backbones from modules: of a registered factory, of `python:` and `hub:`, or handed over in Python."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from sslbench.backbones.backbone import Backbone, Network
from sslbench.backbones.copying import SETTINGS
from sslbench.backbones.declared import declared, geometry, is_timm
from sslbench.backbones.dry_run import DryRun, try_out
from sslbench.backbones.heads import Head, take_off, take_off_by_name
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.options import Options
from sslbench.backbones.timm_network import TimmNetwork
from sslbench.errors import BackboneError


def wrap(name: str, built: Any, options: Options, *, recipe: str) -> Backbone:
    """A Backbone from what a factory returned: a Backbone, or an nn.Module.

    The module is changed: it is frozen, its weights become float32, and its classifier is taken off. Its attributes
    `input_size` (pixels, or (H, W)), `mean` and `std` set the preprocessing; the defaults are timm's for a network of
    timm's, else 224 and ImageNet's. Raises BackboneError for anything else.
    """
    if isinstance(built, Backbone):
        options.finish()
        return built
    if not isinstance(built, nn.Module):
        raise BackboneError(f"{name}: expected an nn.Module or a Backbone, got {type(built).__name__}")
    module, settings = unwrapped(built)
    for setting, value in settings.items():
        setattr(module, setting, value)
    _check_weights(name, module)
    details: dict[str, Any] = {"source": recipe, "removed_head": ""}
    if kinds := _widened(module):
        details["weights"] = f"{kinds}, run in float32"
    pooling, shape = options.pooling(), geometry(name, module, options)
    network: Network
    dry_run: DryRun | str | None = None
    if is_timm(module):
        network = TimmNetwork(module, pooling)
        details["removed_head"] = _reset(module)
    else:
        dry_run = try_out(name, module, shape.input_size)
        if kinds and isinstance(dry_run, str):
            raise BackboneError(
                f"{name}: its weights are {kinds}, and in float32 it does not run ({dry_run}); hand over network.float()"
            )
        head = _take_off(name, module, dry_run, shape.input_size)
        network = ModuleNetwork(module, pooling, head.removed)
        details["removed_head"] = head.removed
        if head.note:
            details["last_layer"] = head.note
    wanted = declared(name, module, shape, options, dry_run)
    if wanted.own:
        details["normalisation"] = f"the network's own, by {wanted.own}"
    return Backbone(
        name=name,
        network=network,
        preprocessing=wanted.preprocessing,
        recipe=f"{recipe}:{type(module).__name__}",
        pooling=pooling,
        details=details,
    )


def unwrapped(module: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
    """The network inside wrappers for training and compiling, and what those say of the pictures that it does not."""
    settings: dict[str, Any] = {}
    inner: Any = module
    while True:
        found = {setting: vars(inner)[setting] for setting in SETTINGS if setting in vars(inner)}
        settings = {**found, **settings}
        name, root = type(inner).__name__, type(inner).__module__.partition(".")[0]
        if name == "OptimizedModule" and root == "torch":
            inner = inner._orig_mod
        elif isinstance(inner, nn.DataParallel | DistributedDataParallel | AveragedModel) or (
            root == "timm" and name.startswith("ModelEma")
        ):
            inner = inner.module
        else:
            return inner, {setting: value for setting, value in settings.items() if setting not in vars(inner)}


def _take_off(name: str, module: nn.Module, dry_run: DryRun | str, size: tuple[int, int]) -> Head:
    if isinstance(module, torch.jit.ScriptModule):
        return Head(note="the network is scripted, so that nobody can look for a classifier in it")
    if isinstance(dry_run, str):
        return Head(take_off_by_name(module))
    return take_off(name, module, dry_run, lambda: try_out(name, module, size))


def _reset(module: Any) -> str:
    """Take timm's classifier off in timm's own way, as building it by name without classes does."""
    if not getattr(module, "num_classes", 0):
        return ""
    named: Any = module.pretrained_cfg.get("classifier") or ()
    module.reset_classifier(0)
    return ", ".join([named] if isinstance(named, str) else named)


def _check_weights(name: str, module: nn.Module) -> None:
    for place, tensor in (*module.named_parameters(), *module.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise BackboneError(
                f"{name}: {place} is not initialised yet, since a lazy layer learns its shape from the first pictures; run the "
                "network once before you hand it over"
            )
        if tensor.is_meta:
            raise BackboneError(f"{name}: {place} is on the meta device and has no values; load the weights first")


def _widened(module: nn.Module) -> str:
    """Turn weights of another type into float32; returns their types."""
    parameters = {tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()}
    found = parameters or {tensor.dtype for tensor in module.buffers() if tensor.is_floating_point()}
    kinds = sorted(str(kind).removeprefix("torch.") for kind in found - {torch.float32})
    if kinds:
        module.float()
    return " and ".join(kinds)
