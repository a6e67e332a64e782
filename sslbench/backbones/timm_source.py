"""Backbones by timm name, with the weights and the preprocessing timm gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sslbench.backbones.backbone import Backbone
from sslbench.backbones.normalisation import apply_options
from sslbench.backbones.options import Options
from sslbench.backbones.preprocessing import from_timm, presets
from sslbench.backbones.timm_network import TimmNetwork
from sslbench.errors import BackboneError
from sslbench.names import unknown

# timm's own scheme for a repository of Hugging Face that holds one of its models.
HUB = "hf-hub:"


def timm_names(pretrained: bool = False) -> list[str]:
    """Every timm name; with `pretrained`, the `arch.tag` names that have weights."""
    import timm

    return list(timm.list_models(pretrained=pretrained))


def check_arch(arch: str) -> None:
    """UnknownNameError when timm has no such architecture."""
    import timm

    if not timm.is_model(arch.partition(".")[0]):
        raise unknown("timm architecture", arch, timm_names())


def build_timm(
    name: str,
    arch: str,
    options: Options,
    *,
    pretrained: bool,
    size: int | None = None,
    arch_options: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Backbone:
    """Build a timm model without classifier.

    arch: a name, or `hf-hub:OWNER/NAME`, whose configuration says which architecture it is.
    size: input size in pixels when not the model's own. arch_options: further arguments of `timm.create_model`.
    Raises UnknownNameError for an unknown architecture and BackboneError when the weights cannot be had.
    """
    import timm.data

    timm_data: Any = timm.data
    from_hub = arch.startswith(HUB)
    if not from_hub:
        check_arch(arch)
    pooling, preset = options.pooling(), options.text("preprocessing")
    if preset and "size" in options.values:
        raise BackboneError(f"{name}: the preset {preset!r} fixes the input size; give preprocessing or size, not both")
    if preset and preset not in presets():
        raise unknown("preprocessing preset", preset, presets())
    # A transformer is built for its input size, so a preset decides that too.
    size = presets()[preset].input_size[0] if preset else size or options.integer("size", 0, least=1) or None
    try:
        module = _create(arch, pretrained=pretrained, size=size, **(arch_options or {}))
    # KeyError: a repository of another library has another configuration.
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        advice = (
            "The repository must hold a timm model; without a network, huggingface_hub's cache must"
            if from_hub
            else f"Without a network, give a file (file:PATH?arch={arch.partition('.')[0]}), or test the pipeline with "
            f"random-init:{arch}"
        )
        reason = f"its configuration lacks {error}" if isinstance(error, KeyError) else str(error)
        weights = " with its weights" if pretrained else ""
        raise BackboneError(f"{name}: timm could not build {arch}{weights}: {reason}. {advice}") from error
    config = timm_data.resolve_model_data_config(module)
    preprocessing = apply_options(presets()[preset] if preset else from_timm(config, size), options)
    return Backbone(
        name=name,
        network=TimmNetwork(module, pooling),
        preprocessing=preprocessing,
        recipe=_recipe(arch if from_hub else arch.partition(".")[0], arch_options or {}),
        pooling=pooling,
        details={"arch": arch, "source": "timm", **(details or {})},
        from_code=False,
    )


def _recipe(arch: str, arch_options: Mapping[str, Any]) -> str:
    # An option such as the pooling changes the features without leaving a trace in the weights.
    return f"timm:{arch}:{json.dumps(dict(arch_options), sort_keys=True)}" if arch_options else f"timm:{arch}"


def _create(arch: str, *, pretrained: bool, size: int | None, **arch_options: Any) -> Any:
    import timm

    arguments = {"pretrained": pretrained, "num_classes": 0, **arch_options}
    if size is None:
        return timm.create_model(arch, **arguments)
    try:
        return timm.create_model(arch, **{**arguments, "img_size": size})
    except TypeError:
        # Convolutional networks take any size and have no img_size argument.
        return timm.create_model(arch, **arguments)
