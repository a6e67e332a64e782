"""Backbones from a checkpoint file: `file:PATH?arch=TIMM_ARCH[&prefix=...][&drop=GLOB|GLOB...]`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sslbench.backbones.backbone import Backbone
from sslbench.backbones.checkpoint import load_weights, read_state_dict
from sslbench.backbones.options import Options
from sslbench.backbones.timm_source import build_timm
from sslbench.errors import BackboneError


def load_file_backbone(name: str, path: str, options: Options, *, arch: str = "") -> Backbone:
    """Build the timm architecture `arch` and consume every tensor of the file.

    The classifier of the architecture itself (`fc.weight`, `head.bias`, ...) is left out, as a backbone has none.
    Raises BackboneError when `arch` is missing or the file does not fit.
    """
    arch = arch or options.text("arch")
    if not arch:
        raise BackboneError(f"{name}: say which timm architecture the weights are for: file:PATH?arch=resnet50")
    prefix, drop = options.text("prefix"), list(filter(None, options.text("drop").split("|")))
    tensors = read_state_dict(Path(path).expanduser())
    backbone = build_timm(name, arch, options, pretrained=False)
    heads = getattr(backbone.network.module, "pretrained_cfg", {}).get("classifier") or ()
    for head in (heads,) if isinstance(heads, str) else heads:
        drop += [f"{prefix}{head}.weight", f"{prefix}{head}.bias"]
    dropped = load_weights(backbone.network.module, tensors, prefix=prefix, drop=drop, where=name)
    details = {**backbone.details, "source": f"file:{Path(path).name}", "prefix": prefix, "dropped": dropped}
    return replace(backbone, details=details)
