"""What a network that is given as a module says of the pictures it wants: by its attributes, its own layers, or timm."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from sslbench.backbones.dry_run import DryRun, equal
from sslbench.backbones.normalisation import Triple, apply_options, check_statistics
from sslbench.backbones.options import Options
from sslbench.backbones.preprocessing import Preprocessing, from_timm, presets
from sslbench.errors import BackboneError
from sslbench.names import unknown

_NAMES = ("mean", "std")


@dataclass(frozen=True)
class Declared:
    """A module's preprocessing. own: the tensors by which the network normalises pictures itself, empty if it does not."""

    preprocessing: Preprocessing
    own: str = ""


def is_timm(module: nn.Module) -> bool:
    """Whether the module computes as timm wrote it, so that it has timm's interface in full."""
    if type(module).__module__.partition(".")[0] != "timm" or not isinstance(
        getattr(module, "pretrained_cfg", None), Mapping
    ):
        return False
    # `embed` goes past `__call__`, where the hooks of the whole network would run.
    changed = {"forward", "forward_features", "forward_head"} & vars(module).keys() or (
        module._forward_hooks or module._forward_pre_hooks
    )
    return not changed and all(
        hasattr(module, name) for name in ("forward_features", "forward_head", "reset_classifier")
    )


def geometry(name: str, module: nn.Module, options: Options) -> Preprocessing:
    """Size and crop, with timm's statistics for a network of timm's and ImageNet's for any other.

    Size comes from the options, the attribute `input_size`, timm's configuration, in this order; else 224.
    """
    preset = options.text("preprocessing")
    if preset and preset not in presets():
        raise unknown("preprocessing preset", preset, presets())
    if preset and "size" in options.values:
        raise BackboneError(f"{name}: the preset {preset!r} fixes the input size; give preprocessing or size, not both")
    if preset:
        return presets()[preset]
    size: tuple[int, int] | None = _pair(
        name, options.integer("size", 0, least=1) or getattr(module, "input_size", None)
    )
    known = _timm_part(module)
    if known is None:
        height, width = size or _built_size(name, module) or (224, 224)
        return Preprocessing(input_size=(height, width), resize=min(height, width))
    # Not at the top: a network of somebody else need not wait for timm.
    import timm.data

    data: Any = timm.data
    config = data.resolve_model_data_config(known)
    built = _built_size(name, known)
    if size is None and built is not None and built != tuple(config["input_size"][1:]):
        size = built
    return from_timm(config, size)


def declared(
    name: str, module: nn.Module, shape: Preprocessing, options: Options, dry_run: DryRun | str | None
) -> Declared:
    """The preprocessing with the statistics that the module or the options name.

    shape: from `geometry`. dry_run: of the module; None or a text where there was none. Plain attributes `mean` and `std` are
    to be applied. Tensors are those of a network that normalises by itself, and so are the statistics of a layer that
    takes the pictures: then nothing is applied. Raises BackboneError for numbers that cannot be meant.
    """
    if options.text("preprocessing"):
        return Declared(apply_options(shape, options))
    plain = {
        what: _triple(name, what, value)
        for what in _NAMES
        if (value := getattr(module, what, None)) is not None and not isinstance(value, Tensor) and not callable(value)
    }
    if plain:
        plain = {"mean": shape.mean, "std": shape.std, **plain}
        return Declared(apply_options(replace(shape, mean=plain["mean"], std=plain["std"]), options))
    own = next(_normalisers(module, dry_run), None)
    if own is None:
        return Declared(apply_options(shape, options))
    if not {"mean", "std"} & options.values.keys():
        for what, tensor in own.items():
            _check_own(name, what, tensor)
    return Declared(apply_options(replace(shape, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), options), ", ".join(own))


def _normalisers(module: nn.Module, dry_run: DryRun | str | None) -> Iterator[dict[str, Any]]:
    """Statistics by name, of the network itself first, then of layers that take the pictures."""
    if found := _tensors(module) or {what: value for what in _NAMES if (value := _tensor(module, what)) is not None}:
        yield found
    if isinstance(dry_run, DryRun):
        takers = [(call.name, call.part) for call in dry_run.calls if call.name and equal(call.given, dry_run.pictures)]
    else:
        takers = [(name, part) for name, part in module.named_modules() if name and _is_called_normaliser(part)]
    for name, part in takers:
        found = _tensors(part)
        if not found and _is_called_normaliser(part):
            found = {what: value for what in _NAMES if (value := _numbers(getattr(part, what, None))) is not None}
        if len(found) == 2:
            yield {f"{name}.{what}": value for what, value in found.items()}


def _is_called_normaliser(part: nn.Module) -> bool:
    # Plain numbers of another layer may be anything; those of torchvision's Normalize are applied by it.
    return "normali" in type(part).__name__.lower()


def _tensors(part: nn.Module) -> dict[str, Any]:
    """A pair of tensors of three numbers whose names differ in `mean` and `std` alone."""
    registered = [*part.named_buffers(recurse=False), *part.named_parameters(recurse=False)]
    for what in (*vars(part), *(name for name, _ in registered)):
        pair = {place: _tensor(part, place) for place in (what, what.replace("mean", "std"))}
        if "mean" in what and len(pair) == 2 and all(value is not None for value in pair.values()):
            return pair
    return {}


def _tensor(part: nn.Module, what: str) -> Any:
    value = getattr(part, what, None)
    return _numbers(value) if isinstance(value, Tensor) and (value.numel() == 3 or what in _NAMES) else None


def _numbers(value: Any) -> list[float] | None:
    """Three numbers, or one for all channels; None for anything else."""
    if value is None:
        return None
    try:
        flat = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=float).reshape(-1)
    except (TypeError, ValueError):
        return None
    return flat.tolist() * (3 // flat.size) if flat.size in (1, 3) else None


def _check_own(name: str, what: str, values: list[float]) -> None:
    try:
        check_statistics(name, what, values)
    except BackboneError as error:
        raise BackboneError(
            f"{name}: the network normalises by itself, with {what} {', '.join(f'{value:g}' for value in values)}, which are no "
            "statistics of pictures in [0, 1], which is what it gets. If it wants pictures in 0..255, wrap it in a module that "
            "multiplies by 255 first, or load it by a name with ?mean=0&std=0.00392157"
        ) from error


def _triple(name: str, what: str, value: Any) -> Triple:
    try:
        red, green, blue = (float(channel) for channel in value)
    except (TypeError, ValueError) as error:
        raise BackboneError(f"{name}: attribute {what} must hold three numbers, got {value!r}") from error
    return check_statistics(name, what, (red, green, blue))


def _pair(name: str, size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    try:
        if isinstance(size, Tensor | np.ndarray):
            size = size.tolist()
        sides = [operator.index(side) for side in (size if isinstance(size, tuple | list) else (size, size))]
        height, width = sides[-2:]
    except (TypeError, ValueError) as error:
        raise BackboneError(f"{name}: attribute input_size takes a number of pixels or (H, W), got {size!r}") from error
    if min(height, width) < 1:
        raise BackboneError(f"{name}: attribute input_size must be positive, got {size!r}")
    return height, width


def _built_size(name: str, module: nn.Module) -> tuple[int, int] | None:
    """The one size that a transformer of timm's or torchvision's make takes, which may not be that of its weights."""
    return _pair(name, getattr(getattr(module, "patch_embed", None), "img_size", getattr(module, "image_size", None)))


def _timm_part(module: nn.Module) -> Any:
    """The network itself, or the only one of timm's that it wraps; None without one."""
    found: list[nn.Module] = []
    for part in module.modules():
        if _of_timm(part) and isinstance(getattr(part, "pretrained_cfg", None), Mapping):
            found.append(part)
    return found[0] if len(found) == 1 or (found and found[0] is module) else None


def _of_timm(part: nn.Module) -> bool:
    return any(cls.__module__.partition(".")[0] == "timm" for cls in type(part).__mro__)
