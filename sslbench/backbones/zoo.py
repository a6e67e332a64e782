"""The small pretrained backbones that come with the package: `zoo:NAME`, weights and a card each in `sslbench/zoo`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.backbones.preprocessing import Preprocessing
from sslbench.errors import BackboneError
from sslbench.names import unknown

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone
    from sslbench.backbones.options import Options

FOLDER = Path(__file__).parents[1] / "zoo"
SCHEME = "zoo"


@dataclass(frozen=True)
class Card:
    """What is known of one backbone: its `NAME.json`, whole in `facts`.

    arch, arch_options: what `timm.create_model` builds. preprocessing: what it was trained with, which is not timm's
    own for the architecture. sha256: of `NAME.safetensors`.
    """

    name: str
    arch: str
    arch_options: Mapping[str, Any]
    preprocessing: Preprocessing
    sha256: str
    facts: Mapping[str, Any]

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return FOLDER / f"{self.name}.safetensors"


def zoo_names() -> list[str]:
    """`zoo:NAME` of every card, sorted."""
    return sorted(f"{SCHEME}:{path.stem}" for path in FOLDER.glob("*.json"))


def read_card(name: str) -> Card:
    """The card of `zoo:NAME` or `NAME`.

    Raises UnknownNameError for a name without card and BackboneError for a card that cannot be read.
    """
    bare = name.removeprefix(f"{SCHEME}:")
    path = FOLDER / f"{bare}.json"
    if f"{SCHEME}:{bare}" not in zoo_names():
        raise unknown("zoo backbone", f"{SCHEME}:{bare}", zoo_names())
    try:
        facts = json.loads(path.read_bytes())
        size, mean, std = facts["size"], tuple(facts["mean"]), tuple(facts["std"])
        preprocessing = Preprocessing(input_size=(size, size), resize=size, mean=mean, std=std)
        return Card(bare, facts["arch"], facts["arch_options"], preprocessing, facts["sha256"], facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(f"damaged card {path}: {type(error).__name__}: {error}; install sslbench again") from error


def check_weights(card: Card) -> None:
    """Raise BackboneError unless the file of weights is there and has the digest of the card."""
    expected = f"expected a file with SHA-256 {card.sha256}"
    advice = "install sslbench again, or restore the file"
    try:
        with card.weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackboneError(f"cannot read the weights {card.weights}: {error}; {expected}; {advice}") from error
    if found != card.sha256:
        raise BackboneError(f"damaged weights {card.weights}: {expected}, got {found}; {advice}")


def build_card(name: str, card: Card, options: Options, details: Mapping[str, Any]) -> Backbone:
    """The network of a card with initial weights, behind the card's preprocessing."""
    from sslbench.backbones.normalisation import apply_options
    from sslbench.backbones.timm_source import build_timm

    size = card.preprocessing.input_size[0]
    backbone = build_timm(
        name, card.arch, options, pretrained=False, size=size, arch_options=card.arch_options, details=details
    )
    # A preset that the name asks for stays.
    if options.text("preprocessing"):
        return backbone
    return replace(backbone, preprocessing=apply_options(card.preprocessing, options))


def load_zoo(name: str, bare: str, options: Options) -> Backbone:
    """Build `zoo:NAME` with its weights.

    Weights are stored in float16 and used in float32. Raises BackboneError when a file is missing or damaged.
    """
    from sslbench.backbones.checkpoint import load_weights, read_state_dict

    card = read_card(bare)
    check_weights(card)
    details = {"source": f"{SCHEME}:{card.name}", "sha256": card.sha256, "objective": card.facts["objective"]}
    backbone = build_card(name, card, options, details)
    load_weights(backbone.network.module, read_state_dict(card.weights), prefix="", drop=[], where=name)
    return backbone
