"""Backbones from a checkpoint file: `file:PATH?arch=TIMM_ARCH[&key=...][&prefix=...][&drop=GLOB|GLOB...]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sslbench.backbones.backbone import Backbone
from sslbench.backbones.checkpoint import load_weights, read_state_dict
from sslbench.backbones.checkpoints.file_kind import check_weights_file
from sslbench.backbones.options import Options
from sslbench.backbones.timm_source import build_timm, check_arch
from sslbench.backbones.undisturbed import UNSUITABLE
from sslbench.config import expand
from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_file_backbone(name: str, path: str, options: Options, *, arch: str = "") -> Backbone:
    """Build the timm architecture `arch` and consume every tensor of the file.

    The classifier of the architecture itself (`fc.weight`, `head.bias`, ...) is left out, as a backbone has none. Position
    embeddings of another size are resampled by timm, as it does for its own weights. Raises BackboneError when `arch` is
    missing or the file does not fit.
    """
    arch = arch or options.text("arch")
    if not arch:
        raise BackboneError(f"{name}: say which timm architecture the weights are for: file:PATH?arch=resnet50")
    check_arch(arch)
    key, prefix, drop = options.text("key"), options.text("prefix"), list(filter(None, options.text("drop").split("|")))
    file = expand(path)
    check_weights_file(file)
    backbone = build_timm(name, arch, options, pretrained=False)
    module = backbone.network.module
    wanted = module.state_dict()
    needed = sum(not place.endswith("num_batches_tracked") for place in wanted)
    tensors = read_state_dict(file, key=key, needed=needed)
    heads = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    for head in (heads,) if isinstance(heads, str) else heads:
        drop += [f"{prefix}{head}.weight", f"{prefix}{head}.bias"]
    moved = _of_another_size(wanted, tensors, prefix)
    sides = "x".join(map(str, dict.fromkeys(backbone.preprocessing.input_size)))
    advice = (
        f"The network was built for pictures of size {sides}, and timm has no way to bring these weights to it: give the size "
        f"that they were trained at (size=N), or none if that is {arch}'s own"
    )
    dropped = load_weights(
        module,
        tensors,
        prefix=prefix,
        drop=drop,
        where=name,
        adapt=lambda given: _resampled(module, given),
        advice=advice if moved else "",
    )
    details = {**backbone.details, "source": f"file:{file.name}", "prefix": prefix, "dropped": dropped}
    return replace(
        backbone, details={**details, **({"key": key} if key else {}), **({"resampled": moved} if moved else {})}
    )


def _of_another_size(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Tensors that depend on the size of the pictures, and have another shape in the file."""
    places = {name: tensors.get(f"{prefix}{name}") for name in wanted}
    return sorted(
        name
        for name, tensor in places.items()
        if tensor is not None and tensor.shape != wanted[name].shape and _is_position(name)
    )


def _is_position(name: str) -> bool:
    return any(part in name.rpartition(".")[2] for part in ("pos", "attention_bias"))


def _resampled(module: nn.Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """What timm makes of weights for another size; the same where it has no way to."""
    wanted = module.state_dict()
    others = [name for name, tensor in given.items() if tensor.shape != wanted[name].shape]
    convert: Any = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    # Other shapes that it might convert too, such as patches of another size, are of another network.
    if convert is None or not all(map(_is_position, others)):
        return given
    try:
        return dict(convert(dict(given), module))
    except UNSUITABLE:
        return given
