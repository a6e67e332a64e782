"""The converted file of a checkpoint: safetensors with torchvision's names, whose metadata vouch for the tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.backbones.checkpoints.resnet50 import tensor_shapes
from sslbench.backbones.digest import tensors_digest
from sslbench.errors import CacheError
from sslbench.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "sslbench-checkpoint-1"
# To be raised when a reader changes what it gives; older conversions are then made again.
CONVERTER_VERSION = 1
# The same as of the network, so that a record can be compared with the file.
_RECIPE = "timm:resnet50"


class DamagedConversionError(CacheError):
    """A converted file that is truncated, altered or of another version."""


@dataclass(frozen=True)
class Converted:
    """A converted checkpoint.

    source: name of the file it was made from, with its sha256. digest: of the tensors (`tensors_digest`), equal to that of the
    backbone with torch padding. dropped: keys of the source that were left out on purpose. published: whether a published
    digest vouched for the source.
    """

    path: Path
    name: str
    source: str
    sha256: str
    digest: str
    licence: str
    dropped: tuple[str, ...]
    published: bool


def converted_name(name: str, sha256: str) -> str:
    """The name of the converted file for a source with this SHA-256."""
    return f"{name}-{sha256[:16]}.safetensors"


def write_converted(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    source: str,
    sha256: str,
    licence: str,
    dropped: tuple[str, ...],
    published: bool,
) -> None:
    """Write tensors and what is known of them, atomically. Raises OSError."""
    from safetensors.torch import save

    metadata = {
        "format": FORMAT,
        "version": str(CONVERTER_VERSION),
        "name": name,
        "source": source,
        "sha256": sha256,
        "digest": tensors_digest(tensors, _RECIPE),
        "licence": licence,
        "dropped": json.dumps(dropped),
        "published": json.dumps(published),
    }
    write_atomic(path, save(dict(tensors), metadata=metadata))


def read_converted(path: Path) -> tuple[dict[str, Tensor], Converted]:
    """Tensors and facts of a converted file. Raises DamagedConversionError unless it is whole and of this version."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, str] = file.metadata() or {}
            version = facts.get("format"), facts.get("version")
            if version != (FORMAT, str(CONVERTER_VERSION)):
                raise DamagedConversionError(f"{path}: expected {FORMAT} of version {CONVERTER_VERSION}, got {version}")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        converted = Converted(
            path=path,
            name=facts["name"],
            source=facts["source"],
            sha256=facts["sha256"],
            digest=facts["digest"],
            licence=facts["licence"],
            dropped=tuple(json.loads(facts["dropped"])),
            published=bool(json.loads(facts["published"])),
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise DamagedConversionError(f"damaged converted checkpoint {path}: {error}") from error
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if shapes != tensor_shapes() or tensors_digest(tensors, _RECIPE) != converted.digest:
        raise DamagedConversionError(f"damaged converted checkpoint {path}: its tensors do not match their digest")
    return tensors, converted
