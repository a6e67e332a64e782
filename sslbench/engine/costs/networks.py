"""How large a network is, by its name: neither weights nor pictures are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sslbench.errors import SslbenchError


@dataclass(frozen=True)
class Network:
    """The size of a network.

    macs: multiplications of one forward pass of one picture of size x size pixels. params: numbers. width: of the pooled
    features. activations: numbers that convolutions and matrix products give on the way. known: `declared` or `counted`.
    """

    macs: float
    params: int
    width: int
    size: int
    activations: float
    known: str

    def at(self, height: float, width: float | None = None) -> float:
        """Multiplications of a forward pass at another size, in proportion to the area."""
        return self.macs * height * (height if width is None else width) / self.size**2

    def activations_at(self, height: float, width: float | None = None) -> float:
        """Numbers on the way at another size."""
        return self.activations * height * (height if width is None else width) / self.size**2


RESNET50 = Network(4_087_136_256, 23_508_032, 2048, 224, 11_113_984, "declared")
_MAE = (("fc_norm", False), ("global_pool", "avg"), ("img_size", 64), ("patch_size", 8))
# timm 1.0's, without classifiers, by architecture, size (None for its own) and arguments; a test counts them again. They spare
# plans of the study and of the embedded suite the import of torch.
DECLARED: Mapping[tuple[str, int | None, tuple[tuple[str, Any], ...]], Network] = {
    ("resnet50", None, ()): RESNET50,
    ("tf_efficientnet_lite0", None, ()): Network(383_907_552, 3_371_008, 1280, 224, 6_737_696, "declared"),
    ("test_resnet", 64, ()): Network(16_392_192, 372_688, 96, 64, 102_272, "declared"),
    ("test_vit", 64, _MAE): Network(20_005_632, 267_072, 64, 64, 203_776, "declared"),
}
_STATISTICS = {"pixels": 768, "colour-histogram": 64}


def network_of(backbone: str) -> Network | str:
    """The size of a backbone's network, or why it is not known without loading it.

    Published checkpoints are ResNet-50s; architectures of timm are built without weights and counted, once a process.
    """
    from sslbench.backbones.options import parse_name
    from sslbench.backbones.preprocessing import presets
    from sslbench.backbones.registry import FACTORIES

    try:
        bare, options = parse_name(backbone)
        if bare in _STATISTICS:
            return Network(64 * 64 * 3, 0, _STATISTICS[bare], 64, 64 * 64 * 3, "declared")
        if bare in FACTORIES:
            return f"{bare} is registered by code, which is not run for a plan"
        network = _named(bare, options.values)
        size = options.integer("size", 0)
        if preset := options.text("preprocessing"):
            size = presets()[preset].input_size[0] if preset in presets() else size
    except SslbenchError as error:
        return str(error)
    if isinstance(network, str) or not size or size == network.size:
        return network
    return replace(network, macs=network.at(size), activations=network.activations_at(size), size=size)


def _named(bare: str, options: Mapping[str, str]) -> Network | str:
    from sslbench.backbones.checkpoints.catalogue import CHECKPOINTS
    from sslbench.backbones.sources.wheel import WHEELS
    from sslbench.backbones.zoo import SCHEME, read_card

    if bare in CHECKPOINTS:
        return RESNET50
    name = bare
    if bare == "random-init" or bare.startswith("random-init:"):
        name = bare.partition(":")[2] or "test_resnet"
    if name.startswith(f"{SCHEME}:"):
        card = read_card(name)
        return _sized(card.arch, card.preprocessing.input_size[0], tuple(sorted(card.arch_options.items())))
    if name in WHEELS:
        return _sized(WHEELS[name].arch)
    scheme, colon, _ = name.partition(":")
    if colon and not (scheme == "file" and "arch" in options):
        return f"{bare} says its network only when it is loaded"
    if scheme == "file":
        name = options["arch"]
    # `random-init` alone is shown pictures of 64 pixels.
    return _sized(name.partition(".")[0], 64 if bare == "random-init" else None)


def _sized(arch: str, size: int | None = None, options: tuple[tuple[str, Any], ...] = ()) -> Network | str:
    return DECLARED.get((arch, size, options)) or counted(arch, size, options)


@lru_cache(maxsize=64)
def counted(arch: str, size: int | None = None, options: tuple[tuple[str, Any], ...] = ()) -> Network | str:
    """What a network of timm multiplies on one picture, counted on torch's device `meta`, where nothing is computed.

    size: of the picture; None for timm's own. options: further arguments of `timm.create_model`.
    """
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if not timm.is_model(arch):
        return f"{arch} is no network of timm's"
    numbers = [0]

    def add(module: Any, given: Any, out: Any) -> None:
        numbers[0] += out.numel() if isinstance(out, torch.Tensor) else 0

    try:
        with torch.device("meta"):
            module: Any = timm.create_model(arch, pretrained=False, num_classes=0, **dict(options)).eval()
            own = module.pretrained_cfg.get("input_size", (3, 224, 224))[-1]
            picture = torch.empty(1, 3, size or own, size or own)
        for part in module.modules():
            if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
                part.register_forward_hook(add)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            features = module(picture)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError) as error:
        told = next(iter(str(error).splitlines()), "")
        return f"{arch} cannot be counted without weights ({type(error).__name__}: {told})"
    params = sum(parameter.numel() for parameter in module.parameters())
    return Network(counter.get_total_flops() / 2, params, features.shape[-1], picture.shape[-1], numbers[0], "counted")
