"""What is known of one published ResNet-50, as data."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from sslbench.sources import Source

if TYPE_CHECKING:
    from sslbench.backbones.checkpoints.resnet50 import Weights


class Reader(Protocol):
    """How a format family turns a checkpoint into ResNet-50 tensors."""

    def __call__(self, path: Path, spec: CheckpointSpec) -> Weights:
        """Raises BackboneError for a file that is not what the spec describes."""


@dataclass(frozen=True)
class CheckpointSpec:
    """One checkpoint.

    sources: the files its authors publish, all of them needed; the first is the one a reader is given. A source without
    digest is pinned when it is first used. alternatives: copies of the same weights in another format, each enough by
    itself, in order of preference. page: where a person finds the files.
    reader: "module:function", see `Reader`. containers: keys of the file below which the tensors may be, tried in order;
    without any of them the file itself is the state dict. prefix: of every backbone tensor. drop: globs of the
    tensors, before stripping, that are not the backbone's. preprocessing: a name of
    `sslbench.backbones.preprocessing.presets`. same_padding: what TensorFlow's SAME padding concerned in training:
    "all" strided convolutions and the max-pool, the "pool" alone, or "" for nothing. epochs: of pretraining, as the
    study's own table gives them. citation: authors, year and arXiv number.
    """

    name: str
    sources: tuple[Source, ...]
    page: str
    licence: str
    citation: str
    epochs: int
    reader: str = "sslbench.backbones.checkpoints.torch_file:read"
    alternatives: tuple[Source, ...] = ()
    containers: tuple[str, ...] = ()
    prefix: str = ""
    drop: tuple[str, ...] = ()
    preprocessing: str = "paper"
    same_padding: str = ""

    @property
    def choices(self) -> tuple[tuple[Source, ...], ...]:
        """Sets of files, each enough by itself, in order of preference."""
        return (self.sources, *((source,) for source in self.alternatives))

    def read(self, path: Path) -> Weights:
        """The backbone's tensors out of a checkpoint file."""
        module, _, function = self.reader.partition(":")
        return cast("Reader", getattr(importlib.import_module(module), function))(path, self)
