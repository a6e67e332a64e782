"""Which backbones are self-supervised: timm's by the patterns of their names, and the published ResNet-50s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sslbench.backbones.checkpoints.catalogue import CHECKPOINTS
from sslbench.backbones.preprocessing import presets
from sslbench.names import matches

# Pretrained without labels and without texts. Where a tag continues (`fcmae_ft_in1k`), labels came in afterwards.
# FAMILIES holds globs of timm's `arch.tag`; a name belongs to the first family that matches.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "DINO": ("vit_*.dino", "resmlp_*.fb_dino"),
    "DINOv2": ("vit_*_dinov2.lvd142m",),
    "DINOv3": ("vit_*.lvd1689m", "vit_*.sat493m", "convnext_*.dinov3_lvd1689m"),
    "EUPE": ("*.eupe_lvd1689m",),
    "MAE": ("vit_*.mae", "hiera_*.mae"),
    "FCMAE": ("convnextv2_*.fcmae",),
    "I-JEPA": ("vit_*_ijepa",),
    "EVA-02 (MIM)": ("eva02_*.mim_in22k", "eva02_*.mim_m38m"),
    "SEER": ("regnety_*.seer",),
    "AIMv2": ("aimv2_*.apple_pt", "aimv2_*.apple_pt_dist"),
    "BEiT-3": ("beit3_*.pt", "beit3_*.indomain_pt"),
}

# Where a family is not free of labels or texts after all.
NOTES: Mapping[str, str] = {
    "EUPE": "distilled, also from teachers trained with labels or texts",
    "EVA-02 (MIM)": "its target features come from CLIP",
    "AIMv2": "pretrained with texts",
    "BEiT-3": "pretrained with texts",
}


@dataclass(frozen=True)
class SelfSupervised:
    """One backbone.

    licence: as timm or the checkpoint's authors state it. size: native input side in pixels. note: what is to be known
    before it is called self-supervised.
    """

    name: str
    family: str
    licence: str
    size: int
    note: str = ""


def family(name: str) -> str:
    """The self-supervised family of a timm name with its tag; empty if it belongs to none."""
    return next((known for known, globs in FAMILIES.items() if any(matches(name, glob) for glob in globs)), "")


def list_self_supervised(pattern: str = "*") -> list[SelfSupervised]:
    """Every self-supervised backbone whose name matches the glob: the published ResNet-50s, then timm's, sorted by family."""
    import timm

    rows = [
        SelfSupervised(spec.name, "ResNet-50", spec.licence, presets()[spec.preprocessing].input_size[0])
        for spec in CHECKPOINTS.values()
        if spec.name != "supervised"
    ]
    names = [(family(name), name) for name in timm.list_models(pretrained=True)]
    order = list(FAMILIES)
    for known, name in sorted((order.index(known), name) for known, name in names if known):
        config = timm.get_pretrained_cfg(name)
        if config is None:
            continue
        rows.append(
            SelfSupervised(
                name, order[known], config.license or "unknown", config.input_size[-1], NOTES.get(order[known], "")
            )
        )
    return [row for row in rows if matches(row.name, pattern)]
