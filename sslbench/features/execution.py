"""How a network is run: as it is, with BatchNorm folded, or compiled. The features are the same but for rounding."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sslbench.backbones.backbone import Backbone, Network
from sslbench.features.compiled import CompiledNetwork, obstacle, pays
from sslbench.features.folding import fold

# Largest difference from the network as it is, relative to its largest feature, on random pictures. Rounding gives
# 3e-7 in float32; bfloat16 keeps 8 bits, and a folded weight is rounded to another neighbour.
TOLERANCE = {None: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
PROBE = 8
# Below this not even the question is asked, which costs two passes of the probe.
SHORT_RUN = 512


@dataclass(frozen=True)
class Execution:
    """A backbone ready to embed batches.

    name: `plain`, `folded` or `compiled`. reason: why it is not the next faster one. batch: what a smaller batch is
    filled up to, since another shape would be compiled anew.
    """

    name: str
    backbone: Backbone
    reason: str = ""
    batch: int | None = None

    @property
    def label(self) -> str:
        """Name and reason, for the record."""
        return f"{self.name} ({self.reason})" if self.reason else self.name

    def embed(self, images: Tensor) -> Tensor:
        """(B, D) from normalised images (B, 3, H, W)."""
        if self.batch is None or len(images) == self.batch:
            return self.backbone.embed(images)
        filler = images.new_zeros((self.batch - len(images), *images.shape[1:]))
        whole = torch.cat([images, filler]).contiguous(memory_format=torch.channels_last)
        return self.backbone.embed(whole)[: len(images)]


@dataclass(frozen=True)
class _Built:
    """What was made of a network, what it was then, and what the probes said, by input size and device.

    stamp: of a look at the network. compiled: by batch size as well; a text is the reason why there is none.
    """

    stamp: str
    folded: Network | None
    reason: str
    moved: dict[tuple[object, ...], str]
    compiled: dict[tuple[object, ...], Network | str]


_BUILT: weakref.WeakKeyDictionary[Network, _Built] = weakref.WeakKeyDictionary()


def choose_execution(
    backbone: Backbone, *, images: int, batch: int, device: str, dtype: torch.dtype | None
) -> Execution:
    """The fastest execution that gives the backbone's features.

    images: how many are to be embedded, in batches of `batch`. dtype: of the autocast context that this is called in. The
    backbone is on the device. What cannot be folded or compiled is run as it is, for a `reason` that goes into the record.
    """
    backbone.network.module.to(memory_format=torch.channels_last)
    built = _build(backbone)
    if built.folded is None:
        return Execution("plain", backbone, built.reason)
    sample = _pictures(backbone, PROBE, device)
    folded = replace(backbone, network=built.folded)
    key = (backbone.preprocessing.input_size, device, dtype)
    if key not in built.moved:
        built.moved[key] = _difference(folded, backbone, sample[:2], dtype)
    if moved := built.moved[key]:
        return Execution("plain", backbone, f"folding BatchNorm changed features: {moved}")
    whole = (batch, *key)
    if whole not in built.compiled:
        if reason := _against_compiling(folded, sample, images, device, dtype):
            return Execution("folded", folded, reason)
        built.compiled[whole] = _compile(folded, backbone, sample[: min(2, batch)], batch, dtype)
    compiled = built.compiled[whole]
    if isinstance(compiled, str):
        return Execution("folded", folded, compiled)
    return Execution("compiled", replace(backbone, network=compiled), batch=batch)


def _compile(folded: Backbone, plain: Backbone, sample: Tensor, batch: int, dtype: torch.dtype | None) -> Network | str:
    """The compiled network, or why there is none."""
    network = CompiledNetwork(folded.network)
    whole = _pictures(plain, batch, sample.device.type)
    try:
        network.embed(whole)
    except RuntimeError as error:
        return f"not compiled: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    moved = _difference(Execution("compiled", replace(plain, network=network), batch=batch), plain, sample, dtype)
    return f"compiling changed features: {moved}" if moved else network


def _build(backbone: Backbone) -> _Built:
    network = backbone.network
    # Somebody may train the network further between two calls, or hang a hook on it.
    stamp = backbone.look().stamp
    built = _BUILT.get(network)
    if built is None or built.stamp != stamp:
        folded, reason = fold(network)
        if folded is not None:
            folded.module.to(memory_format=torch.channels_last).requires_grad_(False)
        built = _BUILT[network] = _Built(stamp, folded, reason, {}, {})
    return built


def _against_compiling(folded: Backbone, sample: Tensor, images: int, device: str, dtype: torch.dtype | None) -> str:
    if device != "cpu":
        return "not compiled: only for the CPU"
    if reason := obstacle(dtype):
        return f"not compiled: {reason}"
    if images < SHORT_RUN:
        return "not compiled: the run is too short"
    return "" if pays(folded.network, sample, images, dtype) else "not compiled: the run is too short"


def _pictures(backbone: Backbone, count: int, device: str) -> Tensor:
    # A generator of its own: nobody else's random numbers may depend on this.
    generator = torch.Generator().manual_seed(0)
    height, width = backbone.preprocessing.input_size
    pixels = torch.randint(0, 256, (count, height, width, 3), generator=generator, dtype=torch.uint8)
    return backbone.preprocessing.normalise(pixels.to(device)).contiguous(memory_format=torch.channels_last)


def _difference(fast: Backbone | Execution, plain: Backbone, sample: Tensor, dtype: torch.dtype | None) -> str:
    """How far the features are apart, or an empty text when they agree."""
    expected, got = plain.embed(sample).float(), fast.embed(sample).float()
    largest = float(expected.abs().max())
    apart = float((got - expected).abs().max())
    # NaN in the network itself is reported where the picture is known.
    if not torch.isfinite(expected).all() or apart <= TOLERANCE[dtype] * max(largest, 1e-12):
        return ""
    return f"largest difference {apart:.2g}, largest feature {largest:.2g}"
