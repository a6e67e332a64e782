"""What can be fetched: datasets and backbones, their files, and where these go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sslbench.backbones.checkpoints import CHECKPOINTS
from sslbench.backbones.checkpoints.convert import convert
from sslbench.config import Settings
from sslbench.datasets import dataset_spec, list_datasets
from sslbench.datasets.status import Status, status_of
from sslbench.names import select
from sslbench.sources import Source
from sslbench.sources.obtain import is_obtained

# Sets of files, each enough by itself, in order of preference.
Choices = tuple[tuple[Source, ...], ...]


@dataclass(frozen=True)
class Subject:
    """Something to fetch. choices: its files. directory: where they go."""

    kind: Literal["dataset", "backbone"]
    name: str
    choices: Choices
    directory: Path

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def has_files(self) -> bool:
        """Whether there is anything to fetch; what comes with the installation has no files."""
        return any(self.choices)


def datasets(settings: Settings, patterns: Sequence[str] = ()) -> list[Subject]:
    """Datasets that match, or all. UnknownNameError for a pattern that matches none."""
    names = list_datasets()
    chosen = select("dataset", names, patterns) if patterns else names
    return [
        Subject("dataset", spec.name, (spec.sources,), settings.data_dir / spec.folder)
        for spec in map(dataset_spec, chosen)
    ]


def backbones(settings: Settings, patterns: Sequence[str] = ()) -> list[Subject]:
    """Backbones with published files that match, or all. UnknownNameError for a pattern that matches none."""
    choices = choices_of_backbones()
    chosen = select("backbone with files to fetch", list(choices), patterns) if patterns else choices
    return [Subject("backbone", name, choices[name], checkpoint_directory(settings) / "files") for name in chosen]


def is_ready(subject: Subject, settings: Settings) -> bool:
    """Whether nothing needs to be fetched."""
    if subject.kind == "dataset":
        return inspect_dataset(subject.name, settings).state == "ready"
    return any(all(is_obtained(source, subject.directory) for source in choice) for choice in subject.choices)


def inspect_dataset(name: str, settings: Settings) -> Status:
    """Whether a dataset is there, as a run would find it."""
    return status_of(dataset_spec(name), settings)


def checkpoint_directory(settings: Settings) -> Path:
    """Where converted checkpoints are kept; the files they were made from are below it, in `files`."""
    return settings.cache_dir / "checkpoints"


def choices_of_backbones() -> Mapping[str, Choices]:
    """Backbones whose published files are fetched here; timm and torch.hub fetch theirs when they first load them."""
    return {spec.name: spec.choices for spec in CHECKPOINTS.values()}


def convert_checkpoint(path: Path, name: str, settings: Settings) -> Path:
    """Convert the published file of a backbone; returns the converted file.

    Raises UnknownNameError for a name without a declared checkpoint, and BackboneError for a file that is not its.
    """
    return convert(path, name, out_dir=checkpoint_directory(settings)).path
