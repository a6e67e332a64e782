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

    macs: multiplications of one forward pass of one picture of size x size pixels. params: numbers. width: of the pooled features.
    activations: numbers that convolutions and matrix products give on the way. known: `declared`, `counted` or `assumed`.
    fixed: whether it takes pictures of its own size alone, as transformers do.
    """

    macs: float
    params: int
    width: int
    size: int
    activations: float
    known: str
    fixed: bool = False

    def at(self, height: float, width: float | None = None) -> float:
        """Multiplications of a forward pass at another size, in proportion to the area."""
        return self.macs * height * (height if width is None else width) / self.size**2

    def activations_at(self, height: float, width: float | None = None) -> float:
        """Numbers on the way at another size."""
        return self.activations * height * (height if width is None else width) / self.size**2


# timm 1.0's resnet50 without its classifier; a test counts them again.
RESNET50 = Network(4_087_136_256, 23_508_032, 2048, 224, 11_113_984, "declared")
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
        return counted(card.arch, card.preprocessing.input_size[0], tuple(sorted(card.arch_options.items())))
    if name in WHEELS:
        return counted(WHEELS[name].arch)
    scheme, colon, _ = name.partition(":")
    if colon and not (scheme == "file" and "arch" in options):
        return f"{bare} says its network only when it is loaded"
    if scheme == "file":
        name = options["arch"]
    arch = name.partition(".")[0]
    if arch == "resnet50":
        return RESNET50
    # As `random-init` alone, whose network has no size of its own.
    return counted(arch, 64 if bare == "random-init" else None)


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
            module = timm.create_model(arch, pretrained=False, num_classes=0, **dict(options)).eval()
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
    return Network(
        counter.get_total_flops() / 2,
        sum(parameter.numel() for parameter in module.parameters()),
        features.shape[-1], picture.shape[-1], numbers[0], "counted",
        fixed=hasattr(module, "patch_embed"),
    )  # fmt: skip
