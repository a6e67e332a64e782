"""Backbones by the name of a published checkpoint: `swav`, `byol?padding=same`, ..."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.backbones.backbone import Backbone
from sslbench.backbones.checkpoint import load_weights
from sslbench.backbones.checkpoints.catalogue import checkpoint_spec
from sslbench.backbones.checkpoints.convert import load_converted, load_pinned
from sslbench.backbones.checkpoints.same_padding import use_same_padding
from sslbench.backbones.normalisation import apply_options
from sslbench.backbones.options import Options
from sslbench.backbones.preprocessing import presets
from sslbench.backbones.timm_network import TimmNetwork
from sslbench.backbones.timm_source import build_timm
from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from sslbench.backbones.checkpoints.convert import Loaded
    from sslbench.backbones.checkpoints.declaration import CheckpointSpec

ARCH = "resnet50"


def load_checkpoint(name: str, bare: str, options: Options, *, checkpoint: str | None, cache_dir: Path) -> Backbone:
    """timm's ResNet-50 with the weights of a declared checkpoint.

    checkpoint: the file, if it is not where `sslbench fetch` puts it. Raises BackboneError for a missing or wrong file.
    """
    spec = checkpoint_spec(bare)
    padding = _padding(name, spec, options)
    tensors, converted = _find(spec, cache_dir / "checkpoints", checkpoint)
    backbone = build_timm(name, ARCH, options, pretrained=False)
    load_weights(backbone.network.module, tensors, prefix="", drop=[], where=name)
    if padding == "same":
        use_same_padding(backbone.network.module, spec.same_padding)
        # A new network, whose layers are as they are now, for the new recipe.
        backbone = replace(
            backbone,
            network=TimmNetwork(backbone.network.module, backbone.pooling),
            recipe=f"{backbone.recipe}:padding=same:{spec.same_padding}",
        )
    if "preprocessing" not in options.values:
        size = options.integer("size", 0, least=1)
        preset = presets()[spec.preprocessing]
        preset = replace(preset, input_size=(size, size), resize=size) if size else preset
        backbone = replace(backbone, preprocessing=apply_options(preset, options))
    details = {
        "source": f"checkpoint:{spec.name}",
        "file": converted.source,
        "sha256": converted.sha256,
        "checksum": "published" if converted.published else "pinned on first use",
        "licence": spec.licence,
        "citation": spec.citation,
        "epochs": spec.epochs,
        "dropped": list(converted.dropped),
        **({"padding": padding} if spec.same_padding else {}),
    }
    return replace(backbone, details={**backbone.details, **details})


def _padding(name: str, spec: CheckpointSpec, options: Options) -> str:
    # The option exists where training padded in another way; elsewhere it stays unknown.
    padding = options.text("padding", "torch") if spec.same_padding else "torch"
    if padding not in ("torch", "same"):
        raise BackboneError(
            f"{name}: padding takes torch (as the study ran it) or same (as in training), got {padding!r}"
        )
    return padding


def _find(spec: CheckpointSpec, directory: Path, checkpoint: str | None) -> Loaded:
    if checkpoint is not None:
        return load_converted(Path(checkpoint), spec, out_dir=directory)
    fetched = fetched_file(spec, directory)
    found = (
        load_pinned(spec, out_dir=directory) if fetched is None else load_converted(fetched, spec, out_dir=directory)
    )
    if found is None:
        raise BackboneError(_absent(spec, directory / "files"))
    return found


def fetched_file(spec: CheckpointSpec, directory: Path) -> Path | None:
    """The file of a checkpoint below `directory`/files: the authors' own, else an alternative; None if there is none."""
    for sources in spec.choices:
        paths = [directory / "files" / source.filename for source in sources]
        if all(path.exists() for path in paths):
            return paths[0]
    return None


def _absent(spec: CheckpointSpec, files: Path) -> str:
    addresses = " and ".join(source.urls[0] for source in spec.sources)
    steps = spec.sources[0].manual or f"download {addresses} (linked from {spec.page})"
    return (
        f"{spec.name}: its file is not here. Fetch it with: sslbench fetch --backbone {spec.name}. By hand: {steps}, and put "
        f"it into {files}; or name it where it is: load_backbone({spec.name!r}, checkpoint=FILE), sslbench convert FILE "
        f"--as {spec.name}"
    )
